"""What a MigrationRun does next, given what every schema says of itself. No pass relies on what the last one knew."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tenantry_crds.reasons import Reason
from tenantry_operator.model.migration import DesiredRun, Member, ObservedFleet, Wave

BUCKETS = 10000
NAMED = 5


@dataclass(frozen=True)
class Progress:
    """How far a run is. `done`, `failed`, `held` and `waiting` are all of `total`."""

    wave: int = 0
    """The first with somebody left to move; when nobody is, the last one."""
    done: int = 0
    failed: int = 0
    held: int = 0
    waiting: int = 0
    per_wave: tuple[int, ...] = ()
    """Tenants of each wave that were, or are, to be moved."""
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.done + self.failed + self.held + self.waiting


@dataclass(frozen=True)
class RefuseRun:
    """The run may not go on now. Somebody has to act; it goes on by itself once he did."""

    reason: Reason
    message: str
    progress: Progress = Progress()


@dataclass(frozen=True)
class MoveTenants:
    """Move these, so many at a time. They are of one wave."""

    progress: Progress
    members: tuple[Member, ...]
    max_parallel: int


@dataclass(frozen=True)
class ReleaseRevision:
    """Make `to` the revision at which new Tenants are made."""

    progress: Progress
    before: str
    to: str


@dataclass(frozen=True)
class FinishRun:
    """All who can be are at the revision, and it is released."""

    progress: Progress


@dataclass(frozen=True)
class StopRun:
    """More failed than the budget allows."""

    progress: Progress


@dataclass(frozen=True)
class ShowPlan:
    """A dry run ends with what it counted."""

    progress: Progress


RunPlan = RefuseRun | MoveTenants | ReleaseRevision | FinishRun | StopRun | ShowPlan


def plan_run(desired: DesiredRun, fleet: ObservedFleet) -> RunPlan:
    """Decide the next step; doing it, and planning again, comes to an end."""
    refusal = _refused(desired, fleet)
    if refusal is not None:
        return refusal
    progress = progress_of(desired, fleet)
    if desired.dry_run:
        return ShowPlan(progress)
    if progress.failed > desired.failure_budget:
        return StopRun(progress)
    if progress.waiting:
        wave = desired.waves[progress.wave - 1]
        assigned = assign(desired.waves, fleet.members)
        members = tuple(one for one in _waiting(desired, fleet) if assigned[one.name] == progress.wave)
        return MoveTenants(progress, members, wave.max_parallel)
    if fleet.line.position(desired.to) > fleet.line.position(fleet.released):
        return ReleaseRevision(progress, fleet.released, desired.to)
    return FinishRun(progress)


def progress_of(desired: DesiredRun, fleet: ObservedFleet) -> Progress:
    """Count; a tenant that reached the revision is done whatever else is said of it."""
    done = [one for one in fleet.members if fleet.line.reaches(one.version, desired.to)]
    left = [one for one in fleet.members if not fleet.line.reaches(one.version, desired.to)]
    failures = {one.name: fleet.failures[one.name] for one in left if not one.hold and one.name in fleet.failures}
    waiting = _waiting(desired, fleet)
    assigned = assign(desired.waves, fleet.members)
    counts = [0] * len(desired.waves)
    for one in (*done, *(one for one in left if not one.hold)):
        counts[assigned[one.name] - 1] += 1
    return Progress(
        wave=min((assigned[one.name] for one in waiting), default=len(desired.waves)),
        done=len(done),
        failed=len(failures),
        held=sum(one.hold for one in left),
        waiting=len(waiting),
        per_wave=tuple(counts),
        failures=failures,
    )


def assign(waves: tuple[Wave, ...], members: Iterable[Member]) -> dict[str, int]:
    """Return each tenant's wave, the first is 1; the last wave takes whom no other one took.

    A tenant's own number wins, then the first selector that fits, then the percents of the rest, one after another.
    """
    return {one.name: _wave_of(waves, one) for one in members}


def bucket(identity: str) -> int:
    """Hash a tenant's id to one of 10,000 places, always the same."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") % BUCKETS


def digest_of(statements: Iterable[str]) -> str:
    """Return what tells one text of SQL from another."""
    digest = hashlib.sha256()
    for statement in statements:
        digest.update(statement.encode() + b"\0")
    return digest.hexdigest()[:16]


def _wave_of(waves: tuple[Wave, ...], member: Member) -> int:
    if member.wave is not None:
        return min(member.wave, len(waves))
    for number, wave in enumerate(waves, start=1):
        if wave.labels is not None and wave.labels <= member.labels:
            return number
    place, end = bucket(member.id), 0
    for number, wave in enumerate(waves, start=1):
        end += (wave.percent or 0) * BUCKETS // 100
        if place < end:
            return number
    return len(waves)


def _waiting(desired: DesiredRun, fleet: ObservedFleet) -> tuple[Member, ...]:
    return tuple(
        one
        for one in fleet.members
        if not fleet.line.reaches(one.version, desired.to) and not one.hold and one.name not in fleet.failures
    )


def _refused(desired: DesiredRun, fleet: ObservedFleet) -> RefuseRun | None:
    line = fleet.line
    progress = progress_of(desired, fleet)
    if desired.to not in line.phases:
        said = f"this version of the operator knows no revision {desired.to}; its newest is {line.revisions[-1]}"
        return RefuseRun(Reason.INVALID_SPEC, said, progress)
    if fleet.released not in line.phases:
        said = f"{fleet.released} is released, which this version of the operator does not know: it is older than that"
        return RefuseRun(Reason.INVALID_SPEC, said, progress)
    ahead = line.between(fleet.released, desired.to)
    wrong = [one for one in dict.fromkeys((*ahead, desired.to)) if line.phases[one] != desired.phase]
    if wrong:
        said = (
            f"{wrong[0]} is of phase {line.phases[wrong[0]]}, the run is of phase {desired.phase}: expand and "
            "contract are moved by runs of their own"
        )
        return RefuseRun(Reason.INVALID_SPEC, said, progress)
    if desired.phase == "contract" and ahead:
        return _needed_by(desired, fleet, progress)
    return None


def _needed_by(desired: DesiredRun, fleet: ObservedFleet, progress: Progress) -> RefuseRun | None:
    """Say who needs what the run would take away. No ServiceDeployment says yet which revision it needs."""
    line = fleet.line
    behind = [one.name for one in fleet.members if not line.reaches(one.version, fleet.released)]
    if behind:
        said = f"{_named(behind)} behind {fleet.released}, which is released: they need what {desired.to} takes away"
        return RefuseRun(Reason.TENANTS_BEHIND, said, progress)
    held = [one.name for one in fleet.members if one.hold and not line.reaches(one.version, desired.to)]
    if held:
        said = f"{_named(held)} held by spec.migrations.hold, and a run of phase contract leaves nobody out"
        return RefuseRun(Reason.TENANTS_HELD, said, progress)
    return None


def _named(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"
