"""A ServiceDeployment as it is wanted, with everything that is absent filled in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tenantry_crds import ServiceDeploymentSpec, absent
from tenantry_crds.names import GROUP, LABEL_REVISION, LABEL_SERVICE_DEPLOYMENT
from tenantry_operator.model.service_template import Raw, first_image, render_template, revision_of

ANNOTATION_PROMOTIONS = f"{GROUP}/promotions"
"""On Service `<name>`: the revisions that were promoted, newest first, as in `rev@time,rev@time`."""

ANNOTATION_MOVED_AT = f"{GROUP}/selector-moved-at"
"""On Service `<name>`: when its selector last came to select another revision, by whomever; a drain begins then."""

ANNOTATION_TAKEN_AT = f"{GROUP}/weights-taken-at"
"""On the HTTPRoute: when the gateway was first seen to have taken the weights that stand in it; the drain begins."""

ANNOTATION_STAMP = f"{GROUP}/stamp"
"""On a Deployment: the hash of what was asked for and of what the API server made of it; any other hash is drift."""

ANNOTATION_TARGET_PORT = f"{GROUP}/target-port"
"""On a Deployment: the port of the revision's containers. The next revision may have another while both serve."""


NEVER_TOLD: Final = -1
"""The observedGeneration of a status that no pass has written."""


@dataclass(frozen=True)
class Gateway:
    name: str
    namespace: str
    hostname: str | None
    path_prefix: str


@dataclass(frozen=True)
class DesiredService:
    """What is wanted. Durations are seconds; `template` is rendered, without the labels of the revision."""

    name: str
    namespace: str
    uid: str
    generation: int
    replicas: int
    template: Raw
    revision: str
    image: str | None
    port: int
    target_port: int
    app_protocol: str | None
    gateway: Gateway | None
    drain_seconds: int
    deadline_seconds: int
    history_limit: int
    edited: bool = False
    """Whether the spec was changed since a pass last told of it, as far as the status says."""

    def child(self, revision: str) -> str:
        return f"{self.name}-{revision}"

    def selects(self, revision: str) -> dict[str, str]:
        """Return the labels that the pods of one revision have."""
        return {LABEL_SERVICE_DEPLOYMENT: self.name, LABEL_REVISION: revision}


@dataclass(frozen=True)
class Promotion:
    revision: str
    at: datetime


def desired_service(body: Mapping[str, Any]) -> DesiredService:
    """Read a raw ServiceDeployment. Raises pydantic.ValidationError for a spec that this version does not know."""
    spec = ServiceDeploymentSpec.model_validate(body["spec"])
    metadata = body["metadata"]
    protocol = spec.service.app_protocol
    template = render_template(body["spec"]["template"], port=absent.target_port(spec), app_protocol=protocol)
    return DesiredService(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        replicas=absent.replicas(spec),
        template=template,
        revision=revision_of(template),
        image=first_image(template),
        port=spec.service.port,
        target_port=absent.target_port(spec),
        app_protocol=protocol,
        gateway=_gateway(spec, metadata["namespace"]),
        drain_seconds=absent.drain_seconds(spec),
        deadline_seconds=absent.progress_deadline_seconds(spec),
        history_limit=absent.revision_history_limit(spec),
        edited=_is_edited(body),
    )


def _is_edited(body: Mapping[str, Any]) -> bool:
    told = (body.get("status") or {}).get("observedGeneration", NEVER_TOLD)
    return bool(told not in {NEVER_TOLD, body["metadata"].get("generation", NEVER_TOLD)})


def promotions_of(text: str | None) -> tuple[Promotion, ...]:
    """Read the annotation; what cannot be read is left out, for a hand may have written it."""
    found = (_promotion(part) for part in (text or "").split(",") if part)
    return tuple(promotion for promotion in found if promotion)


def promotions_text(promotions: tuple[Promotion, ...]) -> str:
    return ",".join(f"{promotion.revision}@{promotion.at.isoformat()}" for promotion in promotions)


def time_of(text: str | None) -> datetime | None:
    """Read an RFC 3339 time with its zone; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def _promotion(part: str) -> Promotion | None:
    revision, _, text = part.partition("@")
    at = time_of(text)
    return Promotion(revision, at) if revision and at else None


def _gateway(spec: ServiceDeploymentSpec, namespace: str) -> Gateway | None:
    reference = spec.traffic.gateway if spec.traffic else None
    if reference is None:
        return None
    return Gateway(
        name=reference.name,
        namespace=absent.gateway_namespace(spec, namespace),
        hostname=reference.hostname,
        path_prefix=absent.path_prefix(spec),
    )
