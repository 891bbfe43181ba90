"""Drops the database of a trial whose pod died, and the logins that were lent for it."""

from typing import Any, Final

from psycopg import AsyncConnection, sql

from tenantry_operator.backup.lent import lent_name
from tenantry_operator.backup.scratch import scratch_mark
from tenantry_operator.backup.servers import LOCK_SPACE, lock_number
from tenantry_operator.model.leftovers import Trial

LENT: Final = """
SELECT l.rolname, r.rolname FROM pg_roles l JOIN pg_auth_members m ON m.member = l.oid
JOIN pg_roles r ON r.oid = m.roleid WHERE l.rolname ~ '^tenantry_lent_'
"""
MARK: Final = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"


async def drop_trial(connection: AsyncConnection[Any], trial: Trial) -> bool:
    """Drop it unless a pod has the lock of that Tenant: whoever made the database has it. Raises psycopg.Error.

    The connection is in autocommit mode, in the database in which pods take the lock.
    """
    number = lock_number(trial.uid)
    if not await _one(connection, "SELECT pg_try_advisory_lock(%s, %s)", LOCK_SPACE, number):
        return False
    try:
        # As of now, for a pod may have made it anew, and may have ended, since it was looked at.
        if await _one(connection, MARK, trial.database) != scratch_mark(trial.uid, trial.installation):
            return False
        database = sql.Identifier(trial.database)
        await drop_lent(connection, trial.database)
        await connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
    finally:
        if not connection.closed:
            await connection.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK_SPACE, number))
    return True


async def drop_lent(connection: AsyncConnection[Any], database: str) -> None:
    """Drop the logins that were lent for a database. Raises psycopg.Error."""
    for login in await _lent(connection, database):
        async with connection.transaction():
            revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM {}")
            await connection.execute(revoke.format(sql.Identifier(database), login))
            await connection.execute(sql.SQL("DROP ROLE {}").format(login))


async def _lent(connection: AsyncConnection[Any], database: str) -> list[sql.Identifier]:
    cursor = await connection.execute(LENT)
    found = [(str(login), str(role)) for login, role in await cursor.fetchall()]
    return [sql.Identifier(login) for login in sorted({one for one, role in found if one == lent_name(database, role)})]


async def _one(connection: AsyncConnection[Any], query: str, *parameters: object) -> Any:
    cursor = await connection.execute(query, parameters)
    row = await cursor.fetchone()
    return row[0] if row else None
