"""Under Report what a hand changed stays, and is told; a change of the spec is applied, and repairs nothing else."""

from dataclasses import replace
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from tenantry_operator.model.drift import DriftRule
from tenantry_operator.model.tenant import DesiredTenant, RowState
from tenantry_operator.plan.actions import CreateRole, RecordTenant, ResetPassword, SetSetting
from tenantry_operator.plan.tenant import plan_tenant
from tenantry_operator.plan.tenant_reporting import REPAIRS, describe, held_problem
from tenantry_testing.tenant_damages import DAMAGES, LOGIN, Damage, damaged, make_desired
from tenantry_testing.tenant_model import TenantModel

damages = st.lists(st.sampled_from(DAMAGES), max_size=8)
LIMIT = frozenset({("statement_timeout", "45s")})


def report(**rule: object) -> DriftRule:
    return DriftRule(**{"report": True, "applied": "first", **rule})  # type: ignore[arg-type]


@cache
def _first() -> TenantModel:
    model = TenantModel(make_desired(drift=report()))
    model.play_all(plan_tenant(model.desired, model.observe()).actions)
    return model


def provisioned(**changes: object) -> TenantModel:
    first = _first()
    desired: DesiredTenant = replace(first.desired, **changes)  # type: ignore[arg-type]
    return replace(first, desired=desired, secrets=dict(first.secrets), passwords=dict(first.passwords))


def test_a_first_provisioning_is_no_drift_under_report() -> None:
    plan = plan_tenant(make_desired(drift=report()), TenantModel(make_desired()).observe())
    assert any(isinstance(action, CreateRole) for action in plan.actions)
    assert plan.drift == plan.held == ()
    assert _first().row is not None
    assert plan_tenant(_first().desired, _first().observe()).is_empty


@given(damages)
def test_report_changes_nothing_on_the_server(done: list[Damage]) -> None:
    model = damaged(provisioned(), done)
    before = model.catalogue
    renamed = model.desired.secret_name
    plan = plan_tenant(model.desired, model.observe())
    assert not [action for action in plan.actions if isinstance(action, REPAIRS)]
    model.play_all(plan.actions)
    assert model.catalogue == before
    after = plan_tenant(replace(model.desired, secret_name=renamed), model.observe())
    assert after.is_empty
    # A Secret that was just written anew is one to log in with, which tells more of its password.
    assert tuple(one for one in after.drift if one in plan.drift or not isinstance(one, ResetPassword)) == plan.drift


@given(damages)
def test_what_report_tells_is_what_repair_repairs(done: list[Damage]) -> None:
    told = damaged(provisioned(), done)
    undone = damaged(provisioned(drift=DriftRule(applied="first")), done)
    reported = plan_tenant(told.desired, told.observe())
    repaired = plan_tenant(undone.desired, undone.observe())
    assert reported.drift == repaired.drift
    assert all(action in reported.held for action in reported.drift)
    assert all(action in repaired.actions for action in repaired.drift)
    assert all(describe(action) for action in reported.drift)


@given(damages)
def test_a_change_of_the_spec_is_applied_and_repairs_nothing_else(done: list[Damage]) -> None:
    settled = damaged(provisioned(), done)
    held = plan_tenant(settled.desired, settled.observe()).held
    changed = replace(settled.desired, settings=LIMIT, drift=report(applied="second", before=settled.desired))
    plan = plan_tenant(changed, settled.observe())
    assert all(action in held for action in plan.drift)
    settled.play_all(plan.actions)
    if LOGIN in settled.catalogue.roles:
        assert dict(settled.catalogue.roles[LOGIN].settings)["statement_timeout"] == "45s"
    assert settled.row is not None
    assert settled.row.applied == "second"
    after = plan_tenant(replace(changed, drift=report(applied="second")), settled.observe())
    assert [action for action in after.actions if isinstance(action, REPAIRS)] == []


def test_a_change_of_the_spec_that_dies_midway_is_still_a_change() -> None:
    model = provisioned()
    model.desired = replace(model.desired, settings=LIMIT, drift=report(applied="second", before=model.desired))
    plan = plan_tenant(model.desired, model.observe())
    assert [type(action) for action in plan.actions] == [SetSetting, RecordTenant]
    assert plan_tenant(model.desired, model.observe()).actions == plan.actions
    model.play(plan.actions[0])
    assert [type(action) for action in plan_tenant(model.desired, model.observe()).actions] == [RecordTenant]


def test_a_row_without_a_record_counts_the_present_spec_as_applied() -> None:
    model = provisioned()
    assert model.row is not None
    model.row = replace(model.row, applied=None)
    model.alter_role(LOGIN, login=False)
    plan = plan_tenant(model.desired, model.observe())
    assert [type(action) for action in plan.actions] == [RecordTenant]
    assert len(plan.held) == 1


def test_a_lost_row_is_written_and_nothing_else() -> None:
    model = provisioned()
    model.row = None
    model.alter_role(LOGIN, login=False)
    model.play_all(plan_tenant(model.desired, model.observe()).actions)
    assert model.row is not None
    assert model.row.state is RowState.ACTIVE
    assert not model.catalogue.roles[LOGIN].login


def test_another_tenants_release_is_adopted_whole_under_report() -> None:
    model = provisioned()
    assert model.row is not None
    model.row = replace(model.row, state=RowState.RELEASED)
    model.drop_role(LOGIN)
    plan = plan_tenant(model.desired, model.observe())
    assert plan.held == ()
    assert any(isinstance(action, CreateRole) for action in plan.actions)


def test_drift_that_is_not_known_to_be_one_is_put_right() -> None:
    model = provisioned(drift=report(applied="second", unknown=True))
    model.alter_role(LOGIN, login=False)
    plan = plan_tenant(model.desired, model.observe())
    assert plan.drift == plan.held == ()
    assert len(plan.actions) == 2


OPENING = {
    "t_acme_login_a altered: {'elevated': frozenset({'SUPERUSER'})}",
    "t_acme_owner altered: {'login': True, 'elevated': frozenset({'CREATEDB', 'BYPASSRLS'})}",
    "schema given away",
    "table given away",
}


def verdict(damage: Damage) -> str | None:
    model = damaged(provisioned(), [damage])
    plan = plan_tenant(model.desired, model.observe())
    problem = held_problem(plan.held, model.desired, model.observe())
    assert problem is None or (problem.lasting and all(part for part in problem.message.split("; ")))
    return problem.reason if problem else None


def test_what_opens_or_breaks_a_tenant_makes_it_unready_and_the_rest_does_not() -> None:
    judged = {damage.name: verdict(damage) for damage in DAMAGES}
    for name, reason in judged.items():
        foreign = "foreign" in name or "t_other" in name or "pg_read_all_data" in name or "PUBLIC" in name
        if foreign or name in OPENING or ("table_grants +" in name):
            assert reason == "DriftBreaksIsolation", name
        if name.endswith("dropped") or name in {"memberships emptied", "schema_grants emptied", "table_grants emptied"}:
            assert reason == "DriftBreaksTenant", name
    assert judged["t_acme_migrator altered: {'inherit': True}"] is None
    assert judged["default_grants emptied"] is None
    assert judged["t_acme_login_a altered: {'login': False}"] == "DriftBreaksTenant"
