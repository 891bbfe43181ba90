"""Kubeconfig files that carry their certificates, so that they can be copied anywhere."""

import base64
import os
from pathlib import Path

import yaml

from tenantry_cluster.certificates import Pair


def write_kubeconfig(path: Path, url: str, *, authority: Path, client: Pair, name: str = "tenantry") -> None:
    """Write a kubeconfig with one context, called `name`, readable for the owner alone."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": _embedded(authority)}}],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _embedded(client.certificate),
                    "client-key-data": _embedded(client.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    text = yaml.safe_dump(content, sort_keys=False)
    if path.exists() and path.read_text() == text:
        return
    young = path.with_name(f".{path.name}.{os.getpid()}")
    young.touch(mode=0o600)
    young.write_text(text)
    young.replace(path)


def _embedded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
