"""What a person, an administrator or a crash can do to a tenant, for the model of `tenant_model`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from tenantry_operator.model.credentials import DesiredCredentials
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import OWNER, TENANTS, TenantNames, service_login
from tenantry_operator.model.reads import Reads
from tenantry_operator.model.tenant import (
    PUBLIC,
    DesiredTenant,
    ForeignGrant,
    Grant,
    Membership,
    Place,
)
from tenantry_testing.tenant_model import TenantModel

NAMES: Final = TenantNames("acme")
VERSION: Final = "t0001"
LOGIN: Final = NAMES.logins[0]
"""The login that a new tenant has."""
NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


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
        system_namespace="tenantry-system",
        released=VERSION,
        credentials=DesiredCredentials(NOW),
        service_tables={VERSION: grants},
        settings=frozenset({("statement_timeout", "30s")}),
        reader=True,
    )
    return replace(desired, **changes)  # type: ignore[arg-type]


def make_desired_apart(**changes: object) -> DesiredTenant:
    """Return a tenant that has a database of its own."""
    place = Place("primary", NAMES.database, "db.example", 5432, "verify-full")
    return make_desired(isolation=Isolation.DATABASE, place=place, **changes)


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

    # A set has another order in each process.
    said = {key: sorted(value) if isinstance(value, frozenset) else value for key, value in changes.items()}
    return Damage(f"{role} altered: {said}", change)


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


def _log_in(model: TenantModel) -> None:
    """Log in as whoever has a login; the session lasts, whatever becomes of the login."""
    model.sessions |= {name for name, role in model.catalogue.roles.items() if role.login}


def _give_schema_away(model: TenantModel) -> None:
    model.catalogue = replace(model.catalogue, schemas={**model.catalogue.schemas, NAMES.schema: "postgres"})


def _give_table_away(model: TenantModel) -> None:
    model.catalogue = replace(model.catalogue, table_owners={**model.catalogue.table_owners, "users": "postgres"})


def _change_password(model: TenantModel) -> None:
    if LOGIN in model.catalogue.roles:
        model.passwords[LOGIN] = "by hand"


def _rename_secret(model: TenantModel) -> None:
    model.desired = replace(model.desired, secret_name="renamed")


def _read(**changes: bool) -> Damage:
    """Change what the read-only role holds on what is there, if there is such a role."""

    def change(model: TenantModel) -> None:
        if NAMES.readonly in model.catalogue.roles:
            model.catalogue = replace(model.catalogue, reads=Reads(**changes))

    return Damage(f"reads: {changes}", change)


def _lend(role: str, member: str) -> Damage:
    def change(model: TenantModel) -> None:
        if {role, member} & {NAMES.readonly} <= {*model.catalogue.roles}:
            one = Membership(role, member)
            model.catalogue = replace(model.catalogue, memberships=model.catalogue.memberships | {one})

    return Damage(f"{role} lent to {member}", change)


FOREIGN = ForeignGrant("table", "t_other.things", "t_other_owner", LOGIN)
DAMAGES = (
    *(_drop(role) for role in (*NAMES.group_roles[1:], LOGIN)),
    _alter(LOGIN, login=False),
    _alter(LOGIN, login=True),
    _alter(NAMES.readonly, login=True),
    _alter(LOGIN, connection_limit=3, expires=True),
    _alter(LOGIN, settings=frozenset({("search_path", "public"), ("work_mem", "1GB")})),
    _alter(LOGIN, elevated=frozenset({"SUPERUSER"})),
    _alter(NAMES.migrator, inherit=True),
    _alter(NAMES.owner, login=True, elevated=frozenset({"CREATEDB", "BYPASSRLS"})),
    _add("memberships", Membership(NAMES.owner, LOGIN)),
    _add("memberships", Membership(NAMES.app, "t_other_login_a")),
    _add("memberships", Membership("pg_read_all_data", LOGIN, True)),
    _add("memberships", Membership(NAMES.migrator, LOGIN, True)),
    _add("memberships", Membership(NAMES.app, LOGIN, odd=True)),
    _add("memberships", Membership(NAMES.service_role("accounts"), service_login("accounts"))),
    _add("memberships", Membership(NAMES.service_role("accounts"), NAMES.app)),
    _empty("memberships"),
    _add("schema_grants", Grant(NAMES.schema, PUBLIC, "USAGE"), Grant(NAMES.service_schema, LOGIN, "USAGE")),
    _add("schema_grants", Grant(NAMES.schema, NAMES.app, "CREATE", True)),
    _empty("schema_grants"),
    _add("table_grants", Grant("users", LOGIN, "SELECT")),
    _empty("table_grants"),
    _add("default_grants", Grant("TABLES", PUBLIC, "SELECT")),
    _empty("default_grants"),
    _add("foreign", FOREIGN),
    _add("elsewhere", (LOGIN, "postgres"), (NAMES.owner, "postgres")),
    Damage("schema given away", _give_schema_away),
    Damage("table given away", _give_table_away),
    _add("settings_elsewhere", (LOGIN, "", "work_mem"), (LOGIN, "postgres", "search_path")),
    _add("table_grants", Grant("users", NAMES.app, "SELECT (email)")),
    Damage("password changed", _change_password),
    Damage("Secret deleted", _delete_secret),
    _edit_secret(password="hunter2"),
    _edit_secret(password=""),
    _edit_secret(password="line\nbreak"),
    _edit_secret(host="elsewhere", uri=""),
    _read(some=True, lacks=True),
    _read(some=False, lacks=True),
    _read(some=True, more=True),
    _lend(NAMES.readonly, "reporting"),
    _lend(NAMES.readonly, "t_other_login_a"),
    _lend(NAMES.app, NAMES.readonly),
    Damage("somebody logs in", _log_in),
    Damage("row lost", _lose_row),
    Damage("Secret renamed in the spec", _rename_secret),
)


def _alter_database(**changes: object) -> Damage:
    def change(model: TenantModel) -> None:
        if model.catalogue.database is not None:
            there = replace(model.catalogue.database, **changes)  # type: ignore[arg-type]
            model.catalogue = replace(model.catalogue, database=there)

    return Damage(f"database altered: {changes}", change)


def _grant_database(*grants: tuple[str, str, bool]) -> Damage:
    def change(model: TenantModel) -> None:
        there = model.catalogue.database
        if there is not None:
            more = {Grant(there.name, grantee, privilege, grantable) for grantee, privilege, grantable in grants}
            model.catalogue = replace(model.catalogue, database=replace(there, grants=there.grants | more))

    return Damage(f"database granted: {grants}", change)


DATABASE_DAMAGES = (
    _grant_database((PUBLIC, "CONNECT", False), (PUBLIC, "TEMPORARY", False)),
    _grant_database(("t_other_login_a", "CONNECT", False)),
    _grant_database((LOGIN, "CREATE", True)),
    _alter_database(grants=frozenset()),
    _alter_database(marker_text=None),
    _alter_database(marker_text="mine"),
    _alter_database(owner="t_other_owner"),
    _alter_database(open=False),
    _alter_database(template=True),
    _alter_database(connection_limit=0),
)
"""What can be done to the database of a tenant that has one of its own."""


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
        elsewhere=frozenset(one for one in held.elsewhere if one[0] in there),
        settings_elsewhere=frozenset(one for one in held.settings_elsewhere if one[0] in there),
    )
    return model
