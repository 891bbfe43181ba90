"""Looks who stands in the way of a unit of work that waits: when it has given up, nobody can tell any more."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psycopg

from tenantry_crds.reasons import Reason
from tenantry_operator.clients.postgres import Connection, DatabaseError, ServerAddress, Servers
from tenantry_operator.observe.blockers import Blocker, read_blockers
from tenantry_operator.plan.status import Problem

PATIENCE: Final = 1.0
"""Seconds before the first look: what waits for less is not worth another connection. Below the lock_timeout of 3 s."""
PULSE: Final = 0.5
NAMED: Final = 5


@dataclass
class Watched:
    """Who was seen last."""

    blockers: tuple[Blocker, ...] = ()


@asynccontextmanager
async def blockers_watched(servers: Servers, address: ServerAddress, connection: Connection) -> AsyncIterator[Watched]:
    """Look from another connection, while the block runs, who blocks `connection`."""
    watched = Watched()
    looking = asyncio.create_task(_look(servers, address, connection.info.backend_pid, watched), name="blockers")
    try:
        yield watched
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _look(servers: Servers, address: ServerAddress, pid: int, watched: Watched) -> None:
    await asyncio.sleep(PATIENCE)
    # To know it would be good; not to know it is no failure.
    with suppress(DatabaseError, psycopg.Error):
        async with servers.connection(address) as second:
            while True:
                watched.blockers = await read_blockers(second, pid) or watched.blockers
                await asyncio.sleep(PULSE)


def locked(blockers: Sequence[Blocker]) -> Problem:
    """Say who holds the locks, and what to do about it."""
    named = "; ".join(map(str, blockers[:NAMED])) or "a session that was gone when it was looked for"
    more = f"; and {len(blockers) - NAMED} more" if len(blockers) > NAMED else ""
    ends = " or ".join(f"SELECT pg_terminate_backend({one.pid})" for one in blockers[:1])
    cure = f"; wait until it ends, or end it by {ends}" if ends else ""
    return Problem(Reason.LOCKED, f"a lock that is needed is held by {named}{more}{cure}. It is tried again")
