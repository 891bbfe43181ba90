"""Waiting for what takes its time, above all for servers that are to answer."""

import http.client
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tenantry_cluster.certificates import Pair
from tenantry_cluster.errors import ClusterError

POLL_SECONDS = 0.1


def _nothing() -> None:
    """Waiting never becomes vain."""


def is_ready(url: str, path: str = "/readyz", *, authority: Path, client: Pair) -> bool:
    """Whether the path answers 200 within two seconds."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(client.certificate, client.key)
    address = urlsplit(url)
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, timeout=2, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until(
    condition: Callable[[], bool], *, seconds: float, what: str, check: Callable[[], None] = _nothing
) -> None:
    """Wait until `condition` holds; `check` raises when waiting has become vain. ClusterError after `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > until:
            raise ClusterError(f"{what} within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
