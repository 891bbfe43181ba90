"""Runs passes: takes keys from the queue and hands them to the reconciler of their kind."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from tenantry_operator.clients.kube import ApiError
from tenantry_operator.clients.sqlstate import DatabaseError
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.election import NotLeading
from tenantry_operator.engine.errors import TIMEOUT, UNEXPECTED, error_word
from tenantry_operator.engine.fence import FenceError
from tenantry_operator.engine.queue import Key, KeyedQueue, Lane, Result
from tenantry_operator.engine.reconciler import Reconciler
from tenantry_operator.metrics import Metrics

logger = logging.getLogger(__name__)

SLOW_AFTER = 5.0
"""Seconds after which a pass gives its place to another one, and goes on."""

SLOW_FACTOR = 3
"""Slow passes hold at most so many times the workers' places."""


@dataclass(frozen=True)
class Limits:
    workers: int = 16
    pass_timeout: float = 120.0
    """Seconds."""


class Workers:
    """At most ``workers`` passes at a time; slow ones stand aside, so that hanging servers delay nobody else.

    A pass that outlives ``pass_timeout`` is cancelled and counts as failed.
    """

    def __init__(
        self,
        queue: KeyedQueue,
        reconcilers: Mapping[str, Reconciler],
        *,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], Key] = {}
        self._slow: set[asyncio.Task[None]] = set()
        self._stopping = False

    def add(self, key: Key, delay: float = 0.0, *, lane: Lane = Lane.NEWS) -> None:
        """Ask for a pass; see `KeyedQueue.add`."""
        self._queue.add(key, delay, lane=lane)
        self._wake.set()

    def running(self) -> int:
        return len(self._running)

    async def run(self) -> None:
        """Run passes until cancelled; then wait for nobody: call `drain`."""
        while not self._stopping:
            self._wake.clear()
            while self._has_room():
                key = self._queue.take()
                if key is None:
                    break
                self._begin(key)
            await self._sleep()

    async def drain(self, grace: float) -> None:
        """Begin nothing more; give what runs ``grace`` seconds, then cancel it."""
        self._stopping = True
        self._wake.set()
        tasks = set(self._running)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _has_room(self) -> bool:
        fast = len(self._running) - len(self._slow)
        return fast < self._limits.workers and len(self._slow) <= SLOW_FACTOR * self._limits.workers

    async def _sleep(self) -> None:
        due = self._queue.next_due()
        # Without room, only an ending pass makes some; it wakes us.
        timeout = due if self._has_room() else None
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    def _begin(self, key: Key) -> None:
        task = asyncio.create_task(self._pass(key), name=f"pass {key}")
        self._running[task] = key
        timer = asyncio.get_running_loop().call_later(SLOW_AFTER, self._stand_aside, task)
        task.add_done_callback(lambda ended: self._end(ended, timer))

    def _stand_aside(self, task: asyncio.Task[None]) -> None:
        if task in self._running:
            self._slow.add(task)
            self._wake.set()

    def _end(self, task: asyncio.Task[None], timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._running.pop(task, None)
        self._slow.discard(task)
        self._wake.set()

    async def _pass(self, key: Key) -> None:
        started = self._clock.monotonic()
        self._metrics.wait_seconds.labels(key.kind).observe(self._queue.waited(key))
        result = Result(failed=True)
        outcome = "cancelled"
        try:
            result, outcome = await self._reconcile(key)
        finally:
            seconds = self._clock.monotonic() - started
            backoff = self._queue.done(key, result)
            self._metrics.passes.labels(key.kind, outcome).inc()
            if result.error:
                self._metrics.errors.labels(key.kind, result.error).inc()
            self._metrics.pass_seconds.labels(key.kind).observe(seconds)
            logger.debug(
                "pass ended",
                extra={"object": str(key), "outcome": outcome, "seconds": round(seconds, 4), "backoff": backoff},
            )

    async def _reconcile(self, key: Key) -> tuple[Result, str]:
        reconciler = self._reconcilers.get(key.kind)
        if reconciler is None:
            logger.error("no reconciler for this kind", extra={"object": str(key)})
            return Result(), "unknown"
        try:
            async with asyncio.timeout(self._limits.pass_timeout):
                result = await reconciler.reconcile(key)
        except TimeoutError:
            logger.warning("pass took too long", extra={"object": str(key), "limit": self._limits.pass_timeout})
            return Result(failed=True, error=TIMEOUT), "timed-out"
        except NotLeading as error:
            return Result(failed=True, error=error_word(error)), "not-leading"
        except (ApiError, DatabaseError, FenceError) as error:
            logger.warning("pass failed", extra={"object": str(key), "error": str(error)})
            wait = getattr(error, "retry_after", None)
            return Result(failed=True, requeue_after=wait, error=error_word(error)), "failed"
        except Exception:
            logger.exception("pass failed unexpectedly", extra={"object": str(key)})
            return Result(failed=True, error=UNEXPECTED), "error"
        return result, "failed" if result.failed else "ok"
