"""Waits for transactions that may still write rows of a tenant whose access was taken while they were open."""

import asyncio
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from tenantry_operator.model.names import OWNER
from tenantry_operator.model.pool import POOL_ROLES, POOL_SCHEMA

Connection = AsyncConnection[Any]

END_WITHIN: Final = 5.0
"""Seconds. A service answers a request in less; who takes longer delays this pass only, which is tried again."""
PULSE: Final = 0.05
NAMED: Final = 5

# Whoever wrote holds the lock of a writer until its end. A service that wrote nothing yet may look at the directory
# as it was when its transaction began, and write later. Locks are shown to everybody, what a session does is not.
# A transaction that is prepared has no session.
WRITERS: Final[LiteralString] = """
SELECT DISTINCT l.virtualtransaction,
    CASE WHEN p.gid IS NULL THEN format('session %%s of %%s', l.pid, a.usename)
        ELSE format('prepared transaction %%s of %%s', p.gid, p.owner) END,
    CASE WHEN p.gid IS NULL THEN format('SELECT pg_terminate_backend(%%s)', l.pid)
        ELSE format('ROLLBACK PREPARED %%L', p.gid) END
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_locks t ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid'
    AND t.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts p ON p.transaction = t.transactionid
JOIN pg_database d ON d.datname = current_database()
WHERE l.pid IS DISTINCT FROM pg_backend_pid() AND (a.datid = d.oid OR p.database = d.datname) AND l.granted AND (
    l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.database = d.oid
        AND l.relation IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = to_regnamespace(%(schema)s))
    OR l.locktype = 'virtualxid' AND EXISTS (
        SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
        WHERE m.member = a.usesysid AND r.rolname = ANY (%(roles)s::name[]))
) AND (%(known)s::text[] IS NULL OR l.virtualtransaction = ANY (%(known)s::text[]))
"""


class WritersRemain(Exception):
    """A transaction that began before access was taken goes on."""


async def writers_ended(connection: Connection) -> None:
    """Return when each transaction has ended that may have written to the pool before, or may still.

    Those that begin later write nothing for a tenant whose entry is closed. Raises WritersRemain.
    """
    left = await _writers(connection)
    known = [transaction for transaction, _, _ in left]
    end = asyncio.get_running_loop().time() + END_WITHIN
    while left:
        if asyncio.get_running_loop().time() > end:
            raise WritersRemain(_said(left))
        await asyncio.sleep(PULSE)
        left = await _writers(connection, known)


async def _writers(connection: Connection, known: list[str] | None = None) -> list[tuple[str, str, str]]:
    roles = [role for role in POOL_ROLES.values() if role != OWNER]
    cursor = await connection.execute(WRITERS, {"schema": POOL_SCHEMA, "roles": roles, "known": known})
    return [(str(transaction), str(who), str(ending)) for transaction, who, ending in await cursor.fetchall()]


def _said(left: list[tuple[str, str, str]]) -> str:
    found = sorted({(who, ending) for _, who, ending in left})
    named = "; ".join(who for who, _ in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return (
        f"transactions that may have written rows before access was taken are still open: {named}{more}; wait until "
        f"they end, or end one by {found[0][1]}. It is tried again"
    )
