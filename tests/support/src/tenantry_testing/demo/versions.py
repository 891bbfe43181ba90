"""Which servers a cluster is made of, in their own words."""

import json
from typing import Any

from tenantry_testing.demo.programs import ProgramFailed, Programs


def server_versions(programs: Programs) -> str:
    """One line: the API server, kubelets with their runtimes, and each DatabaseServer; what cannot be asked is `?`."""
    said = [f"kube-apiserver {_api_server(programs)}"]
    said += [_node(node) for node in _items(programs, "nodes")]
    said += [_database(server) for server in _items(programs, "databaseservers")]
    return ", ".join(said)


def _api_server(programs: Programs) -> str:
    try:
        version: str = json.loads(programs.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    except (ProgramFailed, KeyError):
        return "?"
    return version


def _node(node: dict[str, Any]) -> str:
    info = node["status"]["nodeInfo"]
    return f"kubelet {info['kubeletVersion']} on {info['containerRuntimeVersion']} ({info['osImage']})"


def _database(server: dict[str, Any]) -> str:
    return f"Postgres {server.get('status', {}).get('version', '?')}"


def _items(programs: Programs, kind: str) -> list[dict[str, Any]]:
    try:
        return programs.items(kind)
    except ProgramFailed:
        return []
