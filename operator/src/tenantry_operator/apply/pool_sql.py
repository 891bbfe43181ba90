"""The statements that take a tenant into the directory of the pool, and out of it."""

from collections.abc import Iterator
from typing import Final

from psycopg import sql

from tenantry_operator.model.pool import DIRECTORY_SCHEMA, DIRECTORY_TABLE, PoolEntry
from tenantry_operator.plan import pool_actions as do

Statement = sql.SQL | sql.Composed

DIRECTORY: Final = sql.Identifier(DIRECTORY_SCHEMA, DIRECTORY_TABLE)


def pool_statements(action: do.PoolTenantAction) -> Iterator[Statement]:
    """Return the statements of one action; a pool is made, and rows are deleted, before any of them."""
    match action:
        case do.EnterPool(entry=entry):
            yield from _entry(entry)
        case do.CloseEntry(id=identity):
            text = sql.SQL("UPDATE {} SET open = false WHERE tenant_id = {}::uuid")
            yield text.format(DIRECTORY, sql.Literal(identity))
        case do.LeavePool(id=identity):
            text = sql.SQL("DELETE FROM {} WHERE tenant_id = {}::uuid")
            yield text.format(DIRECTORY, sql.Literal(identity))


def _entry(entry: PoolEntry) -> Iterator[Statement]:
    """Write a tenant's entry; one that an earlier tenant left under its name goes."""
    columns = {"id": entry.id, "name": entry.name, "a": entry.logins[0], "b": entry.logins[1], "open": entry.open}
    values = {key: sql.Literal(value) for key, value in columns.items()}
    yield sql.SQL(
        "DELETE FROM {table} WHERE tenant_id <> {id}::uuid AND (name = {name} OR login_a = {a} OR login_b = {b})"
    ).format(table=DIRECTORY, **values)
    yield sql.SQL(
        "INSERT INTO {table} (tenant_id, name, login_a, login_b, open) VALUES ({id}::uuid, {name}, {a}, {b}, {open})"
        " ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, login_a = excluded.login_a,"
        " login_b = excluded.login_b, open = excluded.open"
    ).format(table=DIRECTORY, **values)
