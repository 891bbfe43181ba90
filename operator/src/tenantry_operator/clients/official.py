"""What we use of the official client, loaded without the rest of it.

`kubernetes/__init__.py` loads the synchronous client, its streams, watches and elections, and three HTTP libraries with
them: 9 MiB and a quarter of a second of each start, of which an operator uses nothing.
"""

import importlib.util
import sys
from typing import Final

NOT_RUN: Final = ("kubernetes", "kubernetes.aio")
"""Packages whose `__init__` only loads what is below them."""

for _name in NOT_RUN:
    _spec = None if _name in sys.modules else importlib.util.find_spec(_name)
    if _spec is not None:
        sys.modules[_name] = importlib.util.module_from_spec(_spec)

from kubernetes.aio.client.configuration import Configuration  # noqa: E402
from kubernetes.aio.client.rest import RESTClientObject  # noqa: E402
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config  # noqa: E402

__all__ = ["ConfigException", "Configuration", "RESTClientObject", "load_incluster_config", "load_kube_config"]
