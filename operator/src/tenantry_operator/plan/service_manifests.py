"""The children of a ServiceDeployment as JSON, and how an object that exists is put right.

A child is created whole, and put right by a replacement that carries the resourceVersion that was read: what others
own of the object (annotations, allocated addresses, replicas) stays, what is ours is exactly as rendered, also when a
hand has *added* something, which server-side apply would leave; and a writer with an old view loses.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tenantry_crds.names import API_VERSION, LABEL_REVISION, LABEL_SERVICE_DEPLOYMENT
from tenantry_operator.model.service import (
    ANNOTATION_MOVED_AT,
    ANNOTATION_PROMOTIONS,
    ANNOTATION_STAMP,
    ANNOTATION_TAKEN_AT,
    ANNOTATION_TARGET_PORT,
    DesiredService,
    Promotion,
    promotions_text,
)
from tenantry_operator.model.service_template import Raw, fingerprint, with_entries

GATEWAY_GROUP = "gateway.networking.k8s.io"
OUR_ANNOTATIONS = (
    ANNOTATION_MOVED_AT,
    ANNOTATION_PROMOTIONS,
    ANNOTATION_STAMP,
    ANNOTATION_TAKEN_AT,
    ANNOTATION_TARGET_PORT,
)


def deployment(desired: DesiredService, *, stored: str) -> Raw:
    """Render the Deployment of the wanted revision. `stored` is what the API server's dry run made of it, hashed."""
    metadata = _metadata(desired, desired.child(desired.revision), revision=desired.revision)
    spec = {"replicas": desired.replicas, **_deployment_spec(desired)}
    metadata["annotations"] = {
        ANNOTATION_STAMP: stamp(desired, stored),
        ANNOTATION_TARGET_PORT: str(desired.target_port),
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def trial(desired: DesiredService) -> Raw:
    """Render the Deployment for a dry run, under a name that nothing has: an existing one would be merged with."""
    body = deployment(desired, stored="")
    metadata = {**body["metadata"], "name": f"{desired.child(desired.revision)}-trial"}
    return {**body, "metadata": metadata}


def stamp(desired: DesiredService, stored: str) -> str:
    return f"{fingerprint(_deployment_spec(desired))}.{stored}"


def revision_service(desired: DesiredService, revision: str, *, target_port: int) -> Raw:
    """Render the Service of one revision, which the gateway sends its share to."""
    name = desired.child(revision)
    return _service(desired, name, selects=revision, revision=revision, target_port=target_port)


def public_service(
    desired: DesiredService, revision: str, *, target_port: int, moved_at: datetime, promotions: tuple[Promotion, ...]
) -> Raw:
    """Render Service `<name>`, for callers inside the cluster. It remembers when it moved and what was promoted."""
    body = _service(desired, desired.name, selects=revision, target_port=target_port)
    body["metadata"]["annotations"] = {ANNOTATION_MOVED_AT: moved_at.isoformat()}
    if promotions:
        body["metadata"]["annotations"][ANNOTATION_PROMOTIONS] = promotions_text(promotions)
    return body


def route(desired: DesiredService, weights: Mapping[str, int], *, taken_at: str | None = None) -> Raw:
    """Render the HTTPRoute, with all defaults written out, so that what is kept equals what is asked for."""
    gateway = desired.gateway
    if gateway is None:
        raise ValueError(f"{desired.name} has no gateway")
    parent = {"group": GATEWAY_GROUP, "kind": "Gateway", "name": gateway.name, "namespace": gateway.namespace}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": gateway.path_prefix}}],
        "backendRefs": [_backend(desired, revision, weight) for revision, weight in weights.items()],
    }
    spec: Raw = {"parentRefs": [parent], "rules": [rule]}
    if gateway.hostname:
        spec["hostnames"] = [gateway.hostname]
    metadata = _metadata(desired, desired.name)
    if taken_at:
        metadata["annotations"] = {ANNOTATION_TAKEN_AT: taken_at}
    return {"apiVersion": f"{GATEWAY_GROUP}/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}


def differs(observed: Raw, rendered: Raw) -> bool:
    """Say whether the object has something of ours otherwise than rendered.

    What the API server adds to a Deployment's spec is not known here: that is judged by the stamp, which is metadata.
    """
    wanted = merged(observed, rendered)
    if rendered["kind"] == "Deployment":
        return bool(wanted["metadata"] != observed["metadata"])
    return wanted != observed


def merged(observed: Raw, rendered: Raw) -> Raw:
    """Return the observed object with everything of ours as rendered."""
    seen, ours = observed["metadata"], rendered["metadata"]
    metadata = {**seen, "labels": {**(seen.get("labels") or {}), **ours["labels"]}}
    foreign = {key: text for key, text in (seen.get("annotations") or {}).items() if key not in OUR_ANNOTATIONS}
    annotations = {**foreign, **ours.get("annotations", {})}
    if annotations or "annotations" in seen:
        metadata["annotations"] = annotations
    metadata["ownerReferences"] = _owners(seen, ours)
    return {**observed, "metadata": metadata, "spec": _merged_spec(observed, rendered)}


def labelled(desired: DesiredService, observed: Raw, revision: str) -> Raw:
    """Return the observed object with the labels of a revision's child, and nothing else changed."""
    seen = observed["metadata"]
    ours = _metadata(desired, seen["name"], revision=revision)["labels"]
    return {**observed, "metadata": {**seen, "labels": {**(seen.get("labels") or {}), **ours}}}


def _merged_spec(observed: Raw, rendered: Raw) -> Raw:
    if rendered["kind"] == "Service":  # the rest of it is allocated by the cluster
        return {**observed["spec"], **rendered["spec"]}
    if rendered["kind"] == "Deployment":
        return {**rendered["spec"], "replicas": observed["spec"].get("replicas", 1)}
    return dict(rendered["spec"])


def _owners(seen: Raw, ours: Raw) -> list[Raw]:
    wanted = ours["ownerReferences"][0]
    others = [owner for owner in seen.get("ownerReferences") or [] if owner.get("uid") != wanted["uid"]]
    return [wanted, *others]


def _metadata(desired: DesiredService, name: str, *, revision: str | None = None) -> Raw:
    labels = {LABEL_SERVICE_DEPLOYMENT: desired.name} | ({LABEL_REVISION: revision} if revision else {})
    owner = {
        "apiVersion": API_VERSION, "kind": "ServiceDeployment", "name": desired.name, "uid": desired.uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    return {"name": name, "namespace": desired.namespace, "labels": labels, "ownerReferences": [owner]}


def _deployment_spec(desired: DesiredService) -> Raw:
    labels = desired.selects(desired.revision)
    metadata = dict(desired.template.get("metadata") or {})
    metadata["labels"] = with_entries(metadata.get("labels"), dict(labels), ours_win=True)
    return {
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "progressDeadlineSeconds": desired.deadline_seconds,
        # Old ReplicaSets of one revision are only ever leftovers of hand edits.
        "revisionHistoryLimit": 0,
        "template": {**desired.template, "metadata": metadata},
    }


def _service(desired: DesiredService, name: str, *, selects: str, target_port: int, revision: str | None = None) -> Raw:
    port: dict[str, Any] = {
        "name": "service", "port": desired.port, "protocol": "TCP", "targetPort": target_port,
    }  # fmt: skip
    if desired.app_protocol:
        port["appProtocol"] = desired.app_protocol
    spec = {"type": "ClusterIP", "ports": [port], "selector": desired.selects(selects)}
    metadata = _metadata(desired, name, revision=revision)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _backend(desired: DesiredService, revision: str, weight: int) -> Raw:
    return {
        "group": "", "kind": "Service", "name": desired.child(revision), "port": desired.port, "weight": weight,
    }  # fmt: skip
