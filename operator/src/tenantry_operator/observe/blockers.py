"""Who stands in the way of a session of ours."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

# The time of a transaction is shown only to whoever may read it; the statement is never asked for, it may hold data.
BLOCKERS: Final = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.datname, ''), coalesce(a.application_name, ''), a.xact_start
FROM pg_stat_activity a WHERE a.pid = ANY (pg_blocking_pids(%s)) ORDER BY a.pid
"""


@dataclass(frozen=True)
class Blocker:
    """A session that holds what another one waits for."""

    pid: int
    user: str
    database: str
    application: str
    since: datetime | None = None
    """When its transaction began, if we may know."""

    def __str__(self) -> str:
        application = f", {self.application!r}" if self.application else ""
        since = f", in a transaction since {self.since:%Y-%m-%dT%H:%M:%SZ}" if self.since else ""
        return f"session {self.pid} of {self.user or 'the server'} in database {self.database}{application}{since}"


async def read_blockers(connection: AsyncConnection[Any], pid: int) -> tuple[Blocker, ...]:
    """Return who blocks the session with that pid at this moment."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(BLOCKERS, (pid,))
        return tuple(Blocker(*row) for row in await cursor.fetchall())
