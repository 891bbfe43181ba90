"""Reads at which revision the tenants' schemas are: the registry's list, and each schema's own word."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, errors, sql
from psycopg.rows import tuple_row

from tenantry_migrations import VERSION_TABLE, version_query

BATCH: Final = 500
ATTEMPTS: Final = 3
"""A schema may be dropped between the look at whether it is there and the look into it."""

PLACED = """
    SELECT name, id::text, uid::text, server, database, schema, version, isolation FROM tenantry.tenants
    WHERE state NOT IN ('released', 'deleted') ORDER BY name
"""
THERE = "SELECT s FROM unnest(%s::text[]) s WHERE to_regclass(quote_ident(s) || '.' || %s) IS NOT NULL"


@dataclass(frozen=True)
class Placed:
    """A tenant that is somebody's, as the registry has it. `version` is the registry's copy."""

    name: str
    id: str
    uid: str
    server: str
    database: str
    schema: str
    version: str | None
    isolation: str


async def read_placed(connection: AsyncConnection[Any]) -> tuple[str | None, tuple[Placed, ...]]:
    """Return the released revision, and all tenants that are placed. UndefinedTable: there is no registry yet."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute("SELECT revision FROM tenantry.released")
        released = await cursor.fetchone()
        await cursor.execute(PLACED)
        rows = await cursor.fetchall()
    return (released[0] if released else None), tuple(Placed(*row) for row in rows)


async def read_versions(connection: AsyncConnection[Any], schemas: Iterable[str]) -> dict[str, str]:
    """Return what each schema says of itself; one that has no version yet, or is not there, is left out."""
    wanted, versions = list(schemas), dict[str, str]()
    for start in range(0, len(wanted), BATCH):
        versions |= await _read(connection, wanted[start : start + BATCH])
    return versions


async def read_version(connection: AsyncConnection[Any], schema: str) -> str | None:
    """Return what one schema says of itself."""
    return (await read_versions(connection, (schema,))).get(schema)


async def _read(connection: AsyncConnection[Any], schemas: list[str]) -> dict[str, str]:
    for _ in range(ATTEMPTS):
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(THERE, (schemas, VERSION_TABLE))
            there = [str(name) for (name,) in await cursor.fetchall()]
            if not there:
                return {}
            try:
                await cursor.execute(sql.SQL(" UNION ALL ").join(map(_one, there)))
            except (errors.UndefinedTable, errors.InvalidSchemaName):
                continue
            return {schema: str(version) for schema, version in await cursor.fetchall()}
    return {}


def _one(schema: str) -> sql.Composed:
    return sql.SQL("SELECT {}, (SELECT v.version FROM ({}) v LIMIT 1)").format(
        sql.Literal(schema), version_query(schema)
    )
