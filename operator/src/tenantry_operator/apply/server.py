"""Does the actions of a server's plan in its databases. All share objects, so nothing here runs twice at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import AsyncConnection, sql

from tenantry_migrations import REGISTRY, REGISTRY_SCHEMA, VERSION_TABLE, upgrade_registry, version_query
from tenantry_operator.apply.tenant import LIMITS
from tenantry_operator.apply.tenant_sql import Context, Statement, grantee, statements, word
from tenantry_operator.model.names import OWNER, TenantNames, service_login
from tenantry_operator.plan import actions as do
from tenantry_operator.plan import server as plan
from tenantry_operator.plan.database_actions import GrantOnDatabase, RevokeOnDatabase

Connection = AsyncConnection[Any]


@dataclass(frozen=True)
class ServerContext:
    database: str
    verifiers: dict[str, str] = field(repr=False)
    """What Postgres stores of each login's password."""


async def apply_on_server(
    connection: Connection, actions: Sequence[plan.ServerPlanAction], context: ServerContext
) -> None:
    """Do all in one transaction; only databases are made before it, for Postgres wants it so. Raises psycopg.Error."""
    for action in actions:
        if isinstance(action, plan.CreateDatabase):
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(action.database)))
    batch: list[Statement] = [LIMITS]
    for action in actions:
        if not isinstance(action, plan.CreateDatabase | do.WriteSecret):
            batch += _statements(action, context)
    await connection.execute(sql.SQL(";\n").join(batch))


async def login_oids(connection: Connection) -> dict[str, int]:
    """Return the oid of each service's login."""
    cursor = await connection.execute("SELECT rolname, oid::bigint FROM pg_roles WHERE rolname LIKE 'tenantry_svc_%'")
    return {str(name): int(oid) for name, oid in await cursor.fetchall()}


async def registry_is_ready(connection: Connection) -> bool:
    """Whether the registry is at the newest revision and the services hold what they need of it; only reads."""
    cursor = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{REGISTRY_SCHEMA}.{VERSION_TABLE}",))
    if await cursor.fetchone() != (True,):
        return False
    cursor = await connection.execute(version_query(REGISTRY_SCHEMA))
    return await cursor.fetchone() == (REGISTRY.head,) and not await _missing_grants(connection)


async def prepare_registry(connection: Connection) -> str:
    """Bring the registry to the newest revision and give the services what they need of it; return the revision.

    The connection is in the registry's database. Raises psycopg.Error, MigrationError.
    """
    revision = await upgrade_registry(connection)
    missing = await _missing_grants(connection)
    if missing:
        await connection.execute(sql.SQL(";\n").join([LIMITS, *missing]))
    return revision


HELD: Final = """
SELECT w.login, w.relation, w.privilege,
    has_schema_privilege(w.login, %(schema)s, 'USAGE'), has_table_privilege(w.login, w.relation, w.privilege)
FROM unnest(%(logins)s::text[], %(relations)s::text[], %(privileges)s::text[]) AS w(login, relation, privilege)
"""


async def _missing_grants(connection: Connection) -> list[Statement]:
    wanted = [
        (service_login(held.service), f"{REGISTRY_SCHEMA}.{held.table}", privilege)
        for held in REGISTRY.privileges(REGISTRY.head)
        for privilege in sorted(held.privileges)
    ]
    logins, relations, privileges = (list(column) for column in zip(*wanted, strict=True))
    parameters = {"schema": REGISTRY_SCHEMA, "logins": logins, "relations": relations, "privileges": privileges}
    missing: dict[str, Statement] = {}
    for login, relation, privilege, in_schema, on_table in await (
        await connection.execute(HELD, parameters)
    ).fetchall():
        grantee_ = sql.Identifier(login)
        if not in_schema:
            schema = sql.Identifier(REGISTRY_SCHEMA)
            missing[login] = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, grantee_)
        if not on_table:
            table = sql.Identifier(*relation.split("."))
            grant = sql.SQL("GRANT {} ON TABLE {} TO {}").format(word(privilege), table, grantee_)
            missing[f"{login} {relation} {privilege}"] = grant
    return list(missing.values())


async def let_go(connection: Connection, logins: Sequence[str], *, held: str, free: str) -> None:
    """Let no service log in any more, and another DatabaseServer hold the server; nothing if it is not held by us."""
    cursor = await connection.execute("SELECT shobj_description(%s::regrole, 'pg_authid')", (OWNER,))
    if await cursor.fetchone() != (held,):
        return
    closed = [sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(login)) for login in logins]
    mark = sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(OWNER), sql.Literal(free))
    await connection.execute(sql.SQL(";\n").join([LIMITS, *closed, mark]))


def _statements(action: plan.ServerPlanAction, context: ServerContext) -> Sequence[Statement]:
    match action:
        case plan.ClaimServer(claim=mark):
            return [sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(OWNER), sql.Literal(mark))]
        case plan.RevokeOnPublicSchema(grant=g):
            return [sql.SQL("REVOKE {} ON SCHEMA public FROM {}").format(word(g.privilege), grantee(g.grantee))]
        case (
            do.CreateRole()
            | do.AlterRole()
            | do.StripRole()
            | do.GrantMembership()
            | do.RevokeMembership()
            | GrantOnDatabase()
            | RevokeOnDatabase()
        ):
            return statements(action, _shared(context))
        case do.SetPassword(role=role):
            return statements(action, _shared(context, context.verifiers[role]))
        case _:
            raise TypeError(f"no statement for {type(action).__name__}")


def _shared(context: ServerContext, verifier: str = "") -> Context:
    """Make the context of actions that name their roles in full; no tenant is meant."""
    return Context(TenantNames(""), context.database, verifier)
