"""The parts of a leading operator, put to work and taken down."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from tenantry_operator.clients.kube import TENANTS, Kube, RawObject
from tenantry_operator.clients.postgres import Servers
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.fence import Fence
from tenantry_operator.engine.queue import KeyedQueue
from tenantry_operator.engine.recovery import Recovery
from tenantry_operator.engine.sweep import Sweep
from tenantry_operator.engine.workers import Workers
from tenantry_operator.handlers.feed import Feed, keep_checking
from tenantry_operator.handlers.watch import WatchThread
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.shard import Shard
from tenantry_operator.reconcile.definitions import Definitions

logger = logging.getLogger(__name__)

THE_ONLY = Shard()

WATCH_START_LIMIT = 30.0
"""Seconds that a watch may need to start, or to start anew."""


@dataclass(frozen=True)
class HealthLimits:
    """Seconds after which /healthz fails."""

    stuck_after: float
    behind_after: float


class Operator:
    """Everything that runs while this process leads."""

    def __init__(
        self,
        *,
        kube: Kube,
        servers: Servers,
        fence: Fence,
        cache: ObjectCache,
        queue: KeyedQueue,
        workers: Workers,
        sweeps: Sequence[Sweep],
        feed: Feed,
        recovery: Recovery,
        watches: Sequence[WatchThread],
        check_interval: float,
        health: HealthLimits,
        metrics: Metrics,
        shard: Shard = THE_ONLY,
    ) -> None:
        self.cache = cache
        self._shard = shard
        self._kube = kube
        self._servers = servers
        self._fence = fence
        self._queue = queue
        self._workers = workers
        self._sweeps = sweeps
        self._feed = feed
        self._recovery = recovery
        self._watches = watches
        self._check_interval = check_interval
        self._health = health
        self._metrics = metrics
        self._watch_dead_since: float | None = None

    async def run(self) -> None:
        """Work until cancelled. Raises what ends a part that should never end."""
        self._queue_metrics()
        await self._feed.prime()
        for watch in self._watches:
            watch.start()
        logger.info("working", extra={"objects": self._queue.depth()})
        async with asyncio.TaskGroup() as group:
            group.create_task(self._workers.run(), name="workers")
            group.create_task(keep_checking(self._feed, interval=self._check_interval), name="feed check")
            group.create_task(self._recovery.run(), name="recovery")
            group.create_task(Definitions(self._kube, self._metrics).run(), name="definitions")
            for sweep in self._sweeps:
                group.create_task(sweep.run(), name=f"sweep {sweep.kind}")

    def problems(self) -> list[str]:
        """Say, one line each, why this process should be started anew; empty when it should not."""
        problems = [
            f"the sweep of {sweep.kind} is stuck for {sweep.age():.0f} s"
            for sweep in self._sweeps
            if sweep.age() > self._health.stuck_after
        ]
        if self._watch_dead_for() > WATCH_START_LIMIT:
            problems.append("the watch is dead")
        if self._feed.behind() > self._health.behind_after:
            problems.append(f"the watch is dead: it is behind for {self._feed.behind():.0f} s")
        return problems

    async def stop(self, grace: float) -> None:
        """End passes, with ``grace`` seconds to come to an end by themselves; then the watch."""
        await self._workers.drain(grace)
        await asyncio.gather(*(watch.stop() for watch in self._watches))

    async def close(self) -> None:
        await self._fence.close()
        await self._servers.close()
        await self._kube.close()

    def _watch_dead_for(self) -> float:
        now = asyncio.get_running_loop().time()
        if all(watch.alive() for watch in self._watches):
            self._watch_dead_since = None
            return 0.0
        if self._watch_dead_since is None:
            self._watch_dead_since = now
        return now - self._watch_dead_since

    def _queue_metrics(self) -> None:
        self._metrics.queue_depth.set_function(self._queue.depth)
        self._metrics.queue_oldest.set_function(self._queue.oldest)
        self._metrics.queue_failing.set_function(self._queue.failing)
        self._metrics.observe_objects(lambda: ((kind, self._own(kind)) for kind in self._feed.kinds()))

    def _own(self, kind: str) -> tuple[RawObject, ...]:
        """Return the objects of a kind, of Tenants those of this shard: each is counted by one operator."""
        held = self.cache.all(kind)
        return tuple(body for body in held if self._shard.owns(body)) if kind == TENANTS.kind else held
