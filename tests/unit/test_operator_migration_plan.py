"""What a MigrationRun does next: waves, refusals, the budget, and words for people."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tenantry_crds import MigrationRun, MigrationRunPhase, absent
from tenantry_crds.reasons import Reason
from tenantry_operator.model.migration import DesiredRun, Line, Member, ObservedFleet, Wave
from tenantry_operator.plan.migration import (
    FinishRun,
    MoveTenants,
    Progress,
    RefuseRun,
    ReleaseRevision,
    ShowPlan,
    StopRun,
    assign,
    plan_run,
)
from tenantry_operator.plan.migration_status import RunVerdict, budget_exceeded, ended_before, run_status
from tenantry_operator.plan.status import Problem
from tenantry_testing.crd_examples import example

LINE = Line({"t1": "expand", "t2": "expand", "t3": "contract", "t4": "expand"})
NOW = datetime(2026, 11, 22, tzinfo=UTC)
REST = Wave()


def member(name: str, version: str = "t1", **changes: object) -> Member:
    return replace(Member(name, f"id-{name}", "uid", "primary", "app", version), **changes)  # type: ignore[arg-type]


def fleet(*members: Member, released: str = "t1", **failures: str) -> ObservedFleet:
    return ObservedFleet(LINE, released, members, failures)


def run(to: str = "t2", phase: str = "expand", **changes: object) -> DesiredRun:
    return replace(DesiredRun(to, phase, (REST,)), **changes)  # type: ignore[arg-type]


def test_all_are_moved_in_one_wave_when_none_is_named() -> None:
    plan = plan_run(run(), fleet(member("a"), member("b")))
    assert isinstance(plan, MoveTenants)
    assert ([one.name for one in plan.members], plan.max_parallel, plan.progress.wave) == (["a", "b"], 4, 1)


def test_a_tenants_own_wave_wins_then_selectors_then_the_rest() -> None:
    canary = frozenset({("tier", "canary")})
    waves = (Wave(percent=100), Wave(labels=canary), REST)
    members = (
        member("own", wave=3, labels=canary),
        member("beyond", wave=16),
        member("chosen", labels=canary | {("x", "y")}),
        member("other", labels=frozenset({("tier", "gold")})),
    )
    assert assign(waves, members) == {"own": 3, "beyond": 3, "chosen": 2, "other": 1}


def test_a_selector_without_labels_takes_everybody() -> None:
    assert assign((Wave(labels=frozenset()), REST), (member("a"),)) == {"a": 1}


def test_a_wave_begins_when_nobody_of_the_one_before_is_left() -> None:
    waves = (Wave(labels=frozenset({("first", "yes")}), max_parallel=2), Wave(max_parallel=9))
    first, second = member("a", labels=frozenset({("first", "yes")})), member("b")
    plan = plan_run(run(waves=waves), fleet(first, second))
    assert isinstance(plan, MoveTenants)
    assert (plan.progress.wave, plan.members, plan.max_parallel) == (1, (first,), 2)
    after = plan_run(run(waves=waves, failure_budget=1), fleet(first, second, a="it broke"))
    assert isinstance(after, MoveTenants)
    assert (after.progress.wave, after.members, after.max_parallel) == (2, (second,), 9)


def test_the_last_waves_success_releases_and_then_the_run_is_over() -> None:
    there = member("a", "t2")
    released = plan_run(run(), fleet(there))
    assert isinstance(released, ReleaseRevision)
    assert (released.before, released.to) == ("t1", "t2")
    assert isinstance(plan_run(run(), fleet(there, released="t2")), FinishRun)


def test_a_fleet_of_nobody_releases_at_once() -> None:
    assert isinstance(plan_run(run(), fleet()), ReleaseRevision)


def test_a_release_is_never_taken_back() -> None:
    assert isinstance(plan_run(run(), fleet(member("a", "t4"), released="t4")), FinishRun)


def test_who_is_held_is_counted_and_does_not_keep_the_release() -> None:
    plan = plan_run(run(), fleet(member("a", "t2"), member("b", hold=True)))
    assert isinstance(plan, ReleaseRevision)
    assert (plan.progress.done, plan.progress.held, plan.progress.total) == (1, 1, 2)


@pytest.mark.parametrize(("budget", "kind"), [(0, StopRun), (1, ReleaseRevision)])
def test_one_more_than_the_budget_stops_the_run(budget: int, kind: type) -> None:
    plan = plan_run(run(failure_budget=budget), fleet(member("a", "t2"), member("b"), b="it broke"))
    assert isinstance(plan, kind)


def test_a_failure_of_one_who_arrived_after_all_is_none() -> None:
    plan = plan_run(run(), fleet(member("a", "t2"), a="the answer was lost"))
    assert isinstance(plan, ReleaseRevision)
    assert plan.progress.failed == 0


def test_a_dry_run_shows_the_waves() -> None:
    plan = plan_run(run(dry_run=True), fleet(member("a"), member("b", "t2"), member("c", hold=True)))
    assert plan == ShowPlan(Progress(wave=1, done=1, held=1, waiting=1, per_wave=(2,)))


@pytest.mark.parametrize(
    ("to", "phase", "released", "words"),
    [
        ("t9", "expand", "t1", "knows no revision t9"),
        ("t2", "expand", "t9", "t9 is released, which this version"),
        ("t2", "contract", "t1", "t2 is of phase expand"),
        ("t3", "contract", "t1", "t2 is of phase expand"),
        ("t4", "expand", "t2", "t3 is of phase contract"),
        ("t3", "expand", "t2", "t3 is of phase contract"),
    ],
)
def test_what_cannot_be_is_refused_with_a_word_on_it(to: str, phase: str, released: str, words: str) -> None:
    plan = plan_run(run(to, phase), fleet(member("a"), released=released))
    assert isinstance(plan, RefuseRun)
    assert plan.reason is Reason.INVALID_SPEC
    assert words in plan.message


def test_a_contract_run_is_refused_while_a_tenant_is_behind() -> None:
    plan = plan_run(run("t3", "contract"), fleet(member("a", "t2"), member("late", "t1"), released="t2"))
    assert isinstance(plan, RefuseRun)
    assert (plan.reason, "late is behind t2" in plan.message) == (Reason.TENANTS_BEHIND, True)


def test_a_contract_run_is_refused_while_a_tenant_is_held() -> None:
    held = [member(f"held-{number}", "t2", hold=True) for number in range(7)]
    plan = plan_run(run("t3", "contract"), fleet(*held, released="t2"))
    assert isinstance(plan, RefuseRun)
    assert (plan.reason, "and 2 more are held" in plan.message) == (Reason.TENANTS_HELD, True)


def test_one_that_is_held_where_the_contract_has_come_already_does_not_block_it() -> None:
    plan = plan_run(run("t3", "contract"), fleet(member("a", "t2"), member("b", "t3", hold=True), released="t2"))
    assert isinstance(plan, MoveTenants)


def test_a_contract_that_is_released_lets_the_stragglers_catch_up() -> None:
    plan = plan_run(run("t3", "contract"), fleet(member("adopted", "t1"), released="t3"))
    assert isinstance(plan, MoveTenants)


def status(verdict: RunVerdict) -> tuple[str, ...]:
    body = MigrationRun.model_validate(example("MigrationRun", "run"))
    conditions = run_status(body, verdict, now=NOW).conditions
    return tuple(f"{one.type}={one.status} {one.reason}" for one in conditions)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (
            RunVerdict(MigrationRunPhase.RUNNING, Progress()),
            ("Ready=False Migrating", "Reconciling=True Migrating", "Stalled=False Reconciled"),
        ),
        (
            RunVerdict(MigrationRunPhase.PENDING, waits_for="other"),
            ("Ready=False WaitingForRun", "Reconciling=True WaitingForRun", "Stalled=False Reconciled"),
        ),
        (
            RunVerdict(MigrationRunPhase.SUCCEEDED, Progress()),
            ("Ready=True Migrated", "Reconciling=False Reconciled", "Stalled=False Reconciled"),
        ),
        (
            RunVerdict(MigrationRunPhase.PENDING, problem=Problem(Reason.TENANTS_BEHIND, "", lasting=True)),
            ("Ready=False TenantsBehind", "Reconciling=False Reconciled", "Stalled=True TenantsBehind"),
        ),
        (
            RunVerdict(MigrationRunPhase.RUNNING, problem=Problem(Reason.SERVER_UNREACHABLE, "")),
            ("Ready=False ServerUnreachable", "Reconciling=True Retrying", "Stalled=False Reconciled"),
        ),
    ],
)
def test_each_state_follows_kstatus(verdict: RunVerdict, said: tuple[str, ...]) -> None:
    assert status(verdict) == said


@pytest.mark.parametrize(
    ("phase", "ended", "told_last"),
    [
        ("Running", "Succeeded", False),  # a process died between the note and the status
        ("Succeeded", "Succeeded", True),
        ("Running", "Failed", True),
        (None, "Succeeded", False),
        (None, "Failed", False),
    ],
)
def test_what_was_told_at_the_end_stays_and_what_was_told_on_the_way_does_not(
    phase: str | None, ended: str, *, told_last: bool
) -> None:
    body = example("MigrationRun", "r", to="t2", phase="expand")
    status = {} if phase is None else {"phase": phase, "done": 0}
    named = MigrationRun.model_validate({**body, "status": {"observedGeneration": 1, **status}})
    verdict = ended_before(named, ended, Progress(done=5), digest="d")
    assert (verdict.phase.value, verdict.plan_hash) == (ended, "d")
    assert verdict.progress == (None if told_last else Progress(done=5))


def test_of_many_failures_the_status_shows_the_first_twenty() -> None:
    body = MigrationRun.model_validate(example("MigrationRun", "run"))
    progress = Progress(failed=30, failures={f"t-{number:02}": "x" * 900 for number in range(30)})
    verdict = RunVerdict(MigrationRunPhase.FAILED, progress, problem=budget_exceeded(body, progress))
    shown = run_status(body, verdict, now=NOW)
    assert (shown.failed, len(shown.failures), shown.failures[0].tenant) == (30, 20, "t-00")
    assert len(shown.failures[0].message) <= 512


def test_an_absent_field_of_a_run_means() -> None:
    spec = MigrationRun.model_validate(example("MigrationRun", "run")).spec
    waves = absent.waves(spec)
    assert [(wave.selector, wave.percent, absent.max_parallel(wave)) for wave in waves] == [(None, None, 4)]
    assert (absent.failure_budget(spec), absent.is_dry_run(spec), absent.migration_lock_timeout(spec)) == (
        0,
        False,
        "3s",
    )


def test_the_wave_of_the_rest_is_added_unless_it_is_there() -> None:
    def waves(*given: object) -> int:
        body = example("MigrationRun", "run", waves=list(given))  # type: ignore[arg-type]
        return len(absent.waves(MigrationRun.model_validate(body).spec))

    assert (waves({"percent": 5}), waves({"percent": 5}, {"maxParallel": 9})) == (2, 2)
