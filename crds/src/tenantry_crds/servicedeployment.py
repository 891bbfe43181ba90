"""The ServiceDeployment: a service that is released revision by revision behind a gateway."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, JsonValue, WithJsonSchema

from tenantry_crds.base import DnsLabel, DnsSubdomain, KubeObject, ObservedGeneration, Part, Port, Rule
from tenantry_crds.conditions import Conditions


class StrategyType(StrEnum):
    ROLLING = "Rolling"


class ServiceDeploymentPhase(StrEnum):
    PENDING = "Pending"
    PROGRESSING = "Progressing"
    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    DELETING = "Deleting"


def _container(description: str) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "description": description,
        "x-kubernetes-preserve-unknown-fields": True,
        "required": ["name", "image"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 63, "description": "Name of the container."},
            "image": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "Image of the container."},
        },
    }


# Only what the operator reads is typed. The rest passes as it is and is judged by the cluster's own dry run, so that
# fields of a newer Kubernetes are kept.
POD_TEMPLATE: dict[str, JsonValue] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "required": ["spec"],
    "properties": {
        "metadata": {
            "type": "object",
            "description": "Labels and annotations of the pods.",
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "spec": {
            "type": "object",
            "description": "The pod's spec as Kubernetes knows it; every field of the cluster's version is kept.",
            "x-kubernetes-preserve-unknown-fields": True,
            "required": ["containers"],
            "properties": {
                "containers": {
                    "type": "array",
                    "description": "The containers; the first one serves.",
                    "minItems": 1,
                    "maxItems": 50,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": _container("A container as Kubernetes knows it."),
                },
            },
        },
    },
}

PodTemplate = Annotated[dict[str, JsonValue], WithJsonSchema(POD_TEMPLATE)]


class ServicePort(Part):
    """How the pods are reached."""

    port: Annotated[Port, Field(description="Port of the Service.")]
    target_port: Annotated[Port | None, Field(description="Port of the container. Absent: the same as port.")] = None
    app_protocol: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=63,
            pattern=r"^[a-z0-9]([-a-z0-9./]*[a-z0-9])?$",
            description="Protocol of the port, as in http. With http, pods that declare no probes get HTTP probes on "
            "/readyz and /livez. Absent: not said.",
        ),
    ] = None


class GatewayRef(Part):
    """The gateway that the service is published at, by an HTTPRoute of the ServiceDeployment's name."""

    name: Annotated[DnsSubdomain, Field(description="Name of the Gateway.")]
    namespace: Annotated[DnsLabel | None, Field(description="Namespace of the Gateway. Absent: the own one.")] = None
    hostname: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            description="Host that is served. Absent: every host of the listener.",
        ),
    ] = None
    path_prefix: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=1024,
            pattern=r"^/[-A-Za-z0-9/._~!$&'()*+,;=:@%]*$",
            description="Paths that are served begin with this. Absent: /.",
        ),
    ] = None


class Traffic(Part):
    """Where requests come from and how long a side is drained."""

    gateway: Annotated[GatewayRef | None, Field(description="The gateway. Absent: only inside the cluster.")] = None
    drain_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            le=3600,
            description="Seconds between the last request sent to a side and its end. Absent: 15.",
        ),
    ] = None


class Strategy(Part):
    """How a new revision takes over."""

    type: Annotated[StrategyType, Field(description="Rolling: the new side takes traffic as its pods become ready.")]


class ServiceDeploymentSpec(Part):
    """What is wanted."""

    replicas: Annotated[
        int | None, Field(ge=0, le=1000, description="Pods that serve. Absent: 1; write it for kubectl scale.")
    ] = None
    template: Annotated[PodTemplate, Field(description="The pods. A change makes a new revision.")]
    service: Annotated[ServicePort, Field(description="How the pods are reached.")]
    traffic: Annotated[Traffic | None, Field(description="Where requests come from and how a side is drained.")] = None
    strategy: Annotated[Strategy | None, Field(description="How a new revision takes over. Absent: Rolling.")] = None
    progress_deadline_seconds: Annotated[
        int | None,
        Field(ge=1, le=86400, description="Seconds without progress after which a revision is given up. Absent: 600."),
    ] = None
    revision_history_limit: Annotated[
        int | None, Field(ge=0, le=20, description="Old revisions that are kept, scaled to zero. Absent: 3.")
    ] = None


class RevisionStatus(Part):
    """One revision and its pods."""

    revision: Annotated[str, Field(max_length=63, description="The revision: a hash of the template.")]
    image: Annotated[str | None, Field(max_length=1024, description="Image of the first container.")] = None
    replicas: Annotated[int | None, Field(ge=0, le=10**6, description="Pods that it has.")] = None
    ready_replicas: Annotated[int | None, Field(ge=0, le=10**6, description="Pods that are ready.")] = None


class Weights(Part):
    """The share of the updating revision, in percent; 100 when none is updating."""

    desired: Annotated[int, Field(ge=0, le=100, description="Percent that the updating revision should get.")]
    applied: Annotated[int, Field(ge=0, le=100, description="Percent that the gateway has accepted.")]


class HistoryEntry(Part):
    """A revision that was promoted."""

    revision: Annotated[str, Field(max_length=63, description="The revision.")]
    image: Annotated[str | None, Field(max_length=1024, description="Image of the first container.")] = None
    promoted_at: Annotated[datetime, Field(description="When it became stable.")]


class ServiceDeploymentStatus(Part):
    """What is observed."""

    observed_generation: Annotated[
        ObservedGeneration, Field(description="The metadata.generation that this status is of; -1 before the first.")
    ] = -1
    phase: Annotated[ServiceDeploymentPhase | None, Field(description="A summary for display; use the conditions.")] = (
        None
    )
    replicas: Annotated[int | None, Field(ge=0, le=10**6, description="Pods of all revisions.")] = None
    selector: Annotated[
        str | None, Field(max_length=1024, description="Label selector of the pods, for autoscalers.")
    ] = None
    stable: Annotated[RevisionStatus | None, Field(description="The revision that serves.")] = None
    updating: Annotated[RevisionStatus | None, Field(description="The revision that is taking over.")] = None
    weights: Annotated[Weights | None, Field(description="The share of the updating revision, in percent.")] = None
    history: Annotated[
        tuple[HistoryEntry, ...],
        Field(
            max_length=21,
            description="Revisions that were promoted, newest first.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    conditions: Conditions = ()


class ServiceDeployment(KubeObject):
    """A service: pods of a template, released revision by revision, published at a gateway."""

    spec: Annotated[ServiceDeploymentSpec, Field(description="What is wanted.")]
    status: Annotated[ServiceDeploymentStatus, Field(description="What is observed.")] = ServiceDeploymentStatus()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="service-name",
            rule="self.metadata.name.matches('^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$')",
            message="a ServiceDeployment's name starts with a letter, has only a-z, 0-9 and -, "
            "and at most 40 characters: names of revisions are derived from it",
            field_path=".metadata.name",
        ),
    )
