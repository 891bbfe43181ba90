"""The backup in a Tenant's pass: what is asked for, which Job there is, whose business a Job's change is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tenantry_crds import DatabaseServer, DeletionPolicy, Tenant, absent
from tenantry_crds import names as api
from tenantry_crds.tenantbackup import BackupDestination
from tenantry_operator.clients.kube import JOBS, Kube, RawObject
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.backup import (
    BucketDestination,
    DesiredBackup,
    Destination,
    JobPod,
    JobState,
    ObservedBackup,
    RegistryOrder,
    ServerSecrets,
    VolumeDestination,
)
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant
from tenantry_operator.observe.backup import observe_backup
from tenantry_operator.plan.actions import BackupAction, DropData, EndBackup, TenantAction
from tenantry_operator.plan.backup_manifests import job_name
from tenantry_operator.settings import OperatorSettings

VERB = "backup"


def desired_backup(
    tenant: Tenant, server: DatabaseServer, registry: DatabaseServer, settings: OperatorSettings
) -> DesiredBackup | None:
    """Say what is to be made before the Tenant's data is dropped; None when its policy asks for nothing."""
    if absent.deletion_policy(tenant.spec) is not DeletionPolicy.BACKUP_THEN_DELETE:
        return None
    given = tenant.spec.backup
    return DesiredBackup(
        job=job_name(VERB, tenant.metadata.name, tenant.metadata.uid),
        namespace=settings.namespace,
        destination=_destination(given.destination) if given else None,
        pod=settings.job_pod or JobPod(),
        secrets=server_secrets(server),
        registry=RegistryOrder(server_address(registry, settings.registry_database), server_secrets(registry)),
        spec=tenant.spec.model_dump(by_alias=True, exclude_none=True, mode="json"),
    )


def _destination(given: BackupDestination) -> Destination | None:
    if given.volume is not None:
        return VolumeDestination(given.volume.claim_name)
    bucket = given.s3
    if bucket is None:
        return None
    return BucketDestination(
        bucket=bucket.bucket,
        prefix=bucket.prefix or "",
        endpoint=bucket.endpoint,
        region=absent.bucket_region(bucket),
        credentials=bucket.credentials_secret_ref.name,
        ca=(bucket.ca_secret_ref.name, absent.bucket_ca_key(bucket)) if bucket.ca_secret_ref else None,
    )


def server_address(server: DatabaseServer, database: str) -> dict[str, Any]:
    """Say to a Job how a database of the server is reached."""
    spec = server.spec
    return {
        "name": server.metadata.name,
        "host": spec.host,
        "port": absent.port(spec),
        "database": database,
        "sslmode": absent.tls_mode(spec).value,
    }


def server_secrets(server: DatabaseServer) -> ServerSecrets:
    """Name the Secrets by which one logs in to the server."""
    reference = server.spec.tls.ca_secret_ref if server.spec.tls else None
    ca = (reference.name, absent.ca_key(server.spec)) if reference else None
    return ServerSecrets(server.spec.credentials_secret_ref.name, ca)


async def look_at_backup(
    kube: Kube, cache: ObjectCache, tenant: Tenant, *, namespace: str, desired: DesiredTenant, now: datetime
) -> ObservedBackup | None:
    """Return the Job of a Tenant that leaves. Raises ApiError.

    Without a backup in its policy only a Job that the watch knows is looked at: one is left when the policy changed.
    """
    if desired.deletion is None:
        return None
    name = job_name(VERB, tenant.metadata.name, tenant.metadata.uid)
    if desired.deletion.backup is None and cache.get(Key(JOBS.kind, name, namespace)) is None:
        return None
    return await observe_backup(kube, name, namespace, owner_uid=tenant.metadata.uid, now=now)


async def apply_on_backup(kube: Kube, action: BackupAction) -> None:
    """Make the Job, or remove that very one. Raises ApiError."""
    if isinstance(action, EndBackup):
        job = action.observed
        await kube.delete(JOBS, job.name, namespace=job.namespace, uid=job.uid)
    else:
        await kube.create(JOBS, dict(action.body))


def backed_up(observed: ObservedTenant, done: Sequence[TenantAction]) -> str | None:
    """Say where the backup is of what a pass dropped; None when it dropped nothing, or without one."""
    job, marker = observed.backup, observed.catalogue.marker
    if not any(isinstance(action, DropData) for action in done):
        return None
    if job is not None and job.state is JobState.VERIFIED:
        return job.said or f"Job {job.name} made a verified backup in {job.destination}"
    return f"the backup is {marker.backup}" if marker is not None and marker.backup else None


def tenant_of_job(job: RawObject) -> Sequence[Key]:
    """Name the Tenant that a Job was made for."""
    owner = (job["metadata"].get("labels") or {}).get(api.LABEL_TENANT)
    return (Key("Tenant", owner),) if owner else ()
