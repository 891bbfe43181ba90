"""Upgrades the registry database, and keeps the released revision in it."""

from typing import Any, Final

from psycopg import AsyncConnection, errors, sql

from tenantry_migrations.errors import NothingReleased
from tenantry_migrations.histories import REGISTRY, REGISTRY_SCHEMA, TENANT
from tenantry_migrations.replay import VERSION_TABLE, render, version_query

Connection = AsyncConnection[Any]

_UPGRADE_LOCK: Final = 0x74656E616E747279
"""Held while the registry is upgraded; the letters of "tenantry"."""


async def upgrade_registry(connection: Connection) -> str:
    """Bring the registry to this version's head, release TENANT's head if nothing is released; returns the head.

    Safe to call at each start, and by several processes at once: they wait for each other. All in one transaction,
    so that a failure leaves what was there. Raises UnknownRevision, with nothing done, when the registry is newer
    than this version. The login must own the database. No service is granted anything: see REGISTRY.privileges.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_UPGRADE_LOCK,))
        await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(REGISTRY_SCHEMA)))
        current = await _current(connection)
        for step in REGISTRY.steps(current, REGISTRY.head):
            await connection.execute(render(step, roles={}, schema=REGISTRY_SCHEMA))
        await connection.execute(
            "INSERT INTO tenantry.released (revision) VALUES (%s) ON CONFLICT DO NOTHING", (TENANT.head,)
        )
    return REGISTRY.head


async def released_revision(connection: Connection) -> str:
    """Return the tenant revision that new schemas are made at. Raises NothingReleased before the first upgrade."""
    try:
        async with connection.transaction():
            cursor = await connection.execute("SELECT revision FROM tenantry.released")
            row = await cursor.fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        row = None
    if row is None:
        raise NothingReleased("the registry has no released revision; upgrade it first")
    return str(row[0])


async def _current(connection: Connection) -> str | None:
    cursor = await connection.execute("SELECT to_regclass(%s)", (f"{REGISTRY_SCHEMA}.{VERSION_TABLE}",))
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return None
    version = await (await connection.execute(version_query(REGISTRY_SCHEMA))).fetchone()
    return None if version is None else str(version[0])
