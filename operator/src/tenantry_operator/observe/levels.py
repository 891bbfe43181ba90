"""Reads what level Tenants were left as."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

LEVELS = """
SELECT t.name, l.said FROM tenantry.levels l JOIN tenantry.tenants t ON t.id = l.tenant_id WHERE t.state <> 'deleted'
"""


async def read_levels(connection: AsyncConnection[Any]) -> dict[str, str]:
    """Return what was said of each, by the tenant's name. UndefinedTable: the registry is of an older version."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(LEVELS)
        return dict(await cursor.fetchall())
