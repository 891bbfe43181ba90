"""The one table of what an absent field means. Every room asks here; nobody writes a default of their own."""

import re
from datetime import timedelta

from tenantry_crds.credentials import CredentialsRotation, EffectiveRotation
from tenantry_crds.databaseserver import DatabaseServerSpec, TlsMode
from tenantry_crds.endpoints import Endpoint, Pooler, PoolerMode
from tenantry_crds.migrationrun import MigrationRunSpec, MigrationWave
from tenantry_crds.servicedeployment import ServiceDeploymentSpec, StrategyType
from tenantry_crds.tenant import (
    AdoptionPolicy,
    DeletionPolicy,
    DeletionProtection,
    DriftPolicy,
    Lifecycle,
    TenantEffective,
    TenantMigrations,
    TenantSpec,
)
from tenantry_crds.tenantbackup import BackupBucket, EffectiveBackup
from tenantry_crds.tenantdatabase import ReadOnlyRole
from tenantry_crds.tenantnamespace import EffectiveNamespace, NetworkPolicyMode, PodSecurity, TenantNamespace

CONNECTION_LIMIT = 20
SETTINGS = {
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "5s",
}
# A password that nobody ever replaces is one that everybody has in the end: rotation is on unless it is turned off.
ROTATION_INTERVAL = "720h"
ROTATION_OVERLAP = "1h"
POSTGRES_PORT = 5432
OPERATOR_CONNECTIONS = 8
CA_KEY = "ca.crt"
BUCKET_REGION = "us-east-1"
REPLICAS = 1
DRAIN_SECONDS = 15
PROGRESS_DEADLINE_SECONDS = 600
REVISION_HISTORY_LIMIT = 3
PATH_PREFIX = "/"
MIGRATION_MAX_PARALLEL = 4
MIGRATION_LOCK_TIMEOUT = "3s"


def connection_limit(spec: TenantSpec) -> int:
    given = spec.database.connection_limit if spec.database else None
    return CONNECTION_LIMIT if given is None else given


def settings(spec: TenantSpec) -> dict[str, str]:
    """Return the settings that hold, by the names Postgres gives them; work_mem only if it is given."""
    given = spec.database.settings if spec.database else None
    return {**SETTINGS, **(given.model_dump(by_alias=True, exclude_none=True) if given else {})}


def read_only_role(spec: TenantSpec) -> ReadOnlyRole:
    return (spec.database and spec.database.read_only_role) or ReadOnlyRole.DISABLED


def extensions(spec: TenantSpec) -> tuple[str, ...]:
    """Return the names of what is asked for, sorted."""
    given = (spec.database and spec.database.extensions) or ()
    return tuple(sorted(one.name for one in given))


def secret_name(spec: TenantSpec, tenant: str) -> str:
    given = spec.credentials.secret_name if spec.credentials else None
    return given or f"{tenant}-database"


def adoption_policy(spec: TenantSpec) -> AdoptionPolicy:
    return spec.adoption_policy or AdoptionPolicy.IF_MARKED


def lifecycle(spec: TenantSpec) -> Lifecycle:
    return spec.lifecycle or Lifecycle.ACTIVE


def rotation_interval(spec: TenantSpec) -> timedelta:
    """Return the longest time between two rotations; zero is never by time."""
    return duration(effective_rotation(spec).interval)


def rotation_overlap(spec: TenantSpec) -> timedelta:
    return duration(effective_rotation(spec).overlap)


def effective_rotation(spec: TenantSpec) -> EffectiveRotation:
    given = (spec.credentials and spec.credentials.rotation) or CredentialsRotation()
    return EffectiveRotation(interval=given.interval or ROTATION_INTERVAL, overlap=given.overlap or ROTATION_OVERLAP)


def duration(text: str) -> timedelta:
    """Read a duration of the API, as 1h30m."""
    units = {unit: int(number) for number, unit in re.findall(r"([0-9]+)([hms])", text)}
    return timedelta(hours=units.get("h", 0), minutes=units.get("m", 0), seconds=units.get("s", 0))


def deletion_policy(spec: TenantSpec) -> DeletionPolicy:
    return spec.deletion_policy or DeletionPolicy.RETAIN


def deletion_protection(spec: TenantSpec) -> DeletionProtection:
    return spec.deletion_protection or DeletionProtection.ENABLED


def drift_policy(spec: TenantSpec) -> DriftPolicy:
    return spec.drift_policy or DriftPolicy.REPAIR


def migrations(spec: TenantSpec) -> TenantMigrations:
    """Return the wave, None for what the run chooses, and whether the tenant is held."""
    given = spec.migrations or TenantMigrations()
    return TenantMigrations(wave=given.wave, hold=bool(given.hold))


def namespace(given: TenantNamespace, tenant: str) -> EffectiveNamespace:
    """Say what a Tenant's namespace is; without the whole part there is none."""
    return EffectiveNamespace(
        name=given.name or tenant,
        network_policy=given.network_policy or NetworkPolicyMode.DEFAULT_DENY,
        pod_security=given.pod_security or PodSecurity.RESTRICTED,
    )


def effective(spec: TenantSpec, tenant: str) -> TenantEffective:
    """All of the above in the form of the status."""
    return TenantEffective(
        connection_limit=connection_limit(spec),
        settings=settings(spec),
        read_only_role=read_only_role(spec),
        extensions=extensions(spec),
        adoption_policy=adoption_policy(spec),
        migrations=migrations(spec),
        lifecycle=lifecycle(spec),
        rotation=effective_rotation(spec),
        deletion_policy=deletion_policy(spec),
        deletion_protection=deletion_protection(spec),
        drift_policy=drift_policy(spec),
        namespace=namespace(spec.namespace, tenant) if spec.namespace else None,
        backup=effective_backup(spec),
    )


def port(spec: DatabaseServerSpec) -> int:
    return POSTGRES_PORT if spec.port is None else spec.port


def endpoint_port(endpoint: Endpoint | Pooler) -> int:
    return POSTGRES_PORT if endpoint.port is None else endpoint.port


def pooler_mode(pooler: Pooler) -> PoolerMode:
    return pooler.mode or PoolerMode.TRANSACTION


def tls_mode(spec: DatabaseServerSpec) -> TlsMode:
    return (spec.tls and spec.tls.mode) or TlsMode.VERIFY_FULL


def ca_key(spec: DatabaseServerSpec) -> str:
    reference = spec.tls.ca_secret_ref if spec.tls else None
    return (reference and reference.key) or CA_KEY


def effective_backup(spec: TenantSpec) -> EffectiveBackup | None:
    """Say what is absent of a bucket; None without one."""
    bucket = spec.backup.destination.s3 if spec.backup else None
    return EffectiveBackup(region=bucket_region(bucket)) if bucket else None


def bucket_region(bucket: BackupBucket) -> str:
    return bucket.region or BUCKET_REGION


def bucket_ca_key(bucket: BackupBucket) -> str:
    return (bucket.ca_secret_ref and bucket.ca_secret_ref.key) or CA_KEY


def is_default(spec: DatabaseServerSpec) -> bool:
    return bool(spec.default)


def operator_connections(spec: DatabaseServerSpec) -> int:
    given = spec.limits.operator_connections if spec.limits else None
    return OPERATOR_CONNECTIONS if given is None else given


def replicas(spec: ServiceDeploymentSpec) -> int:
    return REPLICAS if spec.replicas is None else spec.replicas


def drain_seconds(spec: ServiceDeploymentSpec) -> int:
    given = spec.traffic.drain_seconds if spec.traffic else None
    return DRAIN_SECONDS if given is None else given


def strategy(spec: ServiceDeploymentSpec) -> StrategyType:
    return spec.strategy.type if spec.strategy else StrategyType.ROLLING


def progress_deadline_seconds(spec: ServiceDeploymentSpec) -> int:
    given = spec.progress_deadline_seconds
    return PROGRESS_DEADLINE_SECONDS if given is None else given


def revision_history_limit(spec: ServiceDeploymentSpec) -> int:
    return REVISION_HISTORY_LIMIT if spec.revision_history_limit is None else spec.revision_history_limit


def target_port(spec: ServiceDeploymentSpec) -> int:
    return spec.service.port if spec.service.target_port is None else spec.service.target_port


def path_prefix(spec: ServiceDeploymentSpec) -> str:
    given = spec.traffic.gateway.path_prefix if spec.traffic and spec.traffic.gateway else None
    return given or PATH_PREFIX


def gateway_namespace(spec: ServiceDeploymentSpec, namespace: str) -> str:
    """Return the namespace that the gateway is in: the own one unless another is named."""
    given = spec.traffic.gateway.namespace if spec.traffic and spec.traffic.gateway else None
    return given or namespace


def waves(spec: MigrationRunSpec) -> tuple[MigrationWave, ...]:
    """Return the waves with the one that takes the rest, which is last."""
    given = spec.waves or ()
    if given and given[-1].selector is None and given[-1].percent is None:
        return given
    return (*given, MigrationWave())


def max_parallel(wave: MigrationWave) -> int:
    return MIGRATION_MAX_PARALLEL if wave.max_parallel is None else wave.max_parallel


def failure_budget(spec: MigrationRunSpec) -> int:
    return spec.failure_budget or 0


def is_dry_run(spec: MigrationRunSpec) -> bool:
    return bool(spec.dry_run)


def migration_lock_timeout(spec: MigrationRunSpec) -> str:
    return spec.lock_timeout or MIGRATION_LOCK_TIMEOUT
