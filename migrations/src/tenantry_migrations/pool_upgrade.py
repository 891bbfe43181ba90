"""Makes the pool of a database, and moves it: one schema for all tenants in it, in one transaction, under one lock."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from psycopg import AsyncConnection, sql

from tenantry_migrations.histories import DIRECTORY, DIRECTORY_SCHEMA, POOL, POOL_SCHEMA
from tenantry_migrations.history import Step
from tenantry_migrations.pool import CUSTOMERS, OWNER
from tenantry_migrations.replay import VERSION_TABLE, fill, render, version_query

Connection = AsyncConnection[Any]
Statement = sql.SQL | sql.Composed

POOL_LOCK: Final = 0x74656E616E747270
"""Held while the pool of a database is made, moved or mended; the letters of "tenantrp"."""

TENANT_OF: Final = "tenantry.tenant_of(name)"
CHOSEN_TENANT: Final = "tenantry.chosen_tenant()"
REPLACE: Final = "CREATE OR REPLACE FUNCTION"
FUNCTION: Final = re.compile(
    r"(?P<verb>CREATE( OR REPLACE)? FUNCTION) tenantry\.(?P<name>\w+\([^)]*\)).*AS \$\$(?P<text>.*)\$\$\Z", re.DOTALL
)
ASKED: Final = {CUSTOMERS: TENANT_OF}
"""The function that one who is no service asks."""


async def pool_version(connection: Connection) -> str | None:
    """Return the revision that the pool of the database is at; None when there is none."""
    return await _version(connection, POOL_SCHEMA)


async def make_pool(connection: Connection, to: str, *, roles: Mapping[str, str]) -> bool:
    """Make the pool at a revision unless there is one, and its directory; return whether it was made now.

    `roles` has a role for each service, OWNER and CUSTOMERS; they exist. Safe to call by several at once: they wait
    for each other. Call it in a transaction of a login that owns the database and is a member of the owner's role.
    """
    await lock_pool(connection)
    await _bring_directory(connection, roles)
    if await pool_version(connection) is not None:
        return False
    await _send(connection, make_statements(to, roles=roles))
    return True


def make_statements(to: str, *, roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what makes an empty pool at a revision."""
    return (
        _create_schema(POOL_SCHEMA, roles),
        *as_owner(POOL_SCHEMA, POOL.steps(None, to), roles=roles),
        *use_grants(POOL_SCHEMA, roles),
    )


def whole_statements(to: str, *, roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what makes the directory and an empty pool in a database that has neither, in one transaction."""
    return (
        _create_schema(DIRECTORY_SCHEMA, roles),
        *as_owner(DIRECTORY_SCHEMA, DIRECTORY.steps(None, DIRECTORY.head), roles=roles),
        *use_grants(DIRECTORY_SCHEMA, roles),
        *function_grants(roles),
        *make_statements(to, roles=roles),
    )


def move_statements(start: str, to: str, *, roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what moves the pool from one revision to a later one, to be run in one transaction with `lock_pool`."""
    return as_owner(POOL_SCHEMA, POOL.steps(start, to), roles=roles)


def guard_statements(revision: str, table: str, *, roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what guards one table of the pool anew."""
    guards = (fill(one, roles=roles, schema=POOL_SCHEMA) for one in POOL.guard(revision, table))
    return _within(POOL_SCHEMA, guards, roles)


def use_grants(schema: str, roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what lets the services and the customers into a schema of the pool; of its tables they get nothing."""
    grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}")
    users = sorted(role for service, role in roles.items() if service != OWNER)
    return tuple(grant.format(sql.Identifier(schema), sql.Identifier(role)) for role in users)


def function_grants(roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what lets the policies ask the directory: a customer who it is, a service whom it may choose."""
    grant = sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}")
    asked = {
        role: TENANT_OF if service == CUSTOMERS else CHOSEN_TENANT
        for service, role in roles.items()
        if service != OWNER
    }
    return tuple(grant.format(sql.SQL(one), sql.Identifier(role)) for role, one in sorted(asked.items()))


def directory_functions() -> dict[str, str]:
    """Return the text of each function of the directory, by its name and arguments."""
    found = (FUNCTION.match(text.strip()) for step in DIRECTORY.steps(None, DIRECTORY.head) for text in step.statements)
    return {one["name"]: one["text"] for one in found if one}


def directory_statements(*, roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return what makes the functions of the directory anew as they were made."""
    texts = [text.strip() for step in DIRECTORY.steps(None, DIRECTORY.head) for text in step.statements]
    made = (
        FUNCTION.sub(lambda one: one[0].replace(one["verb"], REPLACE, 1), text) for text in texts if "FUNCTION" in text
    )
    return _within(DIRECTORY_SCHEMA, (fill(one, roles=roles, schema=DIRECTORY_SCHEMA) for one in made), roles)


async def lock_pool(connection: Connection) -> None:
    """Wait until nobody else makes or moves the pool of this database, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (POOL_LOCK,))


async def _bring_directory(connection: Connection, roles: Mapping[str, str]) -> None:
    current = await _version(connection, DIRECTORY_SCHEMA)
    statements = (
        *((_create_schema(DIRECTORY_SCHEMA, roles),) if current is None else ()),
        *as_owner(DIRECTORY_SCHEMA, DIRECTORY.steps(current, DIRECTORY.head), roles=roles),
        *use_grants(DIRECTORY_SCHEMA, roles),
        *function_grants(roles),
    )
    await _send(connection, statements)


async def _send(connection: Connection, statements: Iterable[Statement]) -> None:
    """Run the statements in one round trip."""
    await connection.execute(sql.SQL(";\n").join(statements))


def as_owner(schema: str, steps: tuple[Step, ...], *, roles: Mapping[str, str]) -> tuple[Statement, ...]:
    """Return the steps as the pool's owner runs them in a schema."""
    return _within(schema, (render(step, roles=roles, schema=schema) for step in steps), roles)


def _within(schema: str, statements: Iterable[Statement], roles: Mapping[str, str]) -> tuple[Statement, ...]:
    return (
        sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(roles[OWNER])),
        sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema)),
        *statements,
        sql.SQL("SET LOCAL ROLE NONE"),
        sql.SQL("SET LOCAL search_path TO DEFAULT"),
    )


def _create_schema(schema: str, roles: Mapping[str, str]) -> Statement:
    statement = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}")
    return statement.format(sql.Identifier(schema), sql.Identifier(roles[OWNER]))


async def _version(connection: Connection, schema: str) -> str | None:
    cursor = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.{VERSION_TABLE}",))
    if await cursor.fetchone() != (True,):
        return None
    row = await (await connection.execute(version_query(schema))).fetchone()
    return None if row is None else str(row[0])
