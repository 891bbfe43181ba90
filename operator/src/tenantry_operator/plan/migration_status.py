"""The status of a MigrationRun."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tenantry_crds import ConditionType, MigrationFailure, MigrationRun, MigrationRunPhase, MigrationRunStatus, absent
from tenantry_crds.migrationrun import FAILURES_SHOWN
from tenantry_crds.reasons import Reason
from tenantry_operator.plan.migration import Progress
from tenantry_operator.plan.status import Problem, Said, conditions, overall

MESSAGE_SHOWN = 500
ENDED = (MigrationRunPhase.SUCCEEDED, MigrationRunPhase.FAILED, MigrationRunPhase.PLANNED)


@dataclass(frozen=True)
class RunVerdict:
    """What a pass came to. Without progress the last word on it stays."""

    phase: MigrationRunPhase
    progress: Progress | None = None
    plan_hash: str | None = None
    problem: Problem | None = None
    waits_for: str | None = None
    """The run that goes first."""


def ended_before(run: MigrationRun, ended: str, progress: Progress, *, digest: str | None) -> RunVerdict:
    """Say again how a run ended that was not told, or whose status was removed.

    What was told at the end stays: the tenants go on. Before that it was the word of a run under way, of which only the
    failures are better than a new count, for that one knows none.
    """
    phase = next((one for one in ENDED if one.value == ended), MigrationRunPhase.FAILED)
    failed = phase is MigrationRunPhase.FAILED
    told_last = run.status.done is not None and (failed or run.status.phase in ENDED)
    problem = budget_exceeded(run, progress) if failed else None
    return RunVerdict(phase, None if told_last else progress, digest, problem)


def run_status(run: MigrationRun, verdict: RunVerdict, *, now: datetime) -> MigrationRunStatus:
    """Say what is; of what the pass did not learn, the last word stays."""
    before, generation = run.status, run.metadata.generation
    said = conditions(_said(run, verdict), before.conditions, generation=generation, now=now)
    changes: dict[str, object] = {"observed_generation": generation, "phase": verdict.phase, "conditions": said}
    if verdict.plan_hash is not None:
        changes["plan_hash"] = verdict.plan_hash
    if verdict.progress is not None:
        changes |= _counted(verdict.progress)
    return before.model_copy(update=changes)


def _counted(progress: Progress) -> dict[str, object]:
    named = sorted(progress.failures.items())[:FAILURES_SHOWN]
    return {
        "wave": progress.wave,
        "done": progress.done,
        "failed": progress.failed,
        "held": progress.held,
        "total": progress.total,
        "failures": tuple(MigrationFailure(tenant=name, message=text[:MESSAGE_SHOWN]) for name, text in named),
    }


def _said(run: MigrationRun, verdict: RunVerdict) -> Iterator[Said]:
    progress = verdict.progress or Progress()
    if verdict.problem is not None:
        yield from overall(verdict.problem, ready=verdict.problem.reason)
    elif verdict.waits_for is not None:
        said = f"MigrationRun {verdict.waits_for} is older and not at its end; one goes at a time"
        yield from _under_way(Reason.WAITING_FOR_RUN, said)
    elif verdict.phase is MigrationRunPhase.RUNNING:
        said = f"wave {progress.wave} of {len(absent.waves(run.spec))}: {told(progress)}"
        yield from _under_way(Reason.MIGRATING, said)
    elif verdict.phase is MigrationRunPhase.PLANNED:
        yield from overall(None, ready=Reason.PLANNED, message=planned(progress))
    else:
        said = f"{run.spec.to} is released; {told(progress)}"
        yield from overall(None, ready=Reason.MIGRATED, message=said)


def told(progress: Progress) -> str:
    """Say the counts in words."""
    said = f"{progress.done} of {progress.total} tenants are done, {progress.failed} failed"
    return f"{said}, {progress.held} are held" if progress.held else said


def planned(progress: Progress) -> str:
    """Say who would be moved in which wave."""
    waves = ", ".join(f"{count} in wave {number}" for number, count in enumerate(progress.per_wave, start=1))
    return (
        f"{progress.waiting} of {progress.total} tenants would be moved; {progress.done} are there already, "
        f"{progress.held} are held; by waves, with those that are there: {waves}"
    )


def budget_exceeded(run: MigrationRun, progress: Progress) -> Problem:
    first = next(iter(sorted(progress.failures.items())), ("", ""))
    said = (
        f"{told(progress)}, and {absent.failure_budget(run.spec)} may fail. {first[0]}: {first[1]}"[:MESSAGE_SHOWN]
        + ". Nothing was released"
    )
    return Problem(Reason.FAILURE_BUDGET_EXCEEDED, said, lasting=True)


def _under_way(reason: Reason, message: str) -> tuple[Said, Said, Said]:
    return (
        Said(ConditionType.READY, "False", reason, message),
        Said(ConditionType.RECONCILING, "True", reason, message),
        Said(ConditionType.STALLED, "False", Reason.RECONCILED),
    )
