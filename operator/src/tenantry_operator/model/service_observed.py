"""What the cluster has of one ServiceDeployment, read from raw objects into one frozen value."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tenantry_crds.names import LABEL_REVISION, LABEL_SERVICE_DEPLOYMENT
from tenantry_operator.model.service import (
    ANNOTATION_MOVED_AT,
    ANNOTATION_PROMOTIONS,
    ANNOTATION_STAMP,
    ANNOTATION_TAKEN_AT,
    ANNOTATION_TARGET_PORT,
    DesiredService,
    Gateway,
    Promotion,
    promotions_of,
    time_of,
)
from tenantry_operator.model.service_template import REVISION_LENGTH, Raw, fingerprint, first_image

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_REVISION = re.compile(rf"[0-9a-f]{{{REVISION_LENGTH}}}")


@dataclass(frozen=True)
class DeploymentSeen:
    """One revision's Deployment. `replicas` is what it was told, `pods` and `updated` are what it has."""

    revision: str
    body: Raw
    replicas: int
    pods: int
    updated: int
    settled: bool
    deadline_exceeded: bool
    progressed_at: datetime | None
    created_at: datetime | None
    trouble: str

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def image(self) -> str | None:
        return first_image(self.body["spec"].get("template", {}))

    @property
    def stamp(self) -> str:
        return str((self.body["metadata"].get("annotations") or {}).get(ANNOTATION_STAMP, ""))

    @property
    def stored(self) -> str:
        return stored_fingerprint(self.body)

    @property
    def target_port(self) -> int | None:
        text = _annotations(self.body).get(ANNOTATION_TARGET_PORT, "")
        return int(text) if _PORT.fullmatch(text) else None


@dataclass(frozen=True)
class RouteSeen:
    """The HTTPRoute. `accepted` and `resolved` count only at the route's own generation, for the wanted gateway."""

    body: Raw
    accepted: bool
    resolved: bool
    refusal: str
    unresolved: str
    taken_at: datetime | None
    weights: Mapping[str, int]

    @property
    def in_force(self) -> bool:
        return self.accepted and self.resolved


@dataclass(frozen=True)
class PodSeen:
    revision: str
    ready: bool
    trouble: str
    created_at: datetime | None


@dataclass(frozen=True)
class Trial:
    """The API server's answer to a dry run of the Deployment. `stored` is the hash of what it would keep."""

    refusal: str = ""
    stored: str = ""


@dataclass(frozen=True)
class ObservedService:
    """Children by their names, ready endpoints by revision. `foreign` names what has a name of ours and is not ours."""

    deployments: Mapping[str, DeploymentSeen] = field(default_factory=dict)
    services: Mapping[str, Raw] = field(default_factory=dict)
    route: RouteSeen | None = None
    endpoints: Mapping[str, int] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()
    pods: tuple[PodSeen, ...] = ()
    trial: Trial | None = None
    gateway_missing: bool = False
    selected: str | None = None
    promotions: tuple[Promotion, ...] = ()
    moved_at: datetime | None = None

    def ready(self, revision: str | None) -> int:
        return self.endpoints.get(revision, 0) if revision and revision in self.deployments else 0


@dataclass(frozen=True)
class Children:
    """Raw objects of one namespace, or of one ServiceDeployment."""

    deployments: tuple[Raw, ...] = ()
    services: tuple[Raw, ...] = ()
    routes: tuple[Raw, ...] = ()
    slices: tuple[Raw, ...] = ()


def observed_service(desired: DesiredService, children: Children) -> ObservedService:
    """Read what belongs to `desired`; objects that are not ours are named in `foreign` if they have a name we need."""
    everything = children.deployments + children.services + children.routes
    services = {_name(body): body for body in children.services if is_ours(desired, body)}
    public = services.get(desired.name)
    deployments = (_deployment(desired, body) for body in children.deployments if is_ours(desired, body))
    routes = (body for body in children.routes if is_ours(desired, body) and _name(body) == desired.name)
    return ObservedService(
        deployments={seen.revision: seen for seen in deployments if seen},
        services=services,
        route=next((_route(desired, body) for body in routes), None),
        endpoints=_ready_endpoints(desired, children.slices),
        foreign=tuple(f"{body['kind']} {_name(body)}" for body in everything if _is_in_the_way(desired, body)),
        selected=((public or {}).get("spec", {}).get("selector") or {}).get(LABEL_REVISION),
        promotions=promotions_of(_annotations(public or {}).get(ANNOTATION_PROMOTIONS)),
        moved_at=time_of(_annotations(public or {}).get(ANNOTATION_MOVED_AT)),
    )


def is_ours(desired: DesiredService, body: Raw) -> bool:
    """Say whether the object is a child: controlled by this very object, or by nobody and with our label."""
    owners = body["metadata"].get("ownerReferences") or []
    controller = next((owner for owner in owners if owner.get("controller")), None)
    if controller is not None:
        return bool(controller.get("uid") == desired.uid)
    return bool((body["metadata"].get("labels") or {}).get(LABEL_SERVICE_DEPLOYMENT) == desired.name)


def pod_seen(body: Raw) -> PodSeen:
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or []}
    ready = conditions.get("Ready", {}).get("status") == "True" and not metadata.get("deletionTimestamp")
    return PodSeen(
        revision=(metadata.get("labels") or {}).get(LABEL_REVISION, ""),
        ready=ready,
        trouble="" if ready else _trouble(status, conditions),
        created_at=time_of(metadata.get("creationTimestamp")),
    )


def stored_fingerprint(deployment: Raw) -> str:
    """Hash the spec as the API server keeps it, without replicas, which are a matter of the scale subresource."""
    return fingerprint({key: value for key, value in deployment["spec"].items() if key != "replicas"})


def _is_in_the_way(desired: DesiredService, body: Raw) -> bool:
    kind, name = body["kind"], _name(body)
    wanted = {
        "Deployment": {desired.child(desired.revision)},
        "Service": {desired.name, desired.child(desired.revision)},
        "HTTPRoute": {desired.name} if desired.gateway else set(),
    }
    return name in wanted[kind] and not is_ours(desired, body)


def _deployment(desired: DesiredService, body: Raw) -> DeploymentSeen | None:
    prefix, _, revision = _name(body).rpartition("-")
    if prefix != desired.name or not _REVISION.fullmatch(revision):
        return None
    status = body.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or []}
    progressing = conditions.get("Progressing", {})
    return DeploymentSeen(
        revision=revision,
        body=body,
        replicas=body["spec"].get("replicas", 1),
        pods=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        settled=status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0),
        deadline_exceeded=progressing.get("reason") == "ProgressDeadlineExceeded",
        progressed_at=time_of(progressing.get("lastUpdateTime")),
        created_at=time_of(body["metadata"].get("creationTimestamp")),
        trouble=str(conditions.get("ReplicaFailure", {}).get("message", "")),
    )


def _route(desired: DesiredService, body: Raw) -> RouteSeen:
    accepted, refusal = _verdict(desired.gateway, body, "Accepted")
    resolved, unresolved = _verdict(desired.gateway, body, "ResolvedRefs")
    return RouteSeen(
        body=body,
        accepted=accepted,
        resolved=resolved,
        refusal=refusal,
        unresolved=unresolved,
        taken_at=time_of(_annotations(body).get(ANNOTATION_TAKEN_AT)),
        weights=_weights(desired, body),
    )


def _verdict(gateway: Gateway | None, body: Raw, kind: str) -> tuple[bool, str]:
    """Say whether a controller of the gateway has judged this generation well, and if it judged it ill, how."""
    generation = body["metadata"].get("generation", 0)
    refusal = ""
    for parent in (body.get("status") or {}).get("parents") or []:
        reference = parent.get("parentRef") or {}
        where = (reference.get("name"), reference.get("namespace") or body["metadata"]["namespace"])
        if gateway is None or where != (gateway.name, gateway.namespace):
            continue
        for condition in parent.get("conditions") or []:
            if condition.get("type") != kind or condition.get("observedGeneration", 0) < generation:
                continue
            if condition.get("status") == "True":
                return True, ""
            refusal = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
    return False, refusal


def _weights(desired: DesiredService, body: Raw) -> dict[str, int]:
    """Return the weight of each of our revisions, also from a route that a hand has changed."""
    found: dict[str, int] = {}
    for rule in body["spec"].get("rules") or []:
        for reference in rule.get("backendRefs") or []:
            prefix, _, revision = str(reference.get("name", "")).rpartition("-")
            if prefix == desired.name and _REVISION.fullmatch(revision):
                found[revision] = found.get(revision, 0) + reference.get("weight", 1)
    return {revision: weight for revision, weight in found.items() if weight > 0}


def _ready_endpoints(desired: DesiredService, slices: Iterable[Raw]) -> dict[str, int]:
    """Count addresses, not entries: while the slices of a Service are rewritten, one may stand in two of them."""
    addresses: dict[str, set[str]] = {}
    for item in slices:
        service = str((item["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL, ""))
        prefix, _, revision = service.rpartition("-")
        if prefix != desired.name:
            continue
        for endpoint in item.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True):
                addresses.setdefault(revision, set()).update(endpoint.get("addresses") or [])
    return {revision: len(found) for revision, found in addresses.items()}


def _trouble(status: Raw, conditions: Mapping[str, Any]) -> str:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"cannot be scheduled: {scheduled.get('message', '')}"
    found = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    waiting = next((text for text in map(_waits_for, found) if text), "")
    return waiting or str(conditions.get("Ready", {}).get("message", "") or "has not started")


def _waits_for(container: Raw) -> str:
    """Say why a container does not run, the same at each look: the kubelet alternates between two words for it."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
    name, image, reason = container.get("name"), container.get("image"), str(waiting.get("reason", ""))
    if reason in ("ErrImagePull", "ImagePullBackOff"):
        return f"container {name}: ImagePullBackOff, the image {image} cannot be pulled"
    if reason == "ContainerCreating":
        return f"container {name}: ContainerCreating, the image {image} is pulled or a volume is awaited"
    if not container.get("ready") and (reason == "CrashLoopBackOff" or (container.get("restartCount") and ended)):
        return f"container {name}: CrashLoopBackOff, it ended with exit code {(ended or {}).get('exitCode', 'unknown')}"
    quiet = reason in ("", "PodInitializing")
    return "" if quiet else f"container {name}: {reason}, {waiting.get('message', '')}".rstrip(", ")


def _name(body: Raw) -> str:
    return str(body["metadata"]["name"])


def _annotations(body: Raw) -> dict[str, str]:
    return (body.get("metadata") or {}).get("annotations") or {}
