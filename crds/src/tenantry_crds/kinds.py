"""The kinds: what a CRD says beside its schema."""

from dataclasses import dataclass

from tenantry_crds.base import KubeObject
from tenantry_crds.databaseserver import DatabaseServer
from tenantry_crds.migrationrun import MigrationRun
from tenantry_crds.names import GROUP
from tenantry_crds.servicedeployment import ServiceDeployment
from tenantry_crds.tenant import Tenant


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; a wide one shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True)
class Scale:
    """Where `kubectl scale` and autoscalers read and write."""

    spec_replicas: str
    status_replicas: str
    selector: str


@dataclass(frozen=True)
class Kind:
    model: type[KubeObject]
    plural: str
    singular: str
    short_name: str
    namespaced: bool
    columns: tuple[Column, ...]
    scale: Scale | None = None

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


READY = Column("Ready", _condition("Ready", "status"), description="Whether the object is as wanted.")
AGE = Column("Age", ".metadata.creationTimestamp", "date", description="Time since creation.")
MESSAGE = Column("Message", _condition("Ready", "message"), wide=True, description="What Ready says.")

KINDS: tuple[Kind, ...] = (
    Kind(
        model=Tenant,
        plural="tenants",
        singular="tenant",
        short_name="tn",
        namespaced=False,
        columns=(
            READY,
            Column("Phase", ".status.phase", description="A summary."),
            Column("Isolation", ".spec.isolation", description="How the tenant is kept apart."),
            Column("Schema", ".status.schema", description="The customer's schema."),
            Column("Version", ".status.migration.current", description="Revision of the services' schema."),
            Column("Rotated", ".status.credentials.rotatedAt", "date", description="Age of the credentials."),
            AGE,
            Column(
                "Lifecycle", ".status.effective.lifecycle", wide=True, description="Whether anybody gets at the data."
            ),
            Column("Server", ".status.databaseServer", wide=True, description="The DatabaseServer with the data."),
            MESSAGE,
        ),
    ),
    Kind(
        model=DatabaseServer,
        plural="databaseservers",
        singular="databaseserver",
        short_name="dbs",
        namespaced=False,
        columns=(
            READY,
            Column("Host", ".spec.host", description="Host name or address."),
            Column("Version", ".status.version", description="Version of the server."),
            Column("Tenants", ".status.tenants", "integer", description="Tenants that are placed here."),
            Column("Most", ".status.capacity.tenants", "integer", description="Tenants that may be placed here."),
            Column("Room", _condition("CapacityAvailable", "status"), description="Whether another one has room."),
            Column("Default", ".spec.default", "boolean", description="Whether Tenants without a server go here."),
            AGE,
            Column(
                "Logins", ".status.capacity.serviceLogins", "integer", wide=True, description="Logins of each service."
            ),
            MESSAGE,
        ),
    ),
    Kind(
        model=MigrationRun,
        plural="migrationruns",
        singular="migrationrun",
        short_name="mr",
        namespaced=False,
        columns=(
            Column("Phase", ".status.phase", description="A summary."),
            Column("Wave", ".status.wave", "integer", description="The wave that is being moved."),
            Column("Done", ".status.done", "integer", description="Tenants that are at the revision."),
            Column("Failed", ".status.failed", "integer", description="Tenants that could not be moved."),
            Column("Total", ".status.total", "integer", description="Tenants that have a schema."),
            AGE,
            Column("To", ".spec.to", wide=True, description="The revision."),
            Column("Held", ".status.held", "integer", wide=True, description="Tenants that are held."),
            MESSAGE,
        ),
    ),
    Kind(
        model=ServiceDeployment,
        plural="servicedeployments",
        singular="servicedeployment",
        short_name="sd",
        namespaced=True,
        columns=(
            Column("Phase", ".status.phase", description="A summary."),
            Column("Weight", ".status.weights.applied", "integer", description="Percent of the updating revision."),
            Column("Stable", ".status.stable.revision", description="The revision that serves."),
            Column("Updating", ".status.updating.revision", description="The revision that is taking over."),
            READY,
            AGE,
            Column("Reason", _condition("Ready", "reason"), wide=True, description="Why Ready is what it is."),
            MESSAGE,
        ),
        scale=Scale(spec_replicas=".spec.replicas", status_replicas=".status.replicas", selector=".status.selector"),
    ),
)
