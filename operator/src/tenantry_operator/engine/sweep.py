"""Looks at everything in bulk, again and again, and queues what differs."""

import asyncio
import logging
from collections.abc import Callable

from tenantry_operator.clients.kube import ApiError
from tenantry_operator.clients.sqlstate import DatabaseError
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.election import NotLeading
from tenantry_operator.engine.queue import Key, Lane
from tenantry_operator.engine.reconciler import Reconciler
from tenantry_operator.metrics import Metrics

logger = logging.getLogger(__name__)

Enqueue = Callable[[Key, Lane], None]


class Sweep:
    """The sweep of one kind. It never ends by itself; one that fails is counted and tried again."""

    def __init__(
        self,
        reconciler: Reconciler,
        enqueue: Enqueue,
        *,
        interval: float,
        timeout: float,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.kind = reconciler.kind
        self._reconciler = reconciler
        self._enqueue = enqueue
        self._interval = interval
        self._timeout = timeout
        self._clock = clock
        self._metrics = metrics
        self._ended = clock.monotonic()

    def age(self) -> float:
        """Return the seconds since a sweep last came to an end, good or bad."""
        return self._clock.monotonic() - self._ended

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.once()

    async def once(self) -> str:
        """Sweep once; return ``ok``, ``failed`` or ``timed-out``. Raises nothing."""
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._look()
            outcome = "ok"
        except TimeoutError:
            found, outcome = 0, "timed-out"
            logger.warning("sweep took too long", extra={"kind": self.kind, "limit": self._timeout})
        except (ApiError, DatabaseError, NotLeading) as error:
            found, outcome = 0, "failed"
            logger.warning("sweep failed", extra={"kind": self.kind, "error": str(error)})
        except Exception:
            found, outcome = 0, "failed"
            logger.exception("sweep failed", extra={"kind": self.kind})
        self._ended = self._clock.monotonic()
        self._metrics.sweeps.labels(self.kind, outcome).inc()
        self._metrics.sweep_found.labels(self.kind).inc(found)
        self._metrics.sweep_seconds.labels(self.kind).set(self._ended - started)
        return outcome

    async def _look(self) -> int:
        found = 0
        async for key in self._reconciler.sweep():
            self._enqueue(key, Lane.ROUTINE)
            found += 1
        return found
