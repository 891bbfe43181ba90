"""Kubeconfig files that carry their certificates, so that they can be copied anywhere."""

import base64
from pathlib import Path

import yaml

from tenantry_cluster import files
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
    files.write(path, yaml.safe_dump(content, sort_keys=False), files.PRIVATE)


def _embedded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
