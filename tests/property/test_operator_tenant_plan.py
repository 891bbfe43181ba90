"""A played plan leaves an empty plan; a crash after any step still converges; what is not ours is never touched."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantry_crds.reasons import Reason
from tenantry_operator.model.names import service_login
from tenantry_operator.model.tenant import (
    Deletion,
    Leaving,
    Marker,
    MarkerState,
    ObservedSecret,
    RegistryRow,
    Role,
    RowState,
)
from tenantry_operator.plan import actions as do
from tenantry_testing.tenant_damages import DAMAGES, NAMES, VERSION, Damage, damaged, make_desired
from tenantry_testing.tenant_model import TenantModel, in_steps
from tenantry_testing.tenant_playing import copy_of, plan_now, settle

ROUNDS = 4


@cache
def _first() -> TenantModel:
    model = TenantModel(make_desired())
    settle(model, rounds=ROUNDS)
    return model


def provisioned() -> TenantModel:
    return copy_of(_first())


def assert_usable(model: TenantModel) -> None:
    """The Secret's password is the login's, and the services know the tenant."""
    secret = model.secrets[model.desired.secret_name]
    assert model.passwords[secret.data["username"]] == secret.data["password"]
    assert model.live_logins() == {secret.data["username"]}
    assert model.row is not None
    assert model.row.state is RowState.ACTIVE
    assert model.lets_in()


def damage(name: str) -> Damage:
    return next(one for one in DAMAGES if one.name == name)


damages = st.lists(st.sampled_from(DAMAGES), max_size=8)


def test_a_new_tenant_needs_one_plan() -> None:
    model = TenantModel(make_desired())
    model.play_all(plan_now(model).actions)
    assert plan_now(model).is_empty
    assert_usable(model)


OWNER_OPENED = "t_acme_owner altered: {'login': True, 'elevated': ['BYPASSRLS', 'CREATEDB']}"


@given(damages)
@example([damage(OWNER_OPENED), damage("somebody logs in")])
@example([damage("t_acme_login_a altered: {'login': False}"), damage("password changed")])
def test_playing_a_plan_leaves_an_empty_one(done: list[Damage]) -> None:
    model = damaged(provisioned(), done)
    plan = plan_now(model)
    assert plan.refusal is None
    model.play_all(plan.actions)
    left = plan_now(model).actions
    if any(one.name == "password changed" for one in done):
        # Told by a log-in with the Secret alone, which something else may have been in the way of.
        assert all(isinstance(action, do.ResetPassword) for action in left)
        model.play_all(left)
        left = plan_now(model).actions
    assert left == ()
    assert_usable(model)


@given(damages, st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_a_crash_after_any_step_converges(done: list[Damage], crashes: list[int]) -> None:
    fresh = TenantModel(make_desired())
    for model in (fresh, damaged(provisioned(), done)):
        for crash in crashes:
            for step in in_steps(plan_now(model).actions)[:crash]:
                model.play_all(step)
        settle(model, rounds=ROUNDS)
        assert_usable(model)


@given(damages, st.sampled_from(Leaving), st.lists(st.integers(0, 9), max_size=4))
@example(done=[damage("t_acme_login_a dropped"), damage("row lost")], leaving=Leaving.DELETE, crashes=[1])
def test_a_deletion_converges_after_any_crash(done: list[Damage], leaving: Leaving, crashes: list[int]) -> None:
    model = damaged(provisioned(), done)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    for crash in crashes:
        plan = plan_now(model)
        assert plan.refusal is None
        for step in in_steps(plan.actions)[:crash]:
            model.play_all(step)
    settle(model, rounds=ROUNDS)
    assert not [one for one in model.secrets.values() if one.ours]
    assert not {*NAMES.logins} & {*model.catalogue.roles}
    if leaving is Leaving.DELETE:
        assert model.catalogue.roles == {}
        assert model.catalogue.schemas == {}
    else:
        assert set(model.catalogue.schemas) == set(NAMES.schemas)
        assert model.catalogue.marker is not None
        assert model.catalogue.marker.state is MarkerState.RELEASED
        assert not [m for m in model.catalogue.memberships if m.member == service_login("accounts")]
    if model.row is not None:
        assert model.keys_revoked
        assert model.row.state is (RowState.DELETED if leaving is Leaving.DELETE else RowState.RELEASED)


@given(st.integers(0, 9), st.sampled_from(Leaving))
def test_a_tenant_that_was_never_finished_goes_without_a_trace(crash: int, leaving: Leaving) -> None:
    model = TenantModel(make_desired())
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    settle(model, rounds=ROUNDS)
    assert not model.secrets
    assert not {*NAMES.logins} & {*model.catalogue.roles}
    if leaving is Leaving.DELETE:
        assert model.catalogue.roles == {}
        assert model.row is None or model.row.state is RowState.DELETED


@given(damages, st.integers(0, 9))
def test_released_data_is_adopted_with_its_id(done: list[Damage], crash: int) -> None:
    model = damaged(provisioned(), done)
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    settle(model, rounds=ROUNDS)
    model.desired = make_desired(uid="uid-2", new_id="id-2")
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    settle(model, rounds=ROUNDS)
    assert_usable(model)
    assert model.catalogue.marker == Marker("id-1", "uid-2", "installation-1")
    assert model.row is not None
    assert (model.row.id, model.row.uid) == ("id-1", "uid-2")


@given(damages, st.sampled_from([None, *Leaving]))
def test_what_bears_another_uid_is_never_touched(done: list[Damage], leaving: Leaving | None) -> None:
    model = damaged(provisioned(), done)
    model.secrets.clear()
    before = model.catalogue
    deletion = Deletion(leaving, protected=False) if leaving else None
    model.desired = make_desired(uid="uid-2", new_id="id-2", deletion=deletion)
    plan = plan_now(model)
    assert plan.actions == ()
    if leaving is None:
        assert plan.refusal is not None
        assert plan.refusal.reason is Reason.NOT_OURS
    assert model.catalogue == before


@pytest.mark.parametrize("leaving", [None, *Leaving])
def test_roles_without_a_marker_are_never_touched(leaving: Leaving | None) -> None:
    model = TenantModel(make_desired(deletion=Deletion(leaving, protected=False) if leaving else None))
    model.catalogue = replace(model.catalogue, roles={NAMES.app: Role(NAMES.app, 1)})
    assert [one for one in plan_now(model).actions if isinstance(one, do.ServerAction)] == []
    if leaving is None:
        assert plan_now(model).refusal is not None


@pytest.mark.parametrize("leaving", Leaving)
def test_a_released_tenant_is_not_dropped_by_one_that_never_took_it_over(leaving: Leaving) -> None:
    model = provisioned()
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    settle(model, rounds=ROUNDS)
    model.desired = make_desired(uid="uid-2", deletion=Deletion(leaving, protected=False))
    assert plan_now(model).is_empty


@given(damages)
def test_a_protected_tenant_is_held(done: list[Damage]) -> None:
    model = damaged(provisioned(), done)
    model.desired = replace(model.desired, deletion=Deletion(Leaving.DELETE, protected=True))
    plan = plan_now(model)
    assert plan.refusal is not None
    assert plan.refusal.reason is Reason.PROTECTED


def empty_server(model: TenantModel) -> None:
    model.catalogue = TenantModel(model.desired).catalogue


def without_schema(schema: str) -> Callable[[TenantModel], None]:
    def change(model: TenantModel) -> None:
        left = {name: owner for name, owner in model.catalogue.schemas.items() if name != schema}
        model.catalogue = replace(model.catalogue, schemas=left)

    return change


def without_tables(model: TenantModel) -> None:
    model.catalogue = replace(model.catalogue, tables=frozenset({"schema_version"}), table_grants=frozenset())


def without_version(model: TenantModel) -> None:
    model.catalogue = replace(model.catalogue, version=None)


LOSSES = (
    empty_server,
    without_schema(NAMES.schema),
    without_schema(NAMES.service_schema),
    without_tables,
    without_version,
)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("remembers", ["both", "registry", "secret"])
@pytest.mark.parametrize("leaving", [None, *Leaving])
def test_lost_data_is_never_replaced_by_nothing(
    loss: Callable[[TenantModel], None], remembers: str, leaving: Leaving | None
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


def test_a_secret_of_somebody_else_is_refused_before_anything_is_made() -> None:
    model = TenantModel(make_desired())
    model.secrets["acme-database"] = ObservedSecret("acme-database", "tenantry-system", "u", "1", False, {})
    plan = plan_now(model)
    assert plan.actions == ()
    assert plan.refusal is not None
    assert plan.refusal.reason is Reason.NOT_OURS


def test_a_registry_row_with_another_id_than_the_marker_is_refused() -> None:
    model = provisioned()
    model.row = RegistryRow("id-9", "uid-1", "primary", "app", RowState.ACTIVE, VERSION)
    refusal = plan_now(model).refusal
    assert refusal is not None
    assert refusal.reason is Reason.NOT_OURS
    assert "id-9" in refusal.message


@given(damages)
def test_every_action_says_why(done: list[Damage]) -> None:
    assert all(action.reason for action in plan_now(damaged(provisioned(), done)).actions)
