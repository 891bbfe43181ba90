"""Reads the registry."""

from dataclasses import dataclass, replace
from hashlib import md5
from typing import Any

from psycopg import AsyncConnection, errors
from psycopg.rows import tuple_row

from tenantry_operator.model.names import login_number
from tenantry_operator.model.placement import Taken
from tenantry_operator.model.tenant import RegistryRow, RowState

ROW = """
SELECT (SELECT revision FROM tenantry.released), t.id::text, t.uid::text, t.server, t.database, t.state, t.version,
    t.applied, t.isolation, t.shard, t.service_login
FROM (SELECT 1) one LEFT JOIN tenantry.tenants t ON t.name = %s AND t.state <> 'deleted'
"""

ALL = """
SELECT name, id::text, uid::text, server, database, state, version, md5(applied), isolation, shard, service_login
FROM tenantry.tenants WHERE state <> 'deleted'
"""

TAKEN = """
SELECT server, service_login, count(*) FILTER (WHERE state <> 'released'), count(*)
FROM tenantry.tenants WHERE state <> 'deleted' GROUP BY server, service_login
"""


class RegistryBehind(Exception):
    """The registry is not yet at the revision of this version; the DatabaseServer's pass is about to bring it there."""


@dataclass(frozen=True)
class Registered:
    """A tenant's row, if there is one, and the revision at which new tenants are made."""

    released: str | None
    row: RegistryRow | None


async def read_registered(connection: AsyncConnection[Any], name: str) -> Registered:
    """Read both in one round trip.

    Raises UndefinedTable when the registry was never upgraded, RegistryBehind when not yet by this version.
    """
    async with connection.cursor(row_factory=tuple_row) as cursor:
        try:
            await cursor.execute(ROW, (name,))
        except errors.UndefinedColumn as error:
            raise RegistryBehind("the registry is about to be upgraded") from error
        answer = await cursor.fetchone()
    if answer is None:
        return Registered(None, None)
    released, *columns = answer
    return Registered(released, None if columns[0] is None else _row(*columns))


async def read_rows(connection: AsyncConnection[Any]) -> tuple[str | None, dict[str, RegistryRow]]:
    """Return the released revision, and every row by the tenant's name, with what was applied as `in_bulk` has it."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute("SELECT revision FROM tenantry.released")
        released = await cursor.fetchone()
        await cursor.execute(ALL)
        rows = {name: _row(*columns) for name, *columns in await cursor.fetchall()}
    return (released[0] if released else None), rows


async def read_taken(connection: AsyncConnection[Any]) -> dict[str, Taken]:
    """Return what is taken of each server that any tenant is on, or was before it was released."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(TAKEN)
        rows = await cursor.fetchall()
    tenants: dict[str, int] = {}
    logins: dict[str, dict[int, int]] = {}
    for server, login, placed, held in rows:
        tenants[server] = tenants.get(server, 0) + placed
        by_login = logins.setdefault(server, {})
        if (number := login_number(login)) is not None:
            by_login[number] = by_login.get(number, 0) + held
    return {server: Taken(tenants[server], logins[server]) for server in tenants}


def in_bulk(row: RegistryRow | None) -> RegistryRow | None:
    """Return a row as `read_rows` does, which would be long with all that was applied."""
    if row is None or row.applied is None:
        return row
    return replace(row, applied=md5(row.applied.encode(), usedforsecurity=False).hexdigest())


async def count_all_tenants(connection: AsyncConnection[Any]) -> int:
    """Count the tenants on all servers; those that were released or deleted are not."""
    query = "SELECT count(*) FROM tenantry.tenants WHERE state NOT IN ('released', 'deleted')"
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(query)
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _row(*columns: str) -> RegistryRow:
    id_, uid, server, database, state, version, applied, isolation, shard, login = columns
    number = login_number(login)
    return RegistryRow(id_, uid, server, database, RowState(state), version, applied, isolation, shard, number)
