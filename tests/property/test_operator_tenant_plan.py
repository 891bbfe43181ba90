"""A played plan leaves an empty plan; a crash after any step still converges; what is not ours is never touched."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds.reasons import Reason
from tenantry_operator.model.names import OWNER, TENANTS, TenantNames, service_login
from tenantry_operator.model.tenant import (
    PUBLIC,
    Deletion,
    DesiredTenant,
    ForeignGrant,
    Grant,
    Leaving,
    Marker,
    MarkerState,
    Membership,
    ObservedSecret,
    Place,
    RegistryRow,
    Role,
    RowState,
)
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.tenant import Plan, plan_tenant
from tenantry_testing.tenant_model import TenantModel, in_steps

NAMES = TenantNames("acme")
VERSION = "t0001"
ROUNDS = 4


def make_desired(**changes: object) -> DesiredTenant:
    grants = frozenset(Grant("users", NAMES.service_role("accounts"), word) for word in ("SELECT", "INSERT"))
    desired = DesiredTenant(
        names=NAMES,
        uid="uid-1",
        installation="installation-1",
        new_id="id-1",
        place=Place("primary", "app", "db.example", 5432, "verify-full"),
        secret_name="acme-database",
        secret_namespace="tenantry-system",
        released=VERSION,
        service_tables={VERSION: grants},
        settings=frozenset({("statement_timeout", "30s")}),
    )
    return replace(desired, **changes)  # type: ignore[arg-type]


def plan_now(model: TenantModel) -> Plan:
    return plan_tenant(model.desired, model.observe())


def settle(model: TenantModel) -> None:
    """Plan and play as the operator does, until nothing is left to do."""
    for _ in range(ROUNDS):
        plan = plan_now(model)
        assert plan.refusal is None, plan.refusal
        if plan.is_empty:
            return
        model.play_all(plan.actions)
    pytest.fail(f"it does not converge: {plan_now(model).actions}")


@cache
def _first() -> TenantModel:
    model = TenantModel(make_desired())
    settle(model)
    return model


def provisioned() -> TenantModel:
    first = _first()
    return replace(first, secrets=dict(first.secrets), passwords=dict(first.passwords))


def assert_usable(model: TenantModel) -> None:
    """The Secret's password is the login's, and the services know the tenant."""
    secret = model.secrets[model.desired.secret_name]
    assert model.passwords[NAMES.login] == secret.data["password"]
    assert secret.data["username"] == NAMES.login
    assert model.row is not None
    assert model.row.state is RowState.ACTIVE
    assert model.catalogue.roles[NAMES.login].login


@dataclass(frozen=True)
class Damage:
    """Something that a person or a crash did."""

    name: str
    do: Callable[[TenantModel], None]

    def __repr__(self) -> str:
        return self.name


def _catalogue(**changes: Callable[[TenantModel], object]) -> Callable[[TenantModel], None]:
    def change(model: TenantModel) -> None:
        made = {key: make(model) for key, make in changes.items()}
        model.catalogue = replace(model.catalogue, **made)  # type: ignore[arg-type]

    return change


def _drop(role: str) -> Damage:
    return Damage(f"{role} dropped", lambda model: model.drop_role(role))


def _alter(role: str, **changes: object) -> Damage:
    def change(model: TenantModel) -> None:
        if role in model.catalogue.roles:
            model.alter_role(role, **changes)

    return Damage(f"{role} altered: {changes}", change)


def _add(where: str, *items: object) -> Damage:
    return Damage(
        f"{where} + {items}", _catalogue(**{where: lambda model: getattr(model.catalogue, where) | set(items)})
    )


def _empty(where: str) -> Damage:
    def nothing(_: TenantModel) -> object:
        return frozenset()

    return Damage(f"{where} emptied", _catalogue(**{where: nothing}))


def _edit_secret(**changes: str) -> Damage:
    def change(model: TenantModel) -> None:
        secret = model.secrets.get("acme-database")
        if secret is not None:
            data = {key: value for key, value in {**secret.data, **changes}.items() if value}
            model.secrets["acme-database"] = replace(secret, data=data, resource_version=f"{secret.resource_version}0")

    return Damage(f"Secret edited: {sorted(changes)}", change)


def _lose_row(model: TenantModel) -> None:
    model.row = None


def _delete_secret(model: TenantModel) -> None:
    model.secrets.pop("acme-database", None)


def _give_schema_away(model: TenantModel) -> None:
    model.catalogue = replace(model.catalogue, schemas={**model.catalogue.schemas, NAMES.schema: "postgres"})


def _rename_secret(model: TenantModel) -> None:
    model.desired = replace(model.desired, secret_name="renamed")


FOREIGN = ForeignGrant("table", "t_other.things", "t_other_owner", NAMES.login)
DAMAGES = (
    *(_drop(role) for role in NAMES.roles if role != NAMES.owner),
    _alter(NAMES.login, login=False),
    _alter(NAMES.login, connection_limit=3, expires=True),
    _alter(NAMES.login, settings=frozenset({("search_path", "public"), ("work_mem", "1GB")})),
    _alter(NAMES.login, elevated=frozenset({"SUPERUSER"})),
    _alter(NAMES.migrator, inherit=True),
    _alter(NAMES.owner, login=True, elevated=frozenset({"CREATEDB", "BYPASSRLS"})),
    _add("memberships", Membership(NAMES.owner, NAMES.login)),
    _add("memberships", Membership(NAMES.app, "t_other_login_a")),
    _add("memberships", Membership("pg_read_all_data", NAMES.login, True)),
    _add("memberships", Membership(NAMES.migrator, NAMES.login, True)),
    _empty("memberships"),
    _add("schema_grants", Grant(NAMES.schema, PUBLIC, "USAGE"), Grant(NAMES.service_schema, NAMES.login, "USAGE")),
    _add("schema_grants", Grant(NAMES.schema, NAMES.app, "CREATE", True)),
    _empty("schema_grants"),
    _add("table_grants", Grant("users", NAMES.login, "SELECT")),
    _empty("table_grants"),
    _add("default_grants", Grant("TABLES", PUBLIC, "SELECT")),
    _empty("default_grants"),
    _add("foreign", FOREIGN),
    Damage("schema given away", _give_schema_away),
    Damage("Secret deleted", _delete_secret),
    _edit_secret(password="hunter2"),
    _edit_secret(password=""),
    _edit_secret(password="line\nbreak"),
    _edit_secret(host="elsewhere", uri=""),
    Damage("row lost", _lose_row),
    Damage("Secret renamed in the spec", _rename_secret),
)
damages = st.lists(st.sampled_from(DAMAGES), max_size=8)


def damaged(model: TenantModel, done: list[Damage]) -> TenantModel:
    for damage in done:
        damage.do(model)
    dropped = {damage.name.removesuffix(" dropped") for damage in done}
    # Nothing can be granted to what is not there.
    there = {*model.catalogue.roles, PUBLIC, OWNER, TENANTS, service_login("accounts"), "pg_read_all_data"}
    held = model.catalogue
    model.catalogue = replace(
        held,
        memberships=frozenset(m for m in held.memberships if not dropped & {m.role, m.member}),
        schema_grants=frozenset(g for g in held.schema_grants if g.grantee in there),
        table_grants=frozenset(g for g in held.table_grants if g.grantee in there),
        default_grants=frozenset(g for g in held.default_grants if g.grantee in there),
        foreign=frozenset(g for g in held.foreign if g.grantee in there),
    )
    return model


def test_a_new_tenant_needs_one_plan() -> None:
    model = TenantModel(make_desired())
    model.play_all(plan_now(model).actions)
    assert plan_now(model).is_empty
    assert_usable(model)


@given(damages)
def test_playing_a_plan_leaves_an_empty_one(done: list[Damage]) -> None:
    model = damaged(provisioned(), done)
    plan = plan_now(model)
    assert plan.refusal is None
    model.play_all(plan.actions)
    assert plan_now(model).actions == ()
    assert_usable(model)


@given(damages, st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_a_crash_after_any_step_converges(done: list[Damage], crashes: list[int]) -> None:
    fresh = TenantModel(make_desired())
    for model in (fresh, damaged(provisioned(), done)):
        for crash in crashes:
            for step in in_steps(plan_now(model).actions)[:crash]:
                model.play_all(step)
        settle(model)
        assert_usable(model)


@given(damages, st.sampled_from(Leaving), st.lists(st.integers(0, 9), max_size=4))
def test_a_deletion_converges_after_any_crash(done: list[Damage], leaving: Leaving, crashes: list[int]) -> None:
    model = damaged(provisioned(), done)
    model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
    for crash in crashes:
        plan = plan_now(model)
        assert plan.refusal is None
        for step in in_steps(plan.actions)[:crash]:
            model.play_all(step)
    settle(model)
    assert not [one for one in model.secrets.values() if one.ours]
    assert NAMES.login not in model.catalogue.roles
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
    settle(model)
    assert not model.secrets
    assert NAMES.login not in model.catalogue.roles
    if leaving is Leaving.DELETE:
        assert model.catalogue.roles == {}
        assert model.row is None or model.row.state is RowState.DELETED


@given(damages, st.integers(0, 9))
def test_released_data_is_adopted_with_its_id(done: list[Damage], crash: int) -> None:
    model = damaged(provisioned(), done)
    model.desired = replace(model.desired, deletion=Deletion(Leaving.RETAIN, protected=False))
    settle(model)
    model.desired = make_desired(uid="uid-2", new_id="id-2")
    for step in in_steps(plan_now(model).actions)[:crash]:
        model.play_all(step)
    settle(model)
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
    settle(model)
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
