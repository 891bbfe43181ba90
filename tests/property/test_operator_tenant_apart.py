"""A tenant with a database of its own: played plans leave empty ones, crashes converge, no stranger's is dropped."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds import Lifecycle
from tenantry_crds.reasons import Reason
from tenantry_operator.model.drift import DriftRule
from tenantry_operator.model.names import OWNER, TENANTS, service_login
from tenantry_operator.model.tenant import (
    CUT_SHORT,
    PUBLIC,
    Deletion,
    Grant,
    Leaving,
    Marker,
    MarkerState,
    ObservedDatabase,
    RowState,
)
from tenantry_operator.plan import actions as do
from tenantry_operator.plan import database_actions as on_database
from tenantry_operator.plan.tenant import plan_tenant
from tenantry_operator.plan.tenant_reporting import describe, held_problem
from tenantry_testing.tenant_damages import DAMAGES, DATABASE_DAMAGES, NAMES, Damage, damaged, make_desired_apart
from tenantry_testing.tenant_model import TenantModel, in_steps
from tenantry_testing.tenant_playing import copy_of, plan_now
from tenantry_testing.tenant_playing import settle as settle_in

ROUNDS = 5
DATABASE = NAMES.database
APART = tuple(one for one in DAMAGES if one.name not in {"schema given away"})
damages = st.lists(st.sampled_from((*APART, *DATABASE_DAMAGES)), max_size=8)


def settle(model: TenantModel) -> None:
    settle_in(model, rounds=ROUNDS, is_over=lambda plan: plan.is_empty and plan.again is None)


@cache
def _first() -> TenantModel:
    model = TenantModel(make_desired_apart())
    settle(model)
    return model


def provisioned() -> TenantModel:
    return copy_of(_first())


def is_strange(model: TenantModel) -> bool:
    """Whether nobody can know whose the database is: it bears no marker any more, and changed hands or was shut."""
    there = model.catalogue.database
    if there is None or Marker.parse(there.marker_text) is not None:
        return False
    return there.owner != OWNER or there.is_begun


def assert_kept_apart(model: TenantModel) -> None:
    there = model.catalogue.database
    assert there == ObservedDatabase(
        DATABASE,
        OWNER,
        Marker("id-1", "uid-1", "installation-1").text(),
        frozenset(Grant(DATABASE, who, "CONNECT") for who in (NAMES.app, NAMES.readonly, service_login("accounts"))),
    )
    assert not [one for one in model.catalogue.memberships if one.role == TENANTS]
    assert model.lets_in()


def test_a_new_tenant_needs_one_plan_and_makes_its_database_shut() -> None:
    model = TenantModel(make_desired_apart())
    actions = plan_now(model).actions
    kinds = [type(action).__name__ for action in actions if isinstance(action, on_database.DatabaseAction)]
    assert kinds[0] == "MakeDatabase"
    assert kinds[-1] == "AlterDatabase"
    assert {"MarkDatabase", "RevokeOnDatabase", "GrantOnDatabase"} <= set(kinds)
    marked = [isinstance(action, do.WriteMarker) for action in actions].index(True)
    assert marked < [isinstance(action, on_database.MakeDatabase) for action in actions].index(True)
    model.play_all(actions)
    assert plan_now(model).is_empty
    assert_kept_apart(model)


@given(damages)
def test_any_damage_is_repaired(done: list[Damage]) -> None:
    model = damaged(provisioned(), done)
    if is_strange(model):
        refusal = plan_now(model).refusal
        assert refusal is not None
        assert refusal.reason in {Reason.NOT_OURS, Reason.DATA_MISSING}
        return
    settle(model)
    assert_kept_apart(model)


@given(damages, st.lists(st.integers(0, 16), min_size=1, max_size=4))
def test_a_crash_after_any_step_converges(done: list[Damage], crashes: list[int]) -> None:
    fresh = TenantModel(make_desired_apart())
    for model in (fresh, damaged(provisioned(), done)):
        if is_strange(model):
            continue
        for crash in crashes:
            for step in in_steps(plan_now(model).actions)[:crash]:
                model.play_all(step)
        settle(model)
        assert_kept_apart(model)


@given(damages, st.sampled_from(Leaving), st.lists(st.integers(0, 14), max_size=4))
def test_a_deletion_converges_after_any_crash(done: list[Damage], leaving: Leaving, crashes: list[int]) -> None:
    model = damaged(provisioned(), done)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    there = model.catalogue.database
    assert there is not None
    if Marker.parse(there.marker_text) is None:
        plan = plan_now(model)
        dropped = [one for one in plan.actions if isinstance(one, on_database.DropDatabase | do.DropData)]
        assert dropped == []
        assert leaving is Leaving.RETAIN or plan.refusal is not None
        return
    for crash in crashes:
        for step in in_steps(plan_now(model).actions)[:crash]:
            model.play_all(step)
    settle(model)
    assert not {*NAMES.logins} & {*model.catalogue.roles}
    if leaving is Leaving.DELETE:
        assert model.catalogue.roles == {}
        assert model.catalogue.database is None
        return
    left = model.catalogue.database
    assert left is not None
    assert left.marker_text == Marker("id-1", "uid-1", "installation-1", MarkerState.RELEASED).text()
    assert not [grant for grant in left.grants if grant.grantee in {PUBLIC, service_login("accounts")}]


@given(st.integers(0, 14), st.sampled_from(Leaving))
def test_a_tenant_that_was_never_finished_goes_without_a_trace(crash: int, leaving: Leaving) -> None:
    model = TenantModel(make_desired_apart())
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    settle(model)
    if leaving is Leaving.DELETE:
        assert model.catalogue.roles == {}
        assert model.catalogue.database is None


@given(st.integers(0, 14))
def test_released_data_is_adopted_with_its_id(crash: int) -> None:
    model = provisioned()
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    settle(model)
    model.desired = make_desired_apart(uid="uid-2", new_id="id-2")
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    settle(model)
    there = model.catalogue.database
    assert there is not None
    assert there.marker_text == Marker("id-1", "uid-2", "installation-1").text()


@given(st.lists(st.sampled_from(Lifecycle), min_size=1, max_size=4))
def test_services_connect_while_the_tenant_is_active(lifecycles: list[Lifecycle]) -> None:
    model = provisioned()
    for lifecycle in lifecycles:
        model.desired = make_desired_apart(lifecycle=lifecycle)
        settle(model)
        there = model.catalogue.database
        assert there is not None
        held = Grant(DATABASE, service_login("accounts"), "CONNECT") in there.grants
        assert held is (lifecycle is Lifecycle.ACTIVE)


def cut_short(model: TenantModel) -> None:
    """Leave of the database what a DROP leaves that did not come to its end."""
    there = model.catalogue.database
    assert there is not None
    model.catalogue = replace(model.catalogue, database=replace(there, connection_limit=CUT_SHORT))


@given(st.integers(0, 30))
def test_a_drop_that_is_cut_short_is_done_again(crash: int) -> None:
    model = provisioned()
    model.desired = replace(model.desired, deletion=Deletion(Leaving.DELETE, protected=False))
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    if model.catalogue.database is not None:
        cut_short(model)
    settle(model)
    assert model.catalogue == TenantModel(model.desired).catalogue


def test_data_lost_by_a_drop_that_was_cut_short_is_missed_while_the_tenant_lives() -> None:
    model = provisioned()
    cut_short(model)
    plan = plan_now(model)
    assert plan.refusal is not None
    assert (plan.refusal.reason, plan.actions) == (Reason.DATA_MISSING, ())
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    kept = plan_now(model)
    assert kept.refusal is not None
    assert (kept.refusal.reason, kept.actions) == (Reason.DATA_MISSING, ())


@given(st.integers(0, 30))
def test_one_that_nobody_was_ever_in_is_made_again(crash: int) -> None:
    model = TenantModel(make_desired_apart())
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    if model.catalogue.database is None or model.secrets:
        return
    cut_short(model)
    settle(model)
    assert_kept_apart(model)


def lost(model: TenantModel) -> None:
    emptied = TenantModel(model.desired).catalogue
    model.catalogue = replace(
        model.catalogue, database=None, schemas=emptied.schemas, tables=emptied.tables, version=None
    )


def emptied(model: TenantModel) -> None:
    """A database that nobody was ever in stands in the place of the tenant's."""
    lost(model)
    model.catalogue = replace(model.catalogue, database=ObservedDatabase(DATABASE, OWNER, open=False))


@pytest.mark.parametrize("loss", [lost, emptied])
@pytest.mark.parametrize("leaving", [None, *Leaving])
@pytest.mark.parametrize("remembers", ["both", "registry", "secret"])
def test_a_lost_database_is_never_replaced_by_an_empty_one(
    loss: Callable[[TenantModel], None], leaving: Leaving | None, remembers: str
) -> None:
    model = provisioned()
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False) if leaving else None)
    loss(model)
    if remembers == "registry":
        model.secrets.clear()
    if remembers == "secret":
        model.row = None
    plan = plan_now(model)
    assert plan.actions == ()
    assert plan.refusal is not None
    assert plan.refusal.reason is Reason.DATA_MISSING
    assert f"database {DATABASE}" in plan.refusal.message


@pytest.mark.parametrize("owner", [OWNER, "somebody"])
@pytest.mark.parametrize("marked", [None, "mine", Marker("id-9", "uid-9", "installation-1").text()])
@pytest.mark.parametrize("leaving", [None, Leaving.DELETE])
def test_a_database_of_somebody_else_is_left_alone(owner: str, marked: str | None, leaving: Leaving | None) -> None:
    """Nothing else bears the tenant's names; the shared owner's is open, as no unfinished one is."""
    model = TenantModel(make_desired_apart(deletion=Deletion(leaving, protected=False) if leaving else None))
    model.catalogue = replace(model.catalogue, database=ObservedDatabase(DATABASE, owner, marked))
    plan = plan_now(model)
    assert plan.actions == ()
    if leaving is None:
        assert plan.refusal is not None
        assert plan.refusal.reason is Reason.NOT_OURS


@pytest.mark.parametrize("leaving", [None, Leaving.DELETE])
def test_another_tenants_database_under_the_name_is_left_alone(leaving: Leaving | None) -> None:
    model = provisioned()
    there = model.catalogue.database
    assert there is not None
    restored = replace(there, marker_text=Marker("id-9", "uid-9", "installation-1").text())
    model.catalogue = replace(model.catalogue, database=restored)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False) if leaving else None)
    plan = plan_now(model)
    assert plan.actions == ()
    assert plan.refusal is not None
    assert plan.refusal.reason is Reason.NOT_OURS


def test_a_tenant_of_another_isolation_does_not_take_the_name_over() -> None:
    model = provisioned()
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    settle(model)
    assert model.row is not None
    model.row = replace(model.row, isolation="Schema", state=RowState.RELEASED)
    model.desired = make_desired_apart(uid="uid-2", new_id="id-2")
    refusal = plan_now(model).refusal
    assert refusal is not None
    assert refusal.reason is Reason.NOT_OURS


REPORTED = {
    "CONNECT to PUBLIC": (DATABASE_DAMAGES[0], Reason.DRIFT_BREAKS_ISOLATION),
    "another owner": (DATABASE_DAMAGES[6], Reason.DRIFT_BREAKS_ISOLATION),
    "shut": (DATABASE_DAMAGES[7], Reason.DRIFT_BREAKS_TENANT),
    "nobody may connect": (DATABASE_DAMAGES[3], Reason.DRIFT_BREAKS_TENANT),
    "a template": (DATABASE_DAMAGES[8], None),
}


@pytest.mark.parametrize("what", REPORTED)
def test_drift_is_told_and_left_where_it_is_only_reported(what: str) -> None:
    damage, reason = REPORTED[what]
    model = damaged(provisioned(), [damage])
    model.desired = replace(model.desired, drift=DriftRule(report=True))
    observed = model.observe()
    plan = plan_tenant(model.desired, observed)
    assert plan.actions == ()
    assert plan.held
    assert all(DATABASE in describe(action) for action in plan.held)
    problem = held_problem(plan.held, model.desired, observed)
    assert (problem.reason if problem else None) is reason
