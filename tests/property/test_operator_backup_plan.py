"""With BackupThenDelete nothing is dropped that is not, as it is, in a verified backup, whatever happens and dies."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantry_crds.reasons import Reason
from tenantry_operator.model.backup import (
    DesiredBackup,
    JobPod,
    JobState,
    RegistryOrder,
    ServerSecrets,
    VolumeDestination,
)
from tenantry_operator.model.names import service_login
from tenantry_operator.model.tenant import Deletion, Leaving, MarkerState, Membership, RowState
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.backup_manifests import job_name
from tenantry_operator.plan.database_actions import DropDatabase
from tenantry_operator.plan.pool_actions import LeavePool
from tenantry_operator.plan.tenant import Plan, plan_tenant
from tenantry_operator.plan.tenant_backup import RETRY_AFTER
from tenantry_testing.pool_model import pooled_model
from tenantry_testing.tenant_damages import NAMES, make_desired, make_desired_apart
from tenantry_testing.tenant_model import TenantModel, in_steps
from tenantry_testing.tenant_playing import settle

MODES: dict[str, Callable[[], TenantModel]] = {
    "Schema": lambda: TenantModel(make_desired()),
    "Database": lambda: TenantModel(make_desired_apart()),
    "Pooled": pooled_model,
}

BACKUP = DesiredBackup(
    job=job_name("backup", "acme", "uid-1"),
    namespace="tenantry-system",
    destination=VolumeDestination("backups"),
    pod=JobPod(image="tenantry.example/operator:1"),
    secrets=ServerSecrets("primary-operator"),
    registry=RegistryOrder({}, ServerSecrets("primary-operator")),
)


@dataclass
class Departure:
    """A Tenant on its way out, the rows that it has, and what of them each Job has verified."""

    model: TenantModel
    rows: int = 0
    verified: dict[str, int] = field(default_factory=dict)
    dropped: int = 0

    def plan(self) -> Plan:
        return plan_tenant(self.model.desired, self.model.observe())

    def run(self, steps: int = 1000) -> Plan:
        """Make a pass that dies after some steps."""
        plan = self.plan()
        for step in in_steps(plan.actions)[:steps]:
            for action in step:
                self.check(action)
                self.model.play(action)
        return plan

    def check(self, action: do.TenantAction) -> None:
        """See that what is dropped is allowed to be, and that no backup is made of what is left."""
        marker, job = self.model.catalogue.marker, self.model.backup
        begun = marker is not None and marker.state is MarkerState.DROPPING
        if isinstance(action, do.BeginDrop):
            assert job is not None
            assert action.marker.backup == job.destination == self.destination
            assert self.verified.get(job.uid) == self.rows
        elif isinstance(action, do.DropData | DropDatabase | LeavePool):
            assert begun
            self.dropped += isinstance(action, do.DropData)
        elif isinstance(action, do.StartBackup):
            assert not begun

    @property
    def destination(self) -> str:
        deletion = self.model.desired.deletion
        assert deletion is not None
        assert deletion.backup is not None
        assert deletion.backup.destination is not None
        return deletion.backup.destination.told

    def job(self, state: JobState, *, ended_for: timedelta = timedelta()) -> None:
        job = self.model.backup
        if job is not None and job.state is JobState.RUNNING:
            said = "no space left on device" if state is JobState.FAILED else ""
            self.model.backup = replace(job, state=state, said=said, ended_for=ended_for)
            if state is JobState.VERIFIED:
                self.verified[job.uid] = self.rows

    def reopen(self) -> None:
        if NAMES.app in self.model.catalogue.roles:
            self.model.alter_role(NAMES.app, login=True)
            self.rows += 1
        entry = self.model.catalogue.entry
        if entry is not None:
            self.model.catalogue = replace(self.model.catalogue, entry=replace(entry, open=True))
            self.rows += 1

    def serve(self) -> None:
        """Let a hand give a service its way in again."""
        role = NAMES.service_role("accounts")
        if role in self.model.catalogue.roles:
            given = self.model.catalogue.memberships | {Membership(role, service_login("accounts"))}
            self.model.catalogue = replace(self.model.catalogue, memberships=given)
            self.rows += 1

    def lose(self) -> None:
        self.model.backup = None

    def age(self) -> None:
        if self.model.backup is not None:
            self.model.backup = replace(self.model.backup, ended_for=RETRY_AFTER)

    def move(self) -> None:
        deletion = self.model.desired.deletion
        assert deletion is not None
        elsewhere = replace(BACKUP, destination=VolumeDestination(f"backups-{len(self.verified)}"))
        self.model.desired = replace(self.model.desired, deletion=replace(deletion, backup=elsewhere))

    def happen(self, what: str | int) -> None:
        happens = {
            "verified": lambda: self.job(JobState.VERIFIED),
            "failed": lambda: self.job(JobState.FAILED),
            "reopen": self.reopen,
            "serve": self.serve,
            "lose": self.lose,
            "age": self.age,
            "move": self.move,
        }
        if isinstance(what, int):
            self.run(what)
        else:
            happens[what]()


def leaving(mode: str = "Schema", **changes: object) -> Departure:
    model = MODES[mode]()
    settle(model, rounds=5, is_over=lambda plan: plan.is_empty and plan.again is None)
    backup = replace(BACKUP, **changes)  # type: ignore[arg-type]
    deletion = Deletion(Leaving.DELETE, protected=False, backup=backup)
    model.desired = replace(model.desired, deletion=deletion)
    return Departure(model)


happenings = st.lists(
    st.one_of(
        st.integers(0, 9), st.sampled_from(["verified", "failed", "reopen", "serve", "lose", "age", "move", "verified"])
    ),
    max_size=25,
)


@given(st.sampled_from(sorted(MODES)), happenings)
@example("Schema", [9, 9, "verified", "reopen"])
@example("Schema", [9, 9, "verified", "serve"])
@example("Schema", [9, 9, "verified", "reopen", 1])
@example("Pooled", [9, 9, "verified", "reopen", 1])
@example("Schema", [9, 9, "verified", "move"])
@example("Schema", [9, 9, "verified", 1, "lose"])
@example("Pooled", [9, 9, "verified", 4, "lose"])
@example("Database", [9, 9, "verified", 4, "move"])
def test_what_is_dropped_is_in_a_verified_backup(mode: str, events: list[str | int]) -> None:
    gone = leaving(mode)
    for event in events:
        gone.happen(event)
    for _ in range(6):
        plan = gone.run()
        assert plan.refusal is None
        gone.job(JobState.VERIFIED)
        gone.age()
    assert gone.plan().is_empty
    assert gone.plan().waits_for is None
    assert gone.dropped == 1
    assert gone.model.catalogue.schemas == {}
    assert gone.model.backup is None
    assert gone.model.row is not None
    assert gone.model.row.state is RowState.DELETED


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("what", ["lose", "move"])
def test_once_the_drop_has_begun_no_backup_is_made_of_the_rest(mode: str, what: str) -> None:
    gone = leaving(mode)
    gone.run()
    gone.run()
    gone.job(JobState.VERIFIED)
    kinds = [[type(action) for action in step] for step in in_steps(gone.plan().actions)]
    gone.run(kinds.index([do.BeginDrop]) + 1)
    gone.happen(what)
    plan = gone.run()
    assert plan.waits_for is None
    assert do.StartBackup not in [type(action) for action in plan.actions]
    assert (gone.dropped, gone.model.catalogue.roles) == (1, {})


def test_of_what_was_half_dropped_without_a_backup_none_is_made() -> None:
    gone = leaving()
    gone.model.desired = replace(gone.model.desired, deletion=Deletion(Leaving.DELETE, protected=False))
    for step in in_steps(gone.plan().actions):
        gone.model.play_all(step)
        if any(isinstance(action, do.BeginDrop) for action in step):
            break
    gone.model.desired = replace(gone.model.desired, deletion=Deletion(Leaving.DELETE, protected=False, backup=BACKUP))
    plan = gone.plan()
    assert plan.actions == ()
    assert plan.waits_for is not None
    assert (plan.waits_for.reason, plan.waits_for.lasting) == (Reason.BACKUP_FAILED, True)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_what_was_half_dropped_is_not_kept_by_a_change_of_mind(mode: str) -> None:
    gone = leaving(mode)
    gone.model.desired = replace(gone.model.desired, deletion=Deletion(Leaving.DELETE, protected=False))
    whole = gone.plan().actions
    begun = next(number for number, one in enumerate(whole) if isinstance(one, do.BeginDrop))
    for steps in range(begun + 1, len(whole)):
        half = leaving(mode)
        half.model.desired = gone.model.desired
        half.model.play_all(whole[:steps])
        half.model.desired = replace(gone.model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
        if half.model.catalogue.marker is None:
            break
        plan = half.plan()
        assert plan.finishes_drop
        half.model.play_all(plan.actions)
        assert half.model.catalogue.roles == {}
        assert half.model.row is not None
        assert half.model.row.state is RowState.DELETED


@pytest.mark.parametrize("mode", sorted(MODES))
def test_access_is_taken_before_the_job_is_made(mode: str) -> None:
    gone = leaving(mode)
    first = gone.run()
    assert not any(isinstance(action, do.StartBackup) for action in first.actions)
    assert gone.model.live_logins() == set()
    assert gone.model.row is not None
    assert gone.model.row.state is RowState.ARCHIVED
    assert [type(action) for action in gone.run().actions] == [do.StartBackup]
    waits = gone.plan()
    assert waits.actions == ()
    assert waits.waits_for is not None
    assert waits.waits_for.reason is Reason.BACKING_UP
    assert "volume://backups" in waits.waits_for.message


def test_a_failed_job_is_shown_and_after_a_while_made_anew() -> None:
    gone = leaving()
    gone.run()
    gone.run()
    gone.job(JobState.FAILED)
    waits = gone.plan().waits_for
    assert gone.plan().actions == ()
    assert waits is not None
    assert (waits.reason, waits.lasting) == (Reason.BACKUP_FAILED, False)
    assert "no space left on device" in waits.message
    gone.age()
    assert [type(action) for action in gone.run().actions] == [do.EndBackup]
    assert [type(action) for action in gone.run().actions] == [do.StartBackup]


def test_a_job_of_somebody_else_is_left_alone() -> None:
    gone = leaving()
    gone.run()
    gone.run()
    assert gone.model.backup is not None
    gone.model.backup = replace(gone.model.backup, ours=False, state=JobState.VERIFIED)
    plan = gone.plan()
    assert plan.actions == ()
    assert plan.waits_for is not None
    assert (plan.waits_for.reason, plan.waits_for.lasting) == (Reason.NOT_OURS, True)


@pytest.mark.parametrize("changes", [{"destination": None}, {"pod": JobPod()}])
def test_without_a_destination_or_an_image_nothing_is_taken_nor_dropped(changes: dict[str, object]) -> None:
    gone = leaving(**changes)
    plan = gone.run()
    assert plan.actions == ()
    assert plan.waits_for is not None
    assert (plan.waits_for.reason, plan.waits_for.lasting) == (Reason.BACKUP_FAILED, True)
    assert gone.model.catalogue.schemas != {}
    assert gone.model.lets_in()


def test_another_policy_ends_the_job() -> None:
    gone = leaving()
    gone.run()
    gone.run()
    gone.model.desired = replace(gone.model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    gone.run()
    assert gone.model.backup is None
    assert set(gone.model.catalogue.schemas) == set(NAMES.schemas)
