"""Readiness: can this replica do its work now? Asked of the databases, not remembered."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tenantry_kit.databases import Databases
from tenantry_kit.metrics import Metrics
from tenantry_kit.problems import Problem
from tenantry_kit.registry import Registry

CHECK_TIMEOUT = 3.0
KEPT_SECONDS = 0.5


@dataclass(frozen=True)
class Readiness:
    """What each database answered: `ok`, or why not."""

    registry: str
    servers: dict[str, str]

    @property
    def ready(self) -> bool:
        """The registry answers, and so does at least one server: one lost server must not take all tenants offline."""
        return self.registry == "ok" and "ok" in self.servers.values()


class Health:
    """Checks readiness. Checks that come close together share one answer."""

    def __init__(
        self,
        databases: Databases,
        registry: Registry,
        metrics: Metrics,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._databases = databases
        self._registry = registry
        self._metrics = metrics
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._last: tuple[float, Readiness] | None = None

    async def check(self) -> Readiness:
        """Return the readiness, at most half a second old. Takes 3 s at most."""
        async with self._lock:
            if self._last is None or self._monotonic() - self._last[0] >= KEPT_SECONDS:
                readiness = await self._ask()
                self._metrics.ready.set(readiness.ready)
                self._last = (self._monotonic(), readiness)
            return self._last[1]

    async def _ask(self) -> Readiness:
        servers = self._databases.servers()
        registry, *others = await asyncio.gather(self._ask_registry(), *(self._answers(name) for name in servers))
        return Readiness(registry, dict(zip(servers, others, strict=True)))

    async def _ask_registry(self) -> str:
        try:
            return await self._answers(self._registry.server, self._registry.database())
        except Problem:
            return "no credentials are mounted"

    async def _answers(self, server: str, database: str | None = None) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self._select_one(server, database)
        except TimeoutError:
            return "no answer in time"
        except (Problem, SQLAlchemyError, OSError):
            return "not reachable"
        return "ok"

    async def _select_one(self, server: str, database: str | None) -> None:
        try:
            await self._once(server, database)
        except SQLAlchemyError:
            # An idle connection may be dead while the server is well.
            await self._databases.forget_idle(server, database)
            await self._once(server, database)

    async def _once(self, server: str, database: str | None) -> None:
        async with self._databases.connection(server, database) as connection:
            await connection.execute(text("SELECT 1"))
