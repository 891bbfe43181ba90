"""Whose data it is, and who may take it over: each of the three policies against each of the situations."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds import Lifecycle
from tenantry_crds.reasons import Reason
from tenantry_operator.model.adoption import Adoption
from tenantry_operator.model.tenant import Catalogue, Deletion, Leaving, Marker, MarkerState, RowState
from tenantry_operator.plan.actions import ServerAction, WriteMarker
from tenantry_operator.plan.tenant import Plan, plan_tenant
from tenantry_operator.plan.tenant_adoption import uids_in_question
from tenantry_operator.plan.tenant_lifecycle import taking_actions
from tenantry_testing.tenant_damages import NAMES, make_desired
from tenantry_testing.tenant_model import TenantModel

Change = Callable[[TenantModel], None]


def left_behind(adoption: Adoption, *changes: Change) -> TenantModel:
    """A tenant that was provisioned for uid-1; the Tenant of its name is uid-2 now."""
    model = TenantModel(make_desired())
    for _ in range(2):
        model.play_all(plan_tenant(model.desired, model.observe()).actions)
    model.secrets.clear()
    for change in changes:
        change(model)
    model.desired = make_desired(uid="uid-2", new_id="id-2", adoption=adoption)
    return model


def plan(model: TenantModel, *, departed: frozenset[str] = frozenset()) -> Plan:
    return plan_tenant(model.desired, replace(model.observe(), departed=departed))


def marked(**changes: object) -> Change:
    def change(model: TenantModel) -> None:
        made = replace(Marker("id-1", "uid-1", "installation-1"), **changes)  # type: ignore[arg-type]
        model.catalogue = replace(model.catalogue, marker_text=made.text())

    return change


def commented(text: str | None) -> Change:
    def change(model: TenantModel) -> None:
        model.catalogue = replace(model.catalogue, marker_text=text)

    return change


def released(model: TenantModel) -> None:
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    model.play_all(plan_tenant(model.desired, model.observe()).actions)


def without_row(model: TenantModel) -> None:
    model.row = None


def without_version(model: TenantModel) -> None:
    model.catalogue = replace(model.catalogue, version=None, tables=frozenset(), table_grants=frozenset())


def altered(role: str, **changes: object) -> Change:
    return lambda model: model.alter_role(role, **changes)


def owned_by(schema: str, owner: str) -> Change:
    def change(model: TenantModel) -> None:
        model.catalogue = replace(model.catalogue, schemas={**model.catalogue.schemas, schema: owner})

    return change


def without_owner(model: TenantModel) -> None:
    roles = {name: role for name, role in model.catalogue.roles.items() if name != NAMES.owner}
    model.catalogue = replace(model.catalogue, roles=roles)


GONE = frozenset({"uid-1"})
SITUATIONS: dict[str, tuple[tuple[Change, ...], frozenset[str], set[Adoption]]] = {
    "released": ((released,), frozenset(), {Adoption.IF_MARKED, Adoption.FORCE}),
    "released, the registry lost": ((released, without_row), frozenset(), {Adoption.IF_MARKED, Adoption.FORCE}),
    "live, its Tenant gone": ((), GONE, {Adoption.FORCE}),
    "live, its Tenant there": ((), frozenset(), set()),
    "live, its Tenant there, the registry lost": ((without_row,), frozenset(), set()),
    "live, of another installation": ((marked(installation="other"),), GONE, set()),
    "live, the row another Tenant's": ((marked(uid="uid-3"),), frozenset({"uid-3"}), set()),
    "live, the row of another id": ((marked(id="id-9"),), GONE, set()),
    "unmarked": ((commented(None),), GONE, {Adoption.FORCE}),
    "unmarked, its Tenant there": ((commented(None),), frozenset(), set()),
    "unmarked, somebody's comment": ((commented("mine"),), GONE, set()),
    "unmarked, the id unknown": ((commented(None), without_row), GONE, set()),
    "unmarked, no services' tables": ((commented(None), without_row, without_version), GONE, {Adoption.FORCE}),
    "unmarked, the owner logs in": ((commented(None), altered(NAMES.owner, login=True)), GONE, set()),
    "unmarked, a superuser": ((commented(None), altered(NAMES.app, elevated=frozenset({"SUPERUSER"}))), GONE, set()),
    "unmarked, a schema of others": ((commented(None), owned_by(NAMES.schema, "postgres")), GONE, set()),
    "unmarked, the services' of others": ((commented(None), owned_by(NAMES.service_schema, "me")), GONE, set()),
    "unmarked, no owner role": ((commented(None), without_owner), GONE, set()),
}


@pytest.mark.parametrize("adoption", Adoption)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_who_takes_what(situation: str, adoption: Adoption) -> None:
    changes, departed, allowed = SITUATIONS[situation]
    model = left_behind(adoption, *changes)
    made = plan(model, departed=departed)
    if adoption not in allowed:
        assert made.actions == ()
        assert made.refusal is not None
        assert made.refusal.reason is Reason.NOT_OURS
        return
    assert made.refusal is None, made.refusal
    assert [one for one in made.actions if isinstance(one, WriteMarker)]
    model.play_all(made.actions)
    assert plan(model).is_empty
    assert model.catalogue.marker is not None
    assert model.catalogue.marker.uid == "uid-2"
    assert model.row is not None
    assert (model.row.uid, model.row.state) == ("uid-2", RowState.ACTIVE)


def test_a_tenant_that_is_kept_from_released_data_is_told_what_to_do() -> None:
    refusal = plan(left_behind(Adoption.NEVER, released)).refusal
    assert refusal is not None
    assert "set it to IfMarked" in refusal.message


def test_what_a_tenant_has_taken_over_stays_its_own_under_every_policy() -> None:
    model = left_behind(Adoption.IF_MARKED, released)
    model.play_all(plan(model).actions)
    model.desired = replace(model.desired, adoption=Adoption.NEVER)
    assert plan(model).is_empty


@pytest.mark.parametrize("adoption", [Adoption.NEVER, Adoption.IF_MARKED])
def test_only_force_asks_who_is_gone(adoption: Adoption) -> None:
    forced = left_behind(Adoption.FORCE)
    assert uids_in_question(forced.desired, forced.observe()) == {"uid-1"}
    gentle = left_behind(adoption)
    assert uids_in_question(gentle.desired, gentle.observe()) == frozenset()


@given(st.sampled_from(Adoption), st.sampled_from(Leaving), st.sampled_from(sorted(SITUATIONS)))
def test_what_was_not_taken_over_before_the_deletion_is_not_dropped(
    adoption: Adoption, leaving: Leaving, situation: str
) -> None:
    changes, departed, _ = SITUATIONS[situation]
    model = left_behind(adoption, *changes)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    assert not [one for one in plan(model, departed=departed).actions if isinstance(one, ServerAction)]


def test_a_new_tenant_is_made_under_every_policy() -> None:
    for adoption in Adoption:
        model = TenantModel(make_desired(adoption=adoption))
        assert plan(model).refusal is None
        assert model.catalogue == Catalogue()


def test_a_marker_that_is_released_is_not_live() -> None:
    model = left_behind(Adoption.IF_MARKED, released)
    assert model.catalogue.marker is not None
    assert model.catalogue.marker.state is MarkerState.RELEASED


@pytest.mark.parametrize(("backup", "said"), [("volume://backups", "restore it from volume://backups"), (None, "no")])
def test_a_tenant_whose_drop_had_begun_is_not_made_whole(backup: str | None, said: str) -> None:
    """As after a restore of etcd from before the deletion."""
    model = TenantModel(make_desired())
    model.play_all(plan(model).actions)
    deleted = replace(model.desired, deletion=Deletion(Leaving.DELETE, protected=False))
    marked(state=MarkerState.DROPPING, backup=backup)(model)
    assert model.row is not None
    model.row = replace(model.row, state=RowState.RELEASED)
    for lifecycle in Lifecycle:
        model.desired = replace(model.desired, lifecycle=lifecycle)
        made = plan(model)
        assert made.refusal is not None
        assert made.refusal.reason is Reason.DATA_MISSING
        assert said in made.refusal.message
        assert made.actions == taking_actions(model.desired, model.observe())
    model.desired = deleted
    for _ in range(3):
        assert plan(model).refusal is None
        model.play_all(plan(model).actions)
    assert plan(model).is_empty
    assert model.catalogue == Catalogue()
