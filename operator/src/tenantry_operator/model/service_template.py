"""The pods of a revision: the user's template, with what a hardened and drainable service needs where nothing is said.

A default never replaces what the user wrote. Unknown fields pass as they are: the template is copied as JSON and never
read into types, so that a field of a newer Kubernetes is kept.
"""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

Raw = dict[str, Any]

PRE_STOP_SECONDS = 5
"""How long a pod still answers after its end was decided, while gateways and kube-proxy learn of it (4 s sufficed)."""

GRACE_SECONDS = PRE_STOP_SECONDS + 30
"""Kubernetes' own 30 s for the process to end, after the sleep, which counts into the same time."""

REVISION_LENGTH = 10


def render_template(template: Mapping[str, Any], *, port: int, app_protocol: str | None) -> Raw:
    """Return the template with the restricted security context, probes of `port`, and a drain before the end.

    `port` is the container's. The first container is the one that serves. Without probes of the user's an http service
    is asked for /readyz and /livez; any other one is ready when its port takes connections.
    """
    rendered = deepcopy(dict(template))
    spec = rendered.get("spec")
    if not isinstance(spec, dict):
        return rendered
    _restrict_pod(spec)
    spec.setdefault("terminationGracePeriodSeconds", GRACE_SECONDS)
    for container in _containers(spec, "containers") + _containers(spec, "initContainers"):
        _restrict_container(container)
    for serving in _containers(spec, "containers")[:1]:
        _add_probes(serving, port, app_protocol=app_protocol)
        _add_pre_stop(serving, spec["terminationGracePeriodSeconds"])
    return rendered


def first_image(template: Mapping[str, Any]) -> str | None:
    spec = template.get("spec")
    containers = _containers(spec, "containers") if isinstance(spec, dict) else []
    return str(containers[0]["image"]) if containers and containers[0].get("image") else None


def revision_of(rendered: Mapping[str, Any]) -> str:
    """Name a revision by everything that its pods are made from: whatever changes pods is a release."""
    return fingerprint(rendered)[:REVISION_LENGTH]


def fingerprint(value: object) -> str:
    """Hash a JSON value; keys in any order and absent or null fields make no difference. 40 hex digits."""
    text = json.dumps(_without_null(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _without_null(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_null(item) for item in value]
    return value


def _containers(spec: Raw, field: str) -> list[Raw]:
    found = spec.get(field)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def with_entries(written: object, entries: Raw, *, ours_win: bool = False) -> Any:
    """Return an object of the template with entries added; what is no object stays, for the API server to refuse."""
    if not written:
        return entries
    if not isinstance(written, dict):
        return written
    return {**written, **entries} if ours_win else {**entries, **written}


def _restrict_pod(spec: Raw) -> None:
    defaults: Raw = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec["securityContext"] = with_entries(spec.get("securityContext"), defaults)


def _restrict_container(container: Raw) -> None:
    context = container.get("securityContext")
    defaults: Raw = {"capabilities": {"drop": ["ALL"]}}
    # With `privileged` the API server refuses the denial of escalation.
    if not (isinstance(context, dict) and context.get("privileged")):
        defaults["allowPrivilegeEscalation"] = False
    container["securityContext"] = with_entries(context, defaults)


def _add_pre_stop(container: Raw, grace: object) -> None:
    # A sleep longer than the pod's grace is refused by the API server.
    seconds = min(PRE_STOP_SECONDS, grace) if isinstance(grace, int) else PRE_STOP_SECONDS
    if seconds > 0:
        drain: Raw = {"preStop": {"sleep": {"seconds": seconds}}}
        container["lifecycle"] = with_entries(container.get("lifecycle"), drain)


def _add_probes(container: Raw, port: int, *, app_protocol: str | None) -> None:
    if app_protocol != "http":
        container.setdefault("readinessProbe", {"tcpSocket": {"port": port}, "periodSeconds": 2})
        return
    if "readinessProbe" in container or "livenessProbe" in container or "startupProbe" in container:
        return
    container["readinessProbe"] = {"httpGet": {"path": "/readyz", "port": port}, "periodSeconds": 2}
    container["livenessProbe"] = {
        "httpGet": {"path": "/livez", "port": port}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6,
    }  # fmt: skip
