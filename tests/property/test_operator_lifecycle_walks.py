"""Access follows spec.lifecycle on any way through it, whatever is edited by hand and wherever a process dies."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds import Lifecycle
from tenantry_operator.model.tenant import (
    Deletion,
    Leaving,
    Marker,
    MarkerState,
    ObservedSecret,
    RowState,
)
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.reader_actions import CloseReader
from tenantry_testing.tenant_damages import DAMAGES, LOGIN, NAMES, Damage, damaged, make_desired
from tenantry_testing.tenant_model import TenantModel, in_steps
from tenantry_testing.tenant_playing import copy_of, plan_now, settle

ROUNDS = 5
STATES = {
    Lifecycle.ACTIVE: RowState.ACTIVE,
    Lifecycle.SUSPENDED: RowState.SUSPENDED,
    Lifecycle.ARCHIVED: RowState.ARCHIVED,
}
CLOSED = (Lifecycle.SUSPENDED, Lifecycle.ARCHIVED)
KEPT = ("roles", "memberships", "schemas", "schema_grants", "tables", "table_grants", "default_grants", "version")


def die_after(model: TenantModel, steps: int) -> None:
    for step in in_steps(plan_now(model).actions)[:steps]:
        model.play_all(step)


def want(model: TenantModel, lifecycle: Lifecycle) -> None:
    model.desired = replace(model.desired, lifecycle=lifecycle)


@cache
def _settled(lifecycle: Lifecycle) -> TenantModel:
    model = TenantModel(make_desired(lifecycle=lifecycle))
    settle(model, rounds=ROUNDS)
    return model


def made(lifecycle: Lifecycle = Lifecycle.ACTIVE) -> TenantModel:
    return copy_of(_settled(lifecycle))


def admits(model: TenantModel) -> bool:
    """Whether anybody gets in by the catalogue: a login, a session that lasts, a service, who was lent to read."""
    services = set(NAMES.service_roles.values())
    return (
        any(role.login for role in model.catalogue.roles.values())
        or bool(model.sessions & set(model.catalogue.roles))
        or any(membership.role in services for membership in model.catalogue.memberships)
        or model.catalogue.reads.some
        or any(grant.grantee == NAMES.readonly for grant in model.catalogue.schema_grants)
    )


def assert_as_wanted(model: TenantModel) -> None:
    lifecycle = model.desired.lifecycle
    assert model.row is not None
    assert model.row.state is STATES[lifecycle]
    assert model.row.version == model.catalogue.version
    assert set(model.catalogue.schemas) == set(NAMES.schemas)
    assert model.catalogue.marker == Marker(model.row.id, model.desired.uid, model.desired.installation)
    secret = model.secrets.get(model.desired.secret_name)
    if lifecycle is Lifecycle.ARCHIVED:
        assert secret is None
        assert not set(NAMES.logins) & set(model.catalogue.roles)
    else:
        assert secret is not None
        assert model.catalogue.roles[LOGIN].login is (lifecycle is Lifecycle.ACTIVE)
        if lifecycle is Lifecycle.ACTIVE:
            # While a login is closed nothing tells that a hand has changed its password.
            assert model.passwords[LOGIN] == secret.data["password"]
    if lifecycle is not Lifecycle.ACTIVE:
        assert not admits(model)


lifecycles = st.sampled_from(Lifecycle)
damages = st.lists(st.sampled_from(DAMAGES), max_size=6)


def seen_while_closed(done: list[Damage]) -> list[Damage]:
    """Leave out what only a log-in tells."""
    return [damage for damage in done if damage.name != "password changed"]


walks = st.lists(st.tuples(lifecycles, damages, st.one_of(st.none(), st.integers(0, 12))), min_size=1, max_size=5)


@pytest.mark.parametrize("lifecycle", Lifecycle)
def test_a_new_tenant_needs_one_plan(lifecycle: Lifecycle) -> None:
    model = TenantModel(make_desired(lifecycle=lifecycle))
    model.play_all(plan_now(model).actions)
    assert plan_now(model).is_empty
    assert_as_wanted(model)


@pytest.mark.parametrize("after", Lifecycle)
@pytest.mark.parametrize("before", Lifecycle)
def test_every_way_is_one_plan_and_ends_as_if_made_so(before: Lifecycle, after: Lifecycle) -> None:
    model = made(before)
    want(model, after)
    model.play_all(plan_now(model).actions)
    assert plan_now(model).is_empty
    assert_as_wanted(model)
    direct = made(after)
    for part in KEPT[1:]:
        assert getattr(model.catalogue, part) == getattr(direct.catalogue, part)
    assert {name: replace(role, oid=0) for name, role in model.catalogue.roles.items()} == {
        name: replace(role, oid=0) for name, role in direct.catalogue.roles.items()
    }


@given(walks)
def test_any_walk_with_hand_edits_and_crashes_converges(walk: list[tuple[Lifecycle, list[Damage], int | None]]) -> None:
    model = made()
    for lifecycle, done, crash in walk:
        damaged(model, done)
        want(model, lifecycle)
        if crash is None:
            settle(model, rounds=ROUNDS)
            assert_as_wanted(model)
        else:
            die_after(model, crash)
    settle(model, rounds=ROUNDS)
    assert_as_wanted(model)


@given(damages, st.sampled_from(CLOSED))
def test_drift_of_a_closed_tenant_is_taken_back_by_one_plan(done: list[Damage], lifecycle: Lifecycle) -> None:
    model = damaged(made(lifecycle), done)
    model.play_all(plan_now(model).actions)
    assert plan_now(model).actions == ()
    assert_as_wanted(model)


@given(damages, st.sampled_from(CLOSED), st.integers(0, 20))
def test_access_is_taken_from_the_registry_first(done: list[Damage], lifecycle: Lifecycle, crash: int) -> None:
    model = damaged(made(), [one for one in done if one.name != "row lost"])
    want(model, lifecycle)
    steps = in_steps(plan_now(model).actions)
    assert [type(action) for action in steps[0]] == [do.RecordTenant]
    for step in steps[: crash + 1]:
        model.play_all(step)
        assert model.row is not None
        assert model.row.state is STATES[lifecycle]


@given(damages.map(seen_while_closed), st.sampled_from(CLOSED), st.integers(0, 20))
def test_access_is_given_back_by_the_registry_last(done: list[Damage], lifecycle: Lifecycle, crash: int) -> None:
    model = damaged(made(lifecycle), [one for one in done if one.name != "row lost"])
    want(model, Lifecycle.ACTIVE)
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    assert model.row is not None
    assert (model.row.state is RowState.ACTIVE) == plan_now(model).is_empty


@given(damages, st.sampled_from(CLOSED))
def test_nothing_that_can_fail_stands_before_what_takes_access(done: list[Damage], lifecycle: Lifecycle) -> None:
    model = damaged(made(), done)
    want(model, lifecycle)
    taking = (do.RecordTenant, do.ShutOut, do.CloseLogin, CloseReader)
    steps = in_steps(plan_now(model).actions)
    rest = next((i for i, step in enumerate(steps) if not isinstance(step[0], taking)), len(steps))
    for step in steps[:rest]:
        assert len(step) == 1
        model.play_all(step)
    assert not admits(model)


@given(damages, st.sampled_from(CLOSED), st.sampled_from(Leaving), st.lists(st.integers(0, 9), max_size=3))
def test_a_closed_tenant_can_be_deleted(
    done: list[Damage], lifecycle: Lifecycle, leaving: Leaving, crashes: list[int]
) -> None:
    model = damaged(made(lifecycle), done)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    for crash in crashes:
        die_after(model, crash)
    settle(model, rounds=ROUNDS)
    assert not model.secrets
    assert not admits(model)
    if leaving is Leaving.DELETE:
        assert model.catalogue.roles == {}
        assert model.row is None or model.row.state is RowState.DELETED
    else:
        assert model.catalogue.marker is not None
        assert model.catalogue.marker.state is MarkerState.RELEASED


@given(st.sampled_from(CLOSED), lifecycles, st.integers(0, 12))
def test_what_a_closed_tenant_left_is_adopted_as_the_next_one_says(
    before: Lifecycle, after: Lifecycle, crash: int
) -> None:
    model = made(before)
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    settle(model, rounds=ROUNDS)
    model.desired = make_desired(uid="uid-2", new_id="id-2", lifecycle=after)
    die_after(model, crash)
    settle(model, rounds=ROUNDS)
    assert_as_wanted(model)
    assert model.row is not None
    assert (model.row.id, model.row.uid) == ("id-1", "uid-2")


def foreign_secret(model: TenantModel) -> None:
    model.secrets["acme-database"] = ObservedSecret("acme-database", "tenantry-system", "u", "1", False, {})


def lost_schema(model: TenantModel) -> None:
    model.catalogue = replace(model.catalogue, schemas={NAMES.schema: NAMES.owner})


@pytest.mark.parametrize("lifecycle", CLOSED)
@pytest.mark.parametrize("trouble", [lost_schema, foreign_secret])
def test_access_is_taken_from_what_is_refused_otherwise(trouble: object, lifecycle: Lifecycle) -> None:
    model = made()
    model.sessions = frozenset({LOGIN})
    (lost_schema if trouble is lost_schema else foreign_secret)(model)
    before = dict(model.secrets)
    want(model, lifecycle)
    plan = plan_now(model)
    refused = plan.refusal is not None
    assert refused is (trouble is lost_schema or lifecycle is Lifecycle.SUSPENDED)
    model.play_all(plan.actions)
    assert not admits(model)
    assert model.row is not None
    assert model.row.state is STATES[lifecycle]
    if trouble is foreign_secret:
        assert model.secrets == before
    assert plan_now(model).actions == ()


@pytest.mark.parametrize("lifecycle", Lifecycle)
def test_another_tenants_access_is_not_touched(lifecycle: Lifecycle) -> None:
    model = made()
    model.desired = make_desired(uid="uid-2", new_id="id-2", lifecycle=lifecycle)
    plan = plan_now(model)
    assert plan.actions == ()
    assert plan.refusal is not None


def test_new_credentials_are_issued_after_an_archive() -> None:
    model = made()
    before = model.passwords[LOGIN]
    want(model, Lifecycle.ARCHIVED)
    settle(model, rounds=ROUNDS)
    want(model, Lifecycle.ACTIVE)
    settle(model, rounds=ROUNDS)
    assert model.passwords[LOGIN] != before
    assert_as_wanted(model)


def test_a_suspension_keeps_the_credentials() -> None:
    model = made()
    secret, passwords = model.secrets["acme-database"], dict(model.passwords)
    for lifecycle in (Lifecycle.SUSPENDED, Lifecycle.ACTIVE):
        want(model, lifecycle)
        settle(model, rounds=ROUNDS)
        assert model.secrets["acme-database"] == secret
        assert model.passwords == passwords
