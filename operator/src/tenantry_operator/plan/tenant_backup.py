"""What a Tenant that is deleted with BackupThenDelete waits for: nothing is dropped before the backup is verified.

Access is taken first, as from an archived tenant: what is dumped is then what is dropped. Whatever gives access again
before the drop has begun makes the backup worthless, and another one is made. Once it has begun, which the marker
remembers, none is: it would hold what is left, and be the newest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tenantry_crds.reasons import Reason
from tenantry_operator.model.backup import DesiredBackup, JobState, ObservedBackup
from tenantry_operator.model.tenant import DesiredTenant, MarkerState, ObservedTenant, RowState
from tenantry_operator.plan import backup_manifests as manifests
from tenantry_operator.plan.actions import EndBackup, RecordTenant, StartBackup, TenantAction
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant_deletion import withdrawal

BACKS_UP: Final = "the Tenant is being deleted, and is backed up before"

RETRY_AFTER: Final = timedelta(minutes=5)
"""How long a failed Job is left for people to read. Its own pods were tried again before, at growing intervals."""


TOO_LATE: Final = (
    "the drop had begun without a backup, so that none can be made of the whole; "
    "deletionPolicy Delete ends it, Retain keeps what is left"
)


@dataclass(frozen=True)
class BackupStep:
    """What is done now, and why the Tenant has to wait."""

    actions: tuple[TenantAction, ...]
    problem: Problem


def backup_step(desired: DesiredTenant, mine: ObservedTenant) -> BackupStep | None:
    """Say what comes before the drop; None when nothing does: none is asked for, it is verified, or nothing is left.

    `mine` is the part of the observed that is this very Tenant's.
    """
    backup = desired.deletion.backup if desired.deletion else None
    if backup is None or not _is_anything_left(desired, mine):
        return None
    marker, job = mine.catalogue.marker, mine.backup
    if marker is not None and marker.state is MarkerState.DROPPING:
        return None if marker.backup else BackupStep((), Problem(Reason.BACKUP_FAILED, TOO_LATE, lasting=True))
    if job is not None and not job.ours:
        said = f"Job {_named(job)} exists and was not made for this Tenant; remove it"
        return BackupStep((), Problem(Reason.NOT_OURS, said, lasting=True))
    if lacking := _lacking(backup):
        # Said before anything is taken: it is for a person to mend.
        return BackupStep((), Problem(Reason.BACKUP_FAILED, f"no backup can be made: {lacking}", lasting=True))
    if access := tuple(_taking(desired, mine)):
        said = "access is taken before the backup is made"
        # First of all: a pass that dies before it has closed everything must not find the old Job's word.
        return BackupStep((*_ended(job, "access was given meanwhile"), *access), Problem(Reason.BACKING_UP, said))
    return _by_job(desired, mine, backup, job)


def _is_anything_left(desired: DesiredTenant, mine: ObservedTenant) -> bool:
    """Say whether there are schemas to dump; of a pooled tenant, whether there may be rows."""
    if desired.layout.is_pooled:
        return mine.catalogue.version is not None and bool(mine.catalogue.roles)
    return bool(schemas_left(desired, mine))


def allowed_by(desired: DesiredTenant, mine: ObservedTenant) -> str | None:
    """Name the backup that allows the drop: by the last word of its Job, or else where it went."""
    job = mine.backup
    if desired.deletion is None or desired.deletion.backup is None or job is None or job.state is not JobState.VERIFIED:
        return None
    return job.said.partition(": ")[0] if job.said.startswith(f"{job.destination}/") else job.destination


def backup_ended(mine: ObservedTenant) -> tuple[TenantAction, ...]:
    """Remove the Job when it has served."""
    job = mine.backup
    return tuple(_ended(job, "the Tenant is being deleted")) if job is not None and job.ours else ()


def schemas_left(desired: DesiredTenant, mine: ObservedTenant) -> tuple[str, ...]:
    """Name the schemas that there are to back up."""
    return tuple(schema for schema in desired.layout.schemas if schema in mine.catalogue.schemas)


def _taking(desired: DesiredTenant, mine: ObservedTenant) -> Iterator[TenantAction]:
    row, begun = mine.row, (RowState.ARCHIVED, RowState.RELEASED)
    if row is not None and row.state not in begun:
        yield RecordTenant(id=row.id, state=RowState.ARCHIVED, version=row.version, reason=BACKS_UP)
    yield from withdrawal(desired, mine.catalogue)


def _lacking(backup: DesiredBackup) -> str:
    """Say what a backup lacks that only a person can give; empty when it lacks nothing."""
    if backup.destination is None:
        return "spec.backup.destination is not set"
    return "" if backup.pod.image else "TENANTRY_JOB_POD names no image"


def _by_job(
    desired: DesiredTenant, mine: ObservedTenant, backup: DesiredBackup, job: ObservedBackup | None
) -> BackupStep | None:
    destination = backup.destination
    assert destination is not None  # noqa: S101  else it is lacking, and said so
    if job is None:
        start = StartBackup(body=manifests.backup_job(desired, mine, backup, destination), reason=BACKS_UP)
        return BackupStep((start,), _under_way(f"Job {backup.namespace}/{backup.job} was made", destination.place))
    if job.destination != destination.told:
        said = f"the backup went to {job.destination} and is to go to {destination.told}"
        return BackupStep(tuple(_ended(job, said)), Problem(Reason.BACKING_UP, said))
    if job.state is JobState.VERIFIED:
        return None
    if job.state is JobState.RUNNING and not job.said:
        return BackupStep((), _under_way(f"Job {_named(job)} is at work", destination.place))
    over = job.state is JobState.FAILED and job.ended_for >= RETRY_AFTER
    said = f"Job {_named(job)}: {job.said or 'it failed'}. Nothing is dropped; it is tried again"
    return BackupStep(tuple(_ended(job, "it failed")) if over else (), Problem(Reason.BACKUP_FAILED, said))


def _under_way(said: str, place: str) -> Problem:
    return Problem(Reason.BACKING_UP, f"{said}; the backup goes to {place}, nothing is dropped before it is verified")


def _ended(job: ObservedBackup | None, reason: str) -> Iterator[EndBackup]:
    if job is not None:
        yield EndBackup(observed=job, reason=reason)


def _named(job: ObservedBackup) -> str:
    return f"{job.namespace}/{job.name}"
