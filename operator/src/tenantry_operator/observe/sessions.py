"""Reads who is connected."""

from typing import Any

from psycopg import AsyncConnection

from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.tenant import Catalogue


async def observe_sessions(
    connection: AsyncConnection[Any], names: TenantNames, catalogue: Catalogue
) -> frozenset[str]:
    """Return those of two logins by which somebody is connected to any database; of one alone nobody asks."""
    logins = [login for login in names.logins if login in catalogue.roles]
    if len(logins) < len(names.logins):
        return frozenset()
    query = "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE usename = ANY (%s::text[])"
    cursor = await connection.execute(query, (logins,))
    return frozenset(str(name) for (name,) in await cursor.fetchall())
