"""The plan of a pooled Tenant: played, it leaves an empty one, whatever was damaged and wherever a process died."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds import Lifecycle
from tenantry_crds.reasons import Reason
from tenantry_operator.model.backup import DesiredBackup, JobPod, RegistryOrder, ServerSecrets
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import TENANTS
from tenantry_operator.model.pool import POOL_CUSTOMERS, pool_entry, pool_role
from tenantry_operator.model.tenant import Deletion, Grant, Leaving, MarkerState, Membership, RowState
from tenantry_testing.pool_model import PooledModel, pooled_model
from tenantry_testing.tenant_damages import NAMES
from tenantry_testing.tenant_model import in_steps
from tenantry_testing.tenant_playing import plan_now, settle

LOGIN = NAMES.logins[0]


ROUNDS = 4


def provisioned() -> PooledModel:
    model = pooled_model()
    settle(model, rounds=ROUNDS)
    model.rows = True
    return model


def change(**changes: Callable[[PooledModel], object]) -> Callable[[PooledModel], None]:
    def do(model: PooledModel) -> None:
        made = {key: make(model) for key, make in changes.items()}
        model.catalogue = replace(model.catalogue, **made)  # type: ignore[arg-type]

    return do


def member(role: str, *, there: bool) -> Callable[[PooledModel], None]:
    one = frozenset({Membership(role, LOGIN)})
    if there:
        return change(memberships=lambda model: model.catalogue.memberships | one)
    return change(memberships=lambda model: model.catalogue.memberships - one)


DAMAGES: dict[str, Callable[[PooledModel], None]] = {
    "entry lost": change(entry=lambda _: None),
    "entry closed": change(entry=lambda model: pool_entry(NAMES, model.desired.new_id, is_open=False)),
    "entry of another": change(entry=lambda _: pool_entry(NAMES, "id-2", is_open=True)),
    "login in a service's role": member(pool_role("accounts"), there=True),
    "login out of the customers": member(POOL_CUSTOMERS, there=False),
    "login out of the database": member(TENANTS, there=False),
    "login dropped": lambda model: model.drop_role(LOGIN) if LOGIN in model.catalogue.roles else None,
    "owner logs in": lambda model: model.alter_role(NAMES.owner, login=True),
    "login bypasses": lambda model: (
        model.alter_role(LOGIN, elevated=frozenset({"BYPASSRLS"})) if LOGIN in model.catalogue.roles else None
    ),
    "defaults": change(default_grants=lambda _: frozenset({Grant("TABLES", "PUBLIC", "SELECT")})),
    "row lost": lambda model: setattr(model, "row", None),
    "secret lost": lambda model: model.secrets.clear(),
}
damages = st.lists(st.sampled_from(sorted(DAMAGES)), max_size=6)


def damaged(done: list[str]) -> PooledModel:
    model = provisioned()
    for name in done:
        DAMAGES[name](model)
    return model


def assert_usable(model: PooledModel) -> None:
    assert model.lets_in()
    assert model.row is not None
    assert model.row.state is RowState.ACTIVE
    assert model.catalogue.entry == pool_entry(NAMES, model.row.id, is_open=True)
    groups = {m.role for m in model.catalogue.memberships if m.member in NAMES.logins}
    assert groups == {TENANTS, POOL_CUSTOMERS}
    assert {*model.catalogue.roles} <= {NAMES.owner, *NAMES.logins}
    assert model.catalogue.schemas == {}


@pytest.mark.parametrize("pool", [False, True])
def test_a_new_tenant_needs_one_plan(pool: bool) -> None:
    model = pooled_model(pool=pool)
    model.play_all(plan_now(model).actions)
    assert plan_now(model).is_empty
    assert_usable(model)


@given(damages)
def test_playing_a_plan_leaves_an_empty_one(done: list[str]) -> None:
    model = damaged(done)
    model.play_all(plan_now(model).actions)
    assert plan_now(model).actions == ()
    assert_usable(model)
    assert model.rows


@given(damages, st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_a_crash_after_any_step_converges(done: list[str], crashes: list[int]) -> None:
    for model in (pooled_model(), damaged(done)):
        for crash in crashes:
            for step in in_steps(plan_now(model).actions)[:crash]:
                model.play_all(step)
        settle(model, rounds=ROUNDS)
        assert_usable(model)


@given(damages, st.sampled_from(Leaving), st.lists(st.integers(0, 9), max_size=4))
def test_a_deletion_converges_after_any_crash(done: list[str], leaving: Leaving, crashes: list[int]) -> None:
    model = damaged(done)
    settle(model, rounds=ROUNDS)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    for crash in crashes:
        for step in in_steps(plan_now(model).actions)[:crash]:
            model.play_all(step)
    settle(model, rounds=ROUNDS)
    assert model.catalogue.version is not None, "the pool stays"
    assert not {*NAMES.logins} & {*model.catalogue.roles}
    if leaving is Leaving.DELETE:
        assert (model.rows, model.catalogue.entry, model.catalogue.roles) == (False, None, {})
    else:
        entry, marker = model.catalogue.entry, model.catalogue.marker
        assert model.rows
        assert entry is not None
        assert not entry.open
        assert marker is not None
        assert marker.state is MarkerState.RELEASED


@given(damages, st.lists(st.sampled_from(Lifecycle), min_size=1, max_size=4), st.lists(st.integers(0, 9), max_size=3))
def test_a_closed_tenants_entry_is_closed_first_and_opened_again(
    done: list[str], states: list[Lifecycle], crashes: list[int]
) -> None:
    model = damaged(done)
    for state in states:
        model.desired = replace(model.desired, lifecycle=state)
        for crash in crashes:
            for step in in_steps(plan_now(model).actions)[:crash]:
                model.play_all(step)
        settle(model, rounds=ROUNDS)
        assert model.catalogue.entry is not None
        assert model.catalogue.entry.open is (state is Lifecycle.ACTIVE)
        assert model.lets_in() is (state is Lifecycle.ACTIVE)
    assert model.rows


def test_a_backup_that_cannot_be_made_keeps_the_rows() -> None:
    model = provisioned()
    secrets = ServerSecrets("primary-operator")
    backup = DesiredBackup("backup", "tenantry-system", None, JobPod("image"), secrets, RegistryOrder({}, secrets))
    model.desired = replace(model.desired, deletion=Deletion(Leaving.DELETE, protected=False, backup=backup))
    plan = plan_now(model)
    assert plan.actions == ()
    model.play_all(plan.actions)
    assert model.rows


def test_released_rows_come_back_to_a_tenant_of_the_name() -> None:
    model = provisioned()
    identity = model.row.id if model.row else ""
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    settle(model, rounds=ROUNDS)
    model.desired = replace(model.desired, uid="uid-2", new_id="id-9", deletion=None)
    settle(model, rounds=ROUNDS)
    assert_usable(model)
    assert (model.row.id if model.row else "", model.rows) == (identity, True)


def test_a_pool_that_is_gone_is_missing_data_and_not_made_anew() -> None:
    model = provisioned()
    model.catalogue = replace(model.catalogue, version=None, tables=frozenset())
    refusal = plan_now(model).refusal
    assert refusal is not None
    assert refusal.reason is Reason.DATA_MISSING


def test_a_table_of_the_pool_that_is_gone_is_missing_data() -> None:
    model = provisioned()
    model.catalogue = replace(model.catalogue, tables=frozenset({"schema_version"}))
    refusal = plan_now(model).refusal
    assert refusal is not None
    assert "tenantry_pool.users" in refusal.message


def test_a_name_with_schemas_of_its_own_is_not_taken_into_the_pool() -> None:
    model = pooled_model(pool=True)
    model.catalogue = replace(model.catalogue, schemas={"t_acme": "postgres"})
    refusal = plan_now(model).refusal
    assert refusal is not None
    assert refusal.reason is Reason.NOT_OURS


def test_a_row_of_another_isolation_is_not_taken_over() -> None:
    model = provisioned()
    assert model.row is not None
    model.row = replace(model.row, isolation=Isolation.SCHEMA)
    refusal = plan_now(model).refusal
    assert refusal is not None
    assert refusal.reason is Reason.NOT_OURS
