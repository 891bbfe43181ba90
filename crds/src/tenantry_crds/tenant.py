"""The Tenant: a customer, with schemas, roles, credentials and migrations in one database server."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from tenantry_crds.base import DnsLabel, KubeObject, ObservedGeneration, Part, Rule
from tenantry_crds.conditions import Conditions
from tenantry_crds.credentials import CredentialsStatus, EffectiveRotation, TenantCredentials
from tenantry_crds.tenantbackup import EffectiveBackup, TenantBackup
from tenantry_crds.tenantdatabase import ReadOnlyRole, TenantDatabase
from tenantry_crds.tenantnamespace import EffectiveNamespace, TenantNamespace

# No control characters: the name is printed in logs and terminals.
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


class Isolation(StrEnum):
    SCHEMA = "Schema"
    DATABASE = "Database"
    POOLED = "Pooled"


class AdoptionPolicy(StrEnum):
    NEVER = "Never"
    IF_MARKED = "IfMarked"
    FORCE = "Force"


class Lifecycle(StrEnum):
    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    ARCHIVED = "Archived"


class DeletionPolicy(StrEnum):
    RETAIN = "Retain"
    DELETE = "Delete"
    BACKUP_THEN_DELETE = "BackupThenDelete"


class DeletionProtection(StrEnum):
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class DriftPolicy(StrEnum):
    REPAIR = "Repair"
    REPORT = "Report"


class TenantPhase(StrEnum):
    PENDING = "Pending"
    PROVISIONING = "Provisioning"
    READY = "Ready"
    SUSPENDED = "Suspended"
    ARCHIVED = "Archived"
    DELETING = "Deleting"
    FAILED = "Failed"


class TenantMigrations(Part):
    """When MigrationRuns move the tenant's schema of the services."""

    wave: Annotated[
        int | None,
        Field(ge=1, le=16, description="The wave of a MigrationRun, the first is 1. Absent: as the run chooses."),
    ] = None
    hold: Annotated[
        bool | None,
        Field(
            description="Whether MigrationRuns leave the tenant where it is. A run of phase contract waits for it. "
            "Absent: false."
        ),
    ] = None


class TenantSpec(Part):
    """What is wanted."""

    display_name: Annotated[
        str,
        Field(min_length=1, max_length=253, pattern=PRINTABLE, description="The customer's name, for people."),
    ]
    isolation: Annotated[
        Isolation,
        Field(
            description="How the tenant is kept apart. Schema: schemas and roles of its own in a shared database. "
            "Database: a database of its own, and its login connects to no other one; for that the operator's login "
            "needs CREATEDB. "
            "Pooled: rows in a schema that the server's pooled tenants share; row security tells them apart, and the "
            "tenant's login reads its own rows and writes none."
        ),
    ]
    database_server: Annotated[
        DnsLabel | None,
        Field(description="The DatabaseServer that holds the data. Absent: the default server, and it stays there."),
    ] = None
    database: Annotated[
        TenantDatabase | None,
        Field(description="Limits and settings of the tenant's login, extensions, and who else reads."),
    ] = None
    credentials: Annotated[
        TenantCredentials | None,
        Field(description="Where the tenant's credentials are written, and when they are replaced."),
    ] = None
    adoption_policy: Annotated[
        AdoptionPolicy | None,
        Field(
            description="What becomes of data that is on the server under the Tenant's name already. Never: it is left "
            "alone, and the Tenant waits. IfMarked: it is taken over if an earlier Tenant of this name released it. "
            "Force: also if that Tenant is gone without having released it, or if the schemas and roles lost their "
            "marker. Absent: IfMarked."
        ),
    ] = None
    migrations: Annotated[
        TenantMigrations | None, Field(description="When MigrationRuns move the tenant's schema of the services.")
    ] = None
    lifecycle: Annotated[
        Lifecycle | None,
        Field(
            description="Whether anybody gets at the data. Active: the login and the services do. Suspended: nobody "
            "does, and sessions are ended; the login and the Secret stay as they are. Archived: as Suspended, and "
            "the login and the Secret are removed; Active again issues new ones. The data stays whatever it is. "
            "Absent: Active."
        ),
    ] = None
    namespace: Annotated[
        TenantNamespace | None,
        Field(description="A namespace of the tenant's own. It can be added, and not removed. Absent: none."),
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy | None,
        Field(
            description="What becomes of the data when the Tenant is deleted. Retain: it stays and can be adopted by "
            "a Tenant of the same name. Delete: schemas and roles are dropped. BackupThenDelete: they are dropped once "
            "a backup is made, and was restored for a trial. Absent: Retain."
        ),
    ] = None
    backup: Annotated[
        TenantBackup | None,
        Field(description="Where the backup of deletionPolicy BackupThenDelete goes, which needs it. Absent: nowhere."),
    ] = None
    deletion_protection: Annotated[
        DeletionProtection | None,
        Field(description="Enabled refuses to delete the Tenant until it is set to Disabled. Absent: Enabled."),
    ] = None

    drift_policy: Annotated[
        DriftPolicy | None,
        Field(
            description="What is done about a change by hand on the server. Repair: it is undone. Report: it is left, "
            "and told in DriftDetected and status.drift; a change of the spec is applied all the same. Absent: Repair."
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-isolation-is-immutable",
            rule="self.isolation == oldSelf.isolation",
            message="isolation cannot be changed: make a new Tenant and move the data",
            field_path=".isolation",
        ),
        Rule(
            name="tenant-pooled-moves-with-the-pool",
            rule="self.isolation != 'Pooled' || !has(self.migrations)",
            message="migrations cannot be set for a pooled Tenant: the pool moves as one, in the last wave",
            field_path=".migrations",
        ),
        Rule(
            name="tenant-pooled-has-no-read-only-role",
            rule="self.isolation != 'Pooled' || !has(self.database) || !has(self.database.readOnlyRole)"
            " || self.database.readOnlyRole == 'Disabled'",
            message="a pooled Tenant has no schema to read: its login reads its rows, and row security lets no other",
            field_path=".database.readOnlyRole",
        ),
        Rule(
            name="tenant-server-is-immutable",
            rule="has(self.databaseServer) == has(oldSelf.databaseServer)"
            " && (!has(self.databaseServer) || self.databaseServer == oldSelf.databaseServer)",
            message="databaseServer cannot be set, changed or removed after creation: the data stays where it is",
            field_path=".databaseServer",
        ),
        Rule(
            name="tenant-namespace-is-not-removed",
            rule="!has(oldSelf.__namespace__) || has(self.__namespace__)",
            message="namespace cannot be removed: delete the Tenant, and apply it without",
            field_path=".namespace",
        ),
        Rule(
            name="tenant-namespace-name-is-immutable",
            rule="!has(oldSelf.__namespace__) || !has(self.__namespace__)"
            " || has(self.__namespace__.name) == has(oldSelf.__namespace__.name)"
            " && (!has(self.__namespace__.name) || self.__namespace__.name == oldSelf.__namespace__.name)",
            message="namespace.name cannot be set, changed or removed once there is a namespace",
            field_path=".namespace.name",
        ),
        Rule(
            name="tenant-backup-has-a-destination",
            rule="!has(self.deletionPolicy) || self.deletionPolicy != 'BackupThenDelete' || has(self.backup)",
            message="deletionPolicy BackupThenDelete needs backup.destination",
            field_path=".backup",
        ),
    )


class MigrationStatus(Part):
    """Where the tenant's schema of the services stands."""

    current: Annotated[str | None, Field(max_length=64, description="The revision that the schema has.")] = None
    target: Annotated[str | None, Field(max_length=64, description="The revision that is released.")] = None


class Binding(Part):
    """The Secret with the credentials, in the form of the Service Binding specification."""

    name: Annotated[str, Field(max_length=253, description="Name of the Secret.")]
    namespace: Annotated[str, Field(max_length=63, description="Namespace of the Secret.")]


class Drift(Part):
    """One difference between the server and what the spec asks for, which no change of the spec explains."""

    what: Annotated[str, Field(min_length=1, max_length=300, description="What is not as it should be.")]
    since: Annotated[
        datetime, Field(description="When it was first seen. It is kept here alone: deleting the status resets it.")
    ]


class TenantEffective(Part):
    """What holds, including what the spec leaves out."""

    connection_limit: Annotated[int, Field(ge=1, le=1000, description="Connections that the login may hold at once.")]
    settings: Annotated[
        dict[str, Annotated[str, Field(max_length=64)]],
        Field(max_length=16, description="Postgres settings of the login."),
    ]
    read_only_role: Annotated[
        ReadOnlyRole | None, Field(description="Whether there is a role that reads and does nothing else.")
    ] = None
    extensions: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(
            max_length=16,
            description="Extensions of Postgres that the tenant asks for.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    adoption_policy: Annotated[AdoptionPolicy, Field(description="Whether data that is there already is taken over.")]
    lifecycle: Annotated[Lifecycle, Field(description="Whether anybody gets at the data.")]
    rotation: Annotated[
        EffectiveRotation | None, Field(description="When the login and its password are replaced.")
    ] = None
    deletion_policy: Annotated[DeletionPolicy, Field(description="What becomes of the data on deletion.")]
    deletion_protection: Annotated[DeletionProtection, Field(description="Whether deletion is refused.")]
    drift_policy: Annotated[
        DriftPolicy | None, Field(description="What is done about a change by hand on the server.")
    ] = None
    migrations: Annotated[TenantMigrations | None, Field(description="When MigrationRuns move the tenant.")] = None
    namespace: Annotated[EffectiveNamespace | None, Field(description="The namespace of the tenant's own.")] = None
    backup: Annotated[EffectiveBackup | None, Field(description="How the bucket of backups is reached.")] = None


class TenantStatus(Part):
    """What is observed. It is never read back as the truth: removing it changes nothing."""

    observed_generation: Annotated[
        ObservedGeneration, Field(description="The metadata.generation that this status is of; -1 before the first.")
    ] = -1
    phase: Annotated[TenantPhase | None, Field(description="A summary for display; use the conditions.")] = None
    id: Annotated[
        str | None,
        Field(max_length=36, description="The tenant's id in every table; made once, and kept by an adoption."),
    ] = None
    database_server: Annotated[str | None, Field(max_length=63, description="The DatabaseServer with the data.")] = None
    database: Annotated[str | None, Field(max_length=63, description="The database with the schemas.")] = None
    schema_name: Annotated[str | None, Field(alias="schema", max_length=63, description="The customer's schema.")] = (
        None
    )
    roles: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(
            max_length=16,
            description="The roles that belong to the tenant.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    credentials: Annotated[
        CredentialsStatus | None, Field(description="Which login the Secret names, and since when.")
    ] = None
    migration: Annotated[
        MigrationStatus | None, Field(description="Where the tenant's schema of the services stands.")
    ] = None
    binding: Annotated[Binding | None, Field(description="The Secret with the credentials.")] = None
    drift: Annotated[
        tuple[Drift, ...],
        Field(
            max_length=20,
            description="What was changed by hand and is not, or not yet, put right; the first twenty.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["what"]},
        ),
    ] = ()
    verified_at: Annotated[
        datetime | None,
        Field(description="Since when the tenant is verified to be isolated; it changes with the verdict alone."),
    ] = None
    effective: Annotated[
        TenantEffective | None, Field(description="What holds, including what the spec leaves out.")
    ] = None
    conditions: Conditions = ()


class Tenant(KubeObject):
    """A customer: schemas, roles, credentials and migrations in one database server."""

    spec: Annotated[TenantSpec, Field(description="What is wanted.")]
    status: Annotated[TenantStatus, Field(description="What is observed.")] = TenantStatus()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-name",
            rule="self.metadata.name.matches('^[a-z][a-z0-9-]{0,38}$')",
            message="a Tenant's name starts with a letter, has only a-z, 0-9 and -, and at most 39 characters",
            field_path=".metadata.name",
        ),
        Rule(
            name="tenant-name-is-not-the-systems",
            rule="!self.metadata.name.startsWith('tenantry')",
            message="names that start with tenantry are the system's own",
            field_path=".metadata.name",
        ),
    )
