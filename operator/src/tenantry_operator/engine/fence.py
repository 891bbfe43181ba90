"""Keeps a process that leads no longer from working on.

Two walls stand in the databases: a new leader ends the sessions of earlier ones before it uses a server, and a lock
per tenant is held for each pass. The third stands in the process: `Election.check` before every write.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psycopg

from tenantry_operator.clients.postgres import Connection, ServerAddress, Servers

logger = logging.getLogger(__name__)

PREFIX = "tenantry"
NAME_LIMIT = 63
"""Postgres cuts application names at so many bytes; the number at the end must not be cut."""
POD_LIMIT = 40
DIGITS = 10

LOCK_SPACE = 0x74656E61
"""The first half of the advisory locks' keys: "tena"."""

PULSE = 2.0
"""Seconds between looks at whether the locks' connection still lives."""

LOOK = 0.05
"""Seconds between looks at whether passes have ended."""

HELD = """
    SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""Those of all shards' operators: one registry serves them all."""

SESSIONS = """
    SELECT pid, application_name FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid() AND application_name LIKE 'tenantry:%'
"""


def application_name(pod: str, transitions: int, shard: str = "") -> str:
    """Name the sessions of one leadership; those of the default shard do not name it."""
    room = min(POD_LIMIT, NAME_LIMIT - len(f"{PREFIX}:::{shard}") - DIGITS)
    return ":".join([PREFIX, pod[:room], *([shard] if shard else []), str(transitions)])


def leadership_of(name: str) -> tuple[str, int] | None:
    """Read shard and number of a leadership back; None when the name is not of an operator."""
    match = re.fullmatch(rf"{PREFIX}:[^:]*(?::([^:]+))?:(\d+)", name)
    return (match.group(1) or "", int(match.group(2))) if match else None


async def end_earlier_sessions(connection: Connection, transitions: int, shard: str = "") -> int:
    """End the sessions of the shard's earlier leaderships here, and wait until they are gone; return how many.

    Each shard counts its leaderships by itself, and leaves those of the others alone. Two installations that share a
    database server need a login each: sessions of the same login are taken for ours.
    """
    rows = await (await connection.execute(SESSIONS)).fetchall()
    ended = 0
    for pid, name in rows:
        leadership = leadership_of(name)
        if leadership is not None and leadership[0] == shard and leadership[1] < transitions:
            await connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            ended += 1
    if ended:
        logger.warning("sessions of an earlier leader were ended", extra={"count": ended, "transitions": transitions})
    return ended


class FenceError(Exception):
    """The lock of a tenant could not be had, or was lost. The pass is tried again."""


class Fence:
    """One advisory lock per name, in the registry's database, on a connection that is used for nothing else.

    When that connection is lost, every pass that holds a lock is ended by FenceError.
    """

    def __init__(self, servers: Servers, registry: Callable[[], Awaitable[ServerAddress]]) -> None:
        self._servers = servers
        self._registry = registry
        self._lending = AsyncExitStack()
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()
        self._holders: dict[asyncio.Task[object], str] = {}
        self._taken: set[str] = set()
        """Names that are locked here. All locks are one session's, which Postgres would give the same one twice."""
        self._ended: set[asyncio.Task[object]] = set()
        self._watcher: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of ``name``. Raises FenceError, or DatabaseError when the registry cannot be reached."""
        if name in self._taken:
            raise FenceError(f"the lock of {name} is held by another task of this process")
        self._taken.add(name)
        try:
            async with self._held(name):
                yield
        finally:
            self._taken.discard(name)

    async def passes_end(self, *, but: str, within: float) -> bool:
        """Wait until each pass that is under way now has ended; say whether all did within the seconds.

        `but` is what the caller holds itself. Raises FenceError, or DatabaseError when the registry cannot be reached.
        """
        connection, clock = await self._open(), asyncio.get_running_loop().time
        end = clock() + within
        left = await self._locked(connection) - {_number(but) % 2**32}
        while left and clock() < end:
            await asyncio.sleep(LOOK)
            left &= await self._locked(connection)
        return not left

    async def _locked(self, connection: Connection) -> set[int]:
        try:
            rows = await (await connection.execute(HELD, [LOCK_SPACE])).fetchall()
        except psycopg.Error as error:
            self._lose(connection)
            raise FenceError("the registry's connection was lost") from error
        return {int(number) for (number,) in rows}

    @asynccontextmanager
    async def _held(self, name: str) -> AsyncIterator[None]:
        connection = await self._open()
        await self._lock(connection, name)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a context manager of a coroutine runs in a task
        self._holders[task] = name
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
            raise FenceError(f"the lock of {name} was lost") from None
        finally:
            self._holders.pop(task, None)
            self._ended.discard(task)
            await self._unlock(connection, name)

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        self._connection = None
        await self._lending.aclose()

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection is None:
                # The one before, if any, is dead; closing it frees its place.
                await self._lending.aclose()
                lent = self._servers.dedicated(await self._registry())
                self._connection = await self._lending.enter_async_context(lent)
                self._watcher = asyncio.create_task(self._watch(self._connection), name="fence")
            return self._connection

    async def _lock(self, connection: Connection, name: str) -> None:
        try:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_SPACE, _number(name)])
            row = await cursor.fetchone()
        except psycopg.Error as error:
            self._lose(connection)
            raise FenceError(f"the lock of {name} could not be had: the registry's connection was lost") from error
        if row is None or not row[0]:
            raise FenceError(f"the lock of {name} is held by another session")

    async def _unlock(self, connection: Connection, name: str) -> None:
        if connection is not self._connection:
            return  # lost, and with it the lock
        try:
            await connection.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_SPACE, _number(name)])
        except psycopg.Error:
            self._lose(connection)

    async def _watch(self, connection: Connection) -> None:
        while connection is self._connection:
            await asyncio.sleep(PULSE)
            try:
                async with asyncio.timeout(PULSE * 5):
                    await connection.execute("SELECT 1")
            except (psycopg.Error, TimeoutError):
                self._lose(connection)

    def _lose(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        logger.warning("the connection that holds the tenants' locks was lost", extra={"held": len(self._holders)})
        self._connection = None
        with suppress(psycopg.Error):
            connection.pgconn.finish()
        for task in self._holders:
            self._ended.add(task)
            task.cancel()


def _number(name: str) -> int:
    """Hash a name to the signed 32 bits of an advisory lock's second half. A collision only makes one pass wait."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)
