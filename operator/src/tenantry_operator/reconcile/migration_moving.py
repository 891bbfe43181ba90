"""Moves the tenants of a wave side by side, each on its own, and remembers what became of them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import psycopg

from tenantry_migrations import MigrationError
from tenantry_operator.apply.migration import VersionChanged, copy_pool_version, copy_versions, move_schema
from tenantry_operator.apply.pool import move
from tenantry_operator.apply.tenant import MarkerChanged
from tenantry_operator.clients.postgres import (
    Connection,
    ConnectionRefused,
    DatabaseError,
    DatabaseMissing,
    ServerAddress,
    Servers,
)
from tenantry_operator.clients.sqlstate import classify
from tenantry_operator.engine.fence import Fence, FenceError
from tenantry_operator.engine.moving import Moving
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.migration import DesiredRun, Line, Member
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.pool import POOL_SCHEMA
from tenantry_operator.model.tenant import Marker
from tenantry_operator.observe.migration import read_version
from tenantry_operator.plan.migration import MoveTenants
from tenantry_operator.reconcile.addresses import Addresses, NoAddress

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 3
"""How often a tenant is tried whose move fails for a passing cause, such as a lock."""


COPY_EVERY: Final = 0.25
"""Seconds between two words to the registry on who was moved."""


class Outcome(StrEnum):
    DONE = "done"
    FAILED = "failed"
    LATER = "later"
    """It failed for a passing cause, and is tried again."""
    BUSY = "busy"
    """A pass over the Tenant runs just now."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Moved:
    """What became of one tenant."""

    outcome: Outcome
    message: str = ""
    version: str = ""


@dataclass
class Memory:
    """What a process remembers of a run. Without it, who failed is tried anew; nothing else changes."""

    failures: dict[str, str] = field(default_factory=dict)
    """What was said, by `Member.life`."""
    attempts: Counter[str] = field(default_factory=Counter)
    """By `Member.life`."""
    apart: dict[str, str] = field(default_factory=dict)
    """What the schemas said that are in a database of their own, by the tenant's id: each is asked once in a run, and
    under its lock again before it is moved."""

    def keep(self, lives: Iterable[str]) -> None:
        """Forget what became of all others: they are gone, and whoever is made under such a name is another one."""
        there = frozenset(lives)
        self.failures = {one: said for one, said in self.failures.items() if one in there}
        self.attempts = Counter({one: count for one, count in self.attempts.items() if one in there})


@dataclass(frozen=True)
class Times:
    """Seconds."""

    slice: float
    """After so long no more tenants are begun in this pass."""
    tenant: float
    """The longest move of one tenant."""


class Mover:
    """Does one MoveTenants after the other."""

    def __init__(
        self,
        *,
        servers: Servers,
        addresses: Addresses,
        fence: Fence,
        registry: ServerAddress,
        metrics: Metrics,
        installation: str,
        times: Times,
        moving: Moving,
    ) -> None:
        self._servers = servers
        self._addresses = addresses
        self._fence = fence
        self._registry = registry
        self._metrics = metrics
        self._installation = installation
        self._times = times
        self._moving = moving
        self._copies: dict[str, str] = {}
        """Tenants' ids to the revisions that the registry does not know of yet."""
        self._places: dict[str, asyncio.Semaphore] = {}

    async def move(
        self,
        plan: MoveTenants,
        desired: DesiredRun,
        line: Line,
        *,
        memory: Memory,
        may_begin: Callable[[], bool],
        ended: Callable[[Member, Moved], Awaitable[None]],
    ) -> Mapping[str, Moved]:
        """Try each tenant once, while `may_begin` and the budget allow; `ended` is told of each at once.

        The registry is told of many at a time, and of all of them before this returns; after a death the next pass
        tells it. Raises DatabaseError or psycopg.Error when it does not listen.
        """
        waiting = list(reversed(plan.members))
        results: dict[str, Moved] = {}

        async def work() -> None:
            while waiting and may_begin() and len(memory.failures) <= desired.failure_budget:
                one = waiting.pop()
                results[one.name] = moved = self._remembered(one, await self._move_one(one, desired, line), memory)
                await ended(one, moved)

        try:
            async with asyncio.TaskGroup() as group:
                copying = group.create_task(self._keep_copying(), name="copy versions")
                workers = range(min(plan.max_parallel, len(waiting)))
                await asyncio.gather(*(group.create_task(work(), name="move tenants") for _ in workers))
                copying.cancel()
            await self._copy()
        except BaseExceptionGroup as failed:
            # Whoever called knows what to do with the error, and nothing of groups.
            raise failed.exceptions[0] from failed
        return results

    async def _keep_copying(self) -> None:
        while True:
            await asyncio.sleep(COPY_EVERY)
            await self._copy()

    async def _copy(self) -> None:
        copies, self._copies = self._copies, {}
        if not copies:
            return
        try:
            async with self._servers.connection(self._registry) as registry:
                await copy_versions(registry, copies)
        except BaseException:
            # It was perhaps not written: the next one writes it.
            self._copies = copies | self._copies
            raise

    def _remembered(self, one: Member, moved: Moved, memory: Memory) -> Moved:
        """Turn a passing failure into a lasting one when it does not pass."""
        if moved.outcome is Outcome.DONE and one.id in memory.apart:
            memory.apart[one.id] = moved.version
        if moved.outcome is Outcome.LATER:
            memory.attempts[one.life] += 1
            if memory.attempts[one.life] >= ATTEMPTS:
                moved = replace(moved, outcome=Outcome.FAILED, message=f"{moved.message} ({ATTEMPTS} attempts)")
        if moved.outcome is Outcome.FAILED:
            memory.failures[one.life] = moved.message
            logger.warning("a tenant could not be moved", extra={"tenant": one.name, "error": moved.message})
        self._metrics.migrations.labels(moved.outcome.value).inc()
        return moved

    async def _move_one(self, one: Member, desired: DesiredRun, line: Line) -> Moved:
        """Move one tenant. Raises nothing that is expected but ApiError."""
        try:
            address = await self._addresses.address(one.server)
        except NoAddress as error:
            return Moved(Outcome.FAILED, str(error))
        self._moving.begin(one.name)
        # One connection of the server stays free for the Tenants' own passes.
        room = self._places.setdefault(one.server, asyncio.Semaphore(max(1, address.max_connections - 1)))
        async with room:
            try:
                async with asyncio.timeout(self._times.tenant), self._fence.hold(one.name):
                    return Moved(Outcome.DONE, version=await self._under_lock(one, desired, line, address=address))
            except FenceError as error:
                return Moved(Outcome.BUSY, str(error))
            except DatabaseError as error:
                # A database of its own that is gone, or lets nobody in, is that tenant's trouble alone.
                alone = one.database != address.database and isinstance(error, DatabaseMissing | ConnectionRefused)
                return Moved(Outcome.FAILED if alone else Outcome.UNREACHABLE, str(error))
            except (psycopg.Error, TimeoutError) as error:
                failure = classify(error)
                return Moved(Outcome.LATER if failure.transient else Outcome.FAILED, failure.message)
            except (MarkerChanged, MigrationError) as error:
                return Moved(Outcome.FAILED, str(error))

    async def _pool_under_lock(self, one: Member, desired: DesiredRun, line: Line, *, address: ServerAddress) -> str:
        async with self._servers.connection(address, database=one.database) as connection:
            version = await read_version(connection, POOL_SCHEMA)
            if version is None:
                raise MigrationError(f"the pool of server {one.server} has no version: it is gone, or was emptied")
            if not line.reaches(version, desired.to):
                await move(connection, desired.to, lock_timeout=desired.lock_timeout, seconds=self._times.tenant)
                version = desired.to
        async with self._servers.connection(self._registry) as registry:
            await copy_pool_version(registry, one.server, version)
        return version

    async def _under_lock(self, one: Member, desired: DesiredRun, line: Line, *, address: ServerAddress) -> str:
        if one.pooled:
            return await self._pool_under_lock(one, desired, line, address=address)
        async with self._servers.connection(address, database=one.database) as connection:
            try:
                version = await self._bring(connection, one, one.version, desired, line)
            except (VersionChanged, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                # What the look at all of them saw is not so any more.
                schema = TenantNames(one.name).service_schema
                found = await read_version(connection, schema)
                if found is None:
                    raise MigrationError(f"schema {schema} has no version: it is not there, or was emptied") from None
                version = await self._bring(connection, one, found, desired, line)
        self._copies[one.id] = version
        return version

    async def _bring(self, connection: Connection, one: Member, version: str, desired: DesiredRun, line: Line) -> str:
        """Bring a schema that is at `version` to the desired one; return where it is then."""
        if line.reaches(version, desired.to):
            return version
        await move_schema(
            connection,
            TenantNames(one.name),
            (version, desired.to),
            marker_text=Marker(one.id, one.uid, self._installation).text(),
            lock_timeout=desired.lock_timeout,
            seconds=self._times.tenant,
        )
        return desired.to
