"""However passes die and whatever people edit: one login is left in the end, and nobody is shut out before his time."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds import Lifecycle
from tenantry_operator.model.credentials import DesiredCredentials
from tenantry_operator.model.drift import DriftRule
from tenantry_operator.model.tenant import ObservedSecret
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.tenant import Plan, plan_tenant
from tenantry_operator.plan.tenant_rotation import GRACE
from tenantry_testing.tenant_damages import LOGIN, NAMES, NOW, make_desired
from tenantry_testing.tenant_model import TenantModel, in_steps

FIRST, SECOND = NAMES.logins
HOUR: Final = timedelta(hours=1)
ROUNDS: Final = 6


@dataclass
class Scene:
    """A tenant through time, and what was promised to those who use its credentials."""

    model: TenantModel = field(default_factory=lambda: TenantModel(make_desired()))
    published: str = ""
    promised: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """Login to when another one took its place, and until when it was to work."""

    @property
    def credentials(self) -> DesiredCredentials:
        return self.model.desired.credentials

    def want(self, **changes: object) -> None:
        changed = replace(self.credentials, **changes)  # type: ignore[arg-type]
        self.model.desired = replace(self.model.desired, credentials=changed)

    def later(self, by: timedelta) -> None:
        self.want(now=self.credentials.now + by)

    def move(self, lifecycle: Lifecycle) -> None:
        self.model.desired = replace(self.model.desired, lifecycle=lifecycle)

    @property
    def is_open(self) -> bool:
        return self.model.desired.lifecycle is Lifecycle.ACTIVE

    def plan(self) -> Plan:
        plan = plan_tenant(self.model.desired, self.model.observe())
        assert plan.refusal is None
        return plan

    def run(self, steps: int | None = None) -> Plan:
        """Run a pass that dies after so many steps; after each one the Secret lets in, if it did before."""
        plan = self.plan()
        let_in = self.model.lets_in()
        for step in in_steps(plan.actions)[:steps]:
            for action in step:
                self._check(action)
            self.model.play_all(step)
            assert self.model.lets_in() or not let_in or not self.is_open, step
            let_in = self.model.lets_in()
        return plan

    def settle(self) -> None:
        for _ in range(ROUNDS):
            if self.run().is_empty:
                return
        pytest.fail(f"it does not converge: {self.plan().actions}")

    def edit(self, **changes: object) -> None:
        """Change the Secret by hand."""
        secret = self.model.secret
        if secret is not None:
            changed = replace(secret, resource_version=f"{secret.resource_version}0", **changes)  # type: ignore[arg-type]
            self.model.secrets[secret.name] = changed

    def put(self, **data: str) -> None:
        secret = self.model.secret
        if secret is not None:
            self.edit(data={**secret.data, **data})

    def note(self, **changes: object) -> None:
        secret = self.model.secret
        if secret is not None:
            self.edit(rotation=replace(secret.rotation, **changes))  # type: ignore[arg-type]

    def drop(self, login: str) -> None:
        if login in self.model.catalogue.roles:
            self.model.drop_role(login)
            self.model.sessions -= {login}

    def change_password(self, login: str) -> None:
        if login in self.model.catalogue.roles:
            self.model.passwords[login] = "by hand"

    def connect(self, login: str) -> None:
        if login in self.model.live_logins():
            self.model.sessions |= {login}

    def _check(self, action: do.TenantAction) -> None:
        now, overlap = self.credentials.now, self.credentials.overlap
        if isinstance(action, do.WriteSecret) and action.login != self.published:
            self.promised[self.published] = (now, now + overlap)
            self.published = action.login
        elif isinstance(action, do.WriteSecret):
            # What is written anew promises no more than the spec does at that time, as in an emergency.
            self.promised = {
                login: (since, min(until, now + overlap)) for login, (since, until) in self.promised.items()
            }
        if isinstance(action, do.CloseLogin) and not self.is_open:
            self.promised.pop(action.role, None)
        elif isinstance(action, do.CloseLogin):
            assert action.role != self.published
            # Of a login that was never published nobody was told anything.
            if action.role in self.model.sessions and action.role in self.promised:
                since, until = self.promised[action.role]
                assert now >= min(until, since + overlap), "sessions of a valid login are ended"


def fresh() -> Scene:
    scene = Scene()
    scene.settle()
    return scene


def active(scene: Scene) -> str:
    secret = scene.model.secret
    assert secret is not None
    return secret.data["username"]


def secret_of(scene: Scene) -> ObservedSecret:
    secret = scene.model.secret
    assert secret is not None
    return secret


Happening = Callable[[Scene], object]

HAPPENINGS: dict[str, Happening] = {
    "asked": lambda scene: scene.want(rotate=str(scene.credentials.now)),
    "asked no more": lambda scene: scene.want(rotate=None),
    "a minute": lambda scene: scene.later(timedelta(minutes=1)),
    "an hour": lambda scene: scene.later(HOUR),
    "a month": lambda scene: scene.later(720 * HOUR),
    "emergency": lambda scene: scene.want(overlap=timedelta(0)),
    "longer overlap": lambda scene: scene.want(overlap=3 * HOUR),
    "a connects": lambda scene: scene.connect(FIRST),
    "b connects": lambda scene: scene.connect(SECOND),
    "all leave": lambda scene: setattr(scene.model, "sessions", frozenset()),
    "username a": lambda scene: scene.put(username=FIRST),
    "username b": lambda scene: scene.put(username=SECOND),
    "username c": lambda scene: scene.put(username="c"),
    "mark lost": lambda scene: scene.edit(applied=None),
    "password edited": lambda scene: scene.put(password="x" * 43),
    "weak password": lambda scene: scene.put(password="x"),
    "password of a changed": lambda scene: scene.change_password(FIRST),
    "password of b changed": lambda scene: scene.change_password(SECOND),
    "time lost": lambda scene: scene.note(rotated_at=None),
    "time ahead": lambda scene: scene.note(rotated_at=scene.credentials.now + 999 * HOUR),
    "expiry lost": lambda scene: scene.note(previous_expires_at=None),
    "expiry ahead": lambda scene: scene.note(previous_expires_at=scene.credentials.now + 999 * HOUR),
    "request forgotten": lambda scene: scene.note(rotated_for=None),
    "Secret lost": lambda scene: scene.model.secrets.clear(),
    "a dropped": lambda scene: scene.drop(FIRST),
    "b dropped": lambda scene: scene.drop(SECOND),
    "a locked": lambda scene: FIRST in scene.model.catalogue.roles and scene.model.alter_role(FIRST, login=False),
    "suspended": lambda scene: scene.move(Lifecycle.SUSPENDED),
    "archived": lambda scene: scene.move(Lifecycle.ARCHIVED),
    "resumed": lambda scene: scene.move(Lifecycle.ACTIVE),
    "pass": lambda scene: scene.run(),
    **{f"pass dies at {k}": lambda scene, k=k: scene.run(k) for k in range(5)},  # type: ignore[misc]
}


@given(st.lists(st.sampled_from(sorted(HAPPENINGS)), max_size=25))
def test_whatever_happens_one_login_is_left_and_nobody_is_shut_out_early(happenings: list[str]) -> None:
    scene = fresh()
    for happening in happenings:
        HAPPENINGS[happening](scene)
    scene.want(interval=timedelta(0))
    scene.move(Lifecycle.ACTIVE)
    # A rotation may wait for the end of another one, which waits for the end of its overlap.
    for _ in range(4):
        scene.settle()
        scene.later(3 * HOUR)
    scene.settle()
    assert {*NAMES.logins} & {*scene.model.catalogue.roles} == {active(scene)}
    assert scene.model.lets_in()
    rotate = scene.credentials.rotate
    assert rotate is None or secret_of(scene).rotation.rotated_for == rotate


@given(st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_a_rotation_survives_two_crashes(first: int, second: int, connected: bool) -> None:
    scene = fresh()
    before = secret_of(scene)
    scene.want(rotate="now")
    scene.run(first)
    scene.run(second)
    scene.settle()
    after = secret_of(scene)
    assert after.data["username"] == SECOND
    assert after.data["password"] != before.data["password"]
    assert scene.model.live_logins() == {FIRST, SECOND}
    if connected:
        scene.connect(FIRST)
    scene.later(HOUR)
    scene.run(first)
    scene.run(second)
    scene.settle()
    assert {*NAMES.logins} & {*scene.model.catalogue.roles} == {SECOND}


def test_an_old_login_that_nobody_uses_goes_after_the_grace_and_a_used_one_after_the_overlap() -> None:
    scene = fresh()
    scene.want(rotate="now")
    scene.connect(FIRST)
    plan = scene.run()
    assert plan.rotation is not None
    assert plan.rotation.due == NOW + GRACE
    scene.later(GRACE)
    assert scene.run().is_empty
    scene.later(HOUR - GRACE - timedelta(seconds=1))
    assert scene.run().is_empty
    scene.later(timedelta(seconds=1))
    scene.run()
    assert scene.model.ended == (FIRST,)

    scene = fresh()
    scene.want(rotate="now")
    scene.run()
    scene.later(GRACE - timedelta(seconds=1))
    assert scene.run().is_empty
    scene.later(timedelta(seconds=1))
    scene.run()
    assert scene.model.live_logins() == {SECOND}


def test_a_shorter_overlap_holds_at_once() -> None:
    scene = fresh()
    scene.want(rotate="now")
    scene.run()
    scene.connect(FIRST)
    scene.want(overlap=timedelta(0))
    scene.run()
    assert scene.model.ended == (FIRST,)
    assert scene.model.live_logins() == {SECOND}


def test_a_longer_overlap_does_not_bring_back_what_was_promised_to_end() -> None:
    scene = fresh()
    scene.want(rotate="now")
    scene.run()
    scene.connect(FIRST)
    scene.want(overlap=9 * HOUR)
    scene.later(HOUR)
    scene.run()
    assert scene.model.live_logins() == {SECOND}


def test_a_second_rotation_waits_for_the_end_of_the_first() -> None:
    scene = fresh()
    scene.want(rotate="one")
    scene.run()
    scene.connect(FIRST)
    scene.want(rotate="two")
    plan = scene.run()
    assert plan.is_empty
    assert plan.rotation is not None
    assert plan.rotation.waiting
    scene.later(HOUR)
    plan = scene.run()
    assert plan.rotation is not None
    assert plan.rotation.due == scene.credentials.now
    scene.run()
    assert active(scene) == FIRST
    assert secret_of(scene).rotation.rotated_for == "two"


def test_time_alone_rotates_and_not_before_it_is_due() -> None:
    scene = fresh()
    plan = scene.plan()
    assert plan.is_empty
    assert plan.rotation is not None
    due = plan.rotation.due
    assert due is not None
    assert NOW + 684 * HOUR <= due <= NOW + 720 * HOUR
    scene.want(now=due - timedelta(seconds=1))
    assert scene.plan().is_empty
    scene.want(now=due)
    scene.run()
    assert active(scene) == SECOND
    scene.want(interval=timedelta(0))
    scene.later(9999 * HOUR)
    scene.settle()
    assert active(scene) == SECOND
    assert scene.plan().rotation is not None
    assert scene.plan().rotation.due is None  # type: ignore[union-attr]


def test_a_secret_from_before_gets_a_time_and_no_rotation() -> None:
    scene = fresh()
    scene.note(rotated_at=None)
    before = secret_of(scene)
    plan = scene.run()
    assert [type(action) for action in plan.actions] == [do.WriteSecret]
    after = secret_of(scene)
    assert after.data == before.data
    assert after.rotation.rotated_at == NOW
    assert scene.plan().is_empty


def test_a_lost_secret_gives_the_newest_login_a_new_password_and_the_other_one_its_time() -> None:
    scene = fresh()
    scene.want(rotate="now")
    scene.run()
    scene.connect(FIRST)
    scene.later(HOUR / 2)
    before = secret_of(scene)
    scene.model.secrets.clear()
    plan = scene.run()
    assert [action.lost for action in plan.actions if isinstance(action, do.WriteSecret)] == [True]
    after = secret_of(scene)
    assert after.data["username"] == SECOND
    assert after.data["password"] != before.data["password"]
    assert after.rotation.previous_expires_at == scene.credentials.now + HOUR
    assert after.rotation.rotated_for == "now"
    assert scene.run().is_empty


def test_a_prepared_login_that_nobody_asks_for_any_more_goes() -> None:
    scene = fresh()
    scene.want(rotate="now")
    steps = in_steps(scene.plan().actions)
    assert [type(action).__name__ for action in steps[-1]] == ["WriteSecret"]
    scene.run(len(steps) - 1)
    assert SECOND in scene.model.catalogue.roles
    scene.want(rotate=None)
    scene.connect(FIRST)
    scene.settle()
    assert {*NAMES.logins} & {*scene.model.catalogue.roles} == {LOGIN}
    assert scene.model.ended == (SECOND,)
    assert FIRST in scene.model.sessions


def test_a_new_tenant_is_no_rotation_though_one_is_asked_for() -> None:
    scene = Scene()
    scene.want(rotate="x" * 9999)
    plan = scene.run()
    assert [(action.rotated, action.lost) for action in plan.actions if isinstance(action, do.WriteSecret)] == [
        (False, False)
    ]
    assert len(secret_of(scene).rotation.rotated_for or "") == 64
    assert scene.plan().is_empty


def test_a_login_that_a_crash_left_prepared_is_published_by_the_next_pass() -> None:
    scene = fresh()
    scene.want(rotate="now")
    scene.run(len(in_steps(scene.plan().actions)) - 1)
    oid = scene.model.catalogue.roles[SECOND].oid
    plan = scene.run()
    assert [type(action) for action in plan.actions] == [do.SetPassword, do.WriteSecret]
    assert active(scene) == SECOND
    assert scene.model.catalogue.roles[SECOND].oid == oid


def test_a_secret_that_is_edited_to_name_another_login_shuts_nobody_out() -> None:
    scene = fresh()
    scene.connect(FIRST)
    scene.later(9 * HOUR)
    scene.put(username=SECOND)
    scene.edit(applied=None)
    scene.settle()
    assert scene.model.sessions == {FIRST}
    assert scene.model.lets_in()
    scene.later(HOUR)
    scene.settle()
    assert scene.model.live_logins() == {active(scene)}


@pytest.mark.parametrize("name", ["t_acme_login_b", "postgres", ""])
def test_an_edited_username_is_put_right(name: str) -> None:
    scene = fresh()
    scene.put(username=name)
    scene.connect(FIRST)
    scene.settle()
    assert active(scene) == FIRST
    assert scene.model.ended == ()
    assert scene.model.lets_in()


def test_a_time_that_cannot_be_is_not_believed() -> None:
    scene = fresh()
    scene.note(rotated_at=NOW + 999 * HOUR)
    scene.run()
    assert secret_of(scene).rotation.rotated_at == NOW


def test_a_rotation_is_no_drift_and_goes_on_where_drift_is_only_reported() -> None:
    scene = fresh()
    scene.model.desired = replace(scene.model.desired, drift=DriftRule(report=True))
    scene.want(rotate="now")
    plan = scene.run()
    assert plan.drift == ()
    assert plan.held == ()
    assert active(scene) == SECOND
    scene.later(HOUR)
    scene.settle()
    assert scene.model.live_logins() == {SECOND}


@pytest.mark.parametrize("connected", [True, False])
def test_a_suspended_tenant_rotates_once_it_is_resumed(connected: bool) -> None:
    scene = fresh()
    scene.want(rotate="one")
    scene.run()
    scene.move(Lifecycle.SUSPENDED)
    scene.settle()
    kept = secret_of(scene)
    scene.want(rotate="two")
    scene.later(999 * HOUR)
    plan = scene.run()
    assert plan.is_empty
    assert plan.rotation is not None
    assert plan.rotation.due is None
    assert secret_of(scene) == kept
    assert {*NAMES.logins} <= {*scene.model.catalogue.roles}
    assert scene.model.live_logins() == set()
    scene.move(Lifecycle.ACTIVE)
    if connected:
        scene.run()
        scene.connect(SECOND)
    scene.settle()
    assert active(scene) == FIRST
    assert secret_of(scene).rotation.rotated_for == "two"
    assert scene.model.lets_in()
    assert scene.model.live_logins() == {FIRST, SECOND}


def test_an_archived_tenant_has_no_login_and_gets_fresh_credentials_with_a_time_of_their_own() -> None:
    scene = fresh()
    scene.want(rotate="one")
    scene.run()
    scene.move(Lifecycle.ARCHIVED)
    scene.settle()
    assert not {*NAMES.logins} & {*scene.model.catalogue.roles}
    assert scene.model.secret is None
    scene.later(999 * HOUR)
    assert scene.plan().is_empty
    scene.move(Lifecycle.ACTIVE)
    plan = scene.run()
    assert [(one.rotated, one.lost) for one in plan.actions if isinstance(one, do.WriteSecret)] == [(False, False)]
    assert secret_of(scene).rotation.rotated_at == scene.credentials.now
    assert scene.plan().is_empty


@pytest.mark.parametrize("before", Lifecycle)
@pytest.mark.parametrize("after", Lifecycle)
def test_a_move_of_the_lifecycle_is_no_drift_though_a_rotation_is_due(before: Lifecycle, after: Lifecycle) -> None:
    scene = fresh()
    scene.move(before)
    scene.settle()
    last = scene.model.desired
    scene.want(rotate="now")
    scene.move(after)
    rule = DriftRule(report=True, before=None if before is after else last)
    scene.model.desired = replace(scene.model.desired, drift=rule)
    plan = scene.run()
    assert plan.drift == ()
    assert plan.held == ()
    assert scene.model.lets_in() is (after is Lifecycle.ACTIVE)


@given(st.integers(0, 9))
def test_a_tenant_that_was_never_finished_has_lost_no_secret(steps: int) -> None:
    scene = Scene()
    scene.run(steps)
    assert not [one for one in scene.plan().actions if isinstance(one, do.WriteSecret) and one.lost]


def test_a_refusal_of_the_other_login_resets_no_password() -> None:
    scene = fresh()
    scene.want(rotate="now")
    scene.run()
    assert active(scene) == SECOND
    scene.put(username=FIRST)
    assert scene.model.observe().refused_login == FIRST
    assert not [action for action in scene.plan().actions if isinstance(action, do.SetPassword)]
    scene.settle()
    scene.change_password(SECOND)
    (reset,) = scene.plan().actions
    assert reset == do.ResetPassword(role=SECOND, reason=reset.reason)
    scene.run()
    assert scene.model.lets_in()
    assert scene.plan().is_empty


def test_an_old_login_is_closed_before_a_secret_is_written_that_may_refuse_it() -> None:
    scene = fresh()
    scene.want(rotate="now")
    scene.run()
    scene.put(extra="1")
    scene.want(overlap=timedelta(0))
    kinds = [type(action) for action in scene.plan().actions]
    assert kinds == [do.CloseLogin, do.WriteSecret, do.RetireLogin]
    scene.put(username=FIRST)
    assert [type(action) for action in scene.plan().actions] == [do.WriteSecret, do.CloseLogin, do.RetireLogin]
