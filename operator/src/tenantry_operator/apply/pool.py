"""Makes a server's pool, mends it, moves it, and takes tenants in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import AsyncConnection, sql

from tenantry_migrations import (
    TENANT_ID,
    directory_statements,
    guard_statements,
    lock_pool,
    make_pool,
    move_statements,
    pool_version,
)
from tenantry_operator.apply.pool_writers import writers_ended
from tenantry_operator.apply.revoked import see_revoked
from tenantry_operator.apply.tenant_sql import (
    CannotRevoke,
    Context,
    Statement,
    borrow,
    give_back,
    grantee,
    statements,
    word,
)
from tenantry_operator.clients.sqlstate import Failure, FailureKind, classify
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.pool import (
    DIRECTORY_SCHEMA,
    OWNERS_PART,
    POOL_ROLES,
    POOL_SCHEMA,
)
from tenantry_operator.model.pool_catalogue import pool_members
from tenantry_operator.plan import actions as do
from tenantry_operator.plan import pool as plan
from tenantry_operator.plan.pool_actions import LeavePool

Connection = AsyncConnection[Any]

LIMITS: Final = sql.SQL("SET LOCAL lock_timeout TO '10s'; SET LOCAL statement_timeout TO '60s'")
ROWS_AT_ONCE: Final = 10_000

TABLES: Final[LiteralString] = """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %s AND NOT a.attisdropped
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') ORDER BY c.oid DESC
"""
"""The youngest first: a table refers to older ones."""


ROLES: Final[LiteralString] = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%s::name[])"


@dataclass(frozen=True)
class Mended:
    """What was done, and why the rest was not."""

    done: tuple[plan.PoolAction, ...]
    failures: tuple[Failure, ...] = ()
    moved: bool = False
    """Whether the pool was found at another revision than the rest was for."""


async def make(connection: Connection, to: str) -> None:
    """Make the pool and its roles in one transaction; nothing if somebody else made it meanwhile. In autocommit."""
    async with connection.transaction():
        await connection.execute(LIMITS)
        await lock_pool(connection)
        wanted = [role for part, role in POOL_ROLES.items() if part != OWNERS_PART]
        cursor = await connection.execute(
            "SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%s::name[])", (wanted,)
        )
        there = {name for (name,) in await cursor.fetchall()}
        for role in sorted({*wanted} - there):
            await connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        await make_pool(connection, to, roles=POOL_ROLES)
        cursor = await connection.execute("SELECT rolname::text FROM pg_roles WHERE rolname ~ '^tenantry_svc_'")
        for member in sorted(pool_members(name for (name,) in await cursor.fetchall())):
            grant = do.GrantMembership(membership=member, reason="")
            for statement in statements(grant, _shared()):
                await connection.execute(statement)


async def move(connection: Connection, to: str, *, lock_timeout: str, seconds: float) -> None:
    """Bring the pool to a later revision, in one transaction and under its lock. In autocommit.

    Raises psycopg.Error, MigrationError; then nothing was done.
    """
    async with connection.transaction():
        limit = sql.SQL("SET LOCAL lock_timeout TO {}; SET LOCAL statement_timeout TO {}")
        await connection.execute(limit.format(sql.Literal(lock_timeout), sql.Literal(f"{round(seconds * 1000)}ms")))
        await lock_pool(connection)
        version = await pool_version(connection)
        for statement in move_statements(version, to, roles=POOL_ROLES) if version not in (None, to) else ():
            await connection.execute(statement)


async def mend(connection: Connection, actions: Sequence[plan.PoolAction], *, version: str) -> Mended:
    """Do each action in a transaction of its own: one that is refused to us keeps no other from being done.

    `version` is what the actions were planned for. Once the pool is moved, what should be done is another question.
    """
    done: list[plan.PoolAction] = []
    failures: list[Failure] = []
    for action in actions:
        try:
            async with connection.transaction():
                await connection.execute(LIMITS)
                await lock_pool(connection)
                if await pool_version(connection) != version:
                    return Mended(tuple(done), tuple(failures), moved=True)
                for statement in _mending(action):
                    await connection.execute(statement)
                if isinstance(action, do.RevokeMembership):
                    await see_revoked(connection, action.membership)
        except CannotRevoke as error:
            failures.append(Failure(FailureKind.PRIVILEGE, "PrivilegesMissing", str(error)))
            continue
        except psycopg.Error as error:
            failures.append(classify(error))
            continue
        done.append(action)
    return Mended(tuple(done), tuple(failures))


def _mending(action: plan.PoolAction) -> Sequence[Statement]:
    match action:
        case plan.GuardTable(table=table, revision=revision):
            return guard_statements(revision, table, roles=POOL_ROLES)
        case plan.RestoreDirectory():
            return directory_statements(roles=POOL_ROLES)
        case do.OwnSchema(lender=lender) | do.OwnTable(lender=lender):
            return (borrow(lender), *statements(action, _shared()), give_back(lender))
        case plan.DropPolicy() | plan.GrantOnFunction() | plan.RevokeOnFunction():
            return (_statement(action),)
    return statements(action, _shared())


def _statement(action: plan.DropPolicy | plan.GrantOnFunction | plan.RevokeOnFunction) -> Statement:
    if isinstance(action, plan.DropPolicy):
        table = sql.Identifier(POOL_SCHEMA, action.table)
        return sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(action.policy), table)
    grant, schema = action.grant, sql.Identifier(DIRECTORY_SCHEMA)
    text = "GRANT {} ON FUNCTION {}.{} TO {}"
    if isinstance(action, plan.RevokeOnFunction):
        text = "REVOKE {} ON FUNCTION {}.{} FROM {} CASCADE"
    return sql.SQL(text).format(word(grant.privilege), schema, word(grant.on), grantee(grant.grantee))


async def delete_rows(connection: Connection, action: LeavePool, *, first: Sequence[Statement]) -> None:
    """Delete a tenant's rows, in transactions of their own that each begin with `first`, until none is left.

    Row security lets the owner reach the rows of the tenant that it names, and no others. A row that an open
    transaction has written is not seen, so that is waited for. Raises WritersRemain.
    """
    await writers_ended(connection)
    cursor = await connection.execute(TABLES, (TENANT_ID, POOL_SCHEMA))
    for (table,) in await cursor.fetchall():
        deletion = sql.SQL(
            "SET LOCAL app.tenant TO {tenant}; DELETE FROM {table} WHERE tenant_id = {tenant}::uuid "
            "AND ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE tenant_id = {tenant}::uuid LIMIT {limit}))"
        ).format(
            tenant=sql.Literal(action.id), table=sql.Identifier(POOL_SCHEMA, table), limit=sql.Literal(ROWS_AT_ONCE)
        )
        batch = sql.SQL(";\n").join([*first, deletion])
        while await _count(connection, batch) == ROWS_AT_ONCE:
            pass


async def _count(connection: Connection, batch: sql.Composed) -> int:
    cursor = await connection.execute(batch)
    while cursor.nextset():
        pass
    return cursor.rowcount


def _shared() -> Context:
    """Make the context of actions that name their roles in full; no tenant is meant."""
    return Context(TenantNames(""), "")
