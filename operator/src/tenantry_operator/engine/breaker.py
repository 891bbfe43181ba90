"""Keeps the breaker's state in a ConfigMap, so that it outlives the process and the leadership."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tenantry_operator.clients.kube import CONFIGMAPS, AlreadyExists, Conflict, Kube, RawObject
from tenantry_operator.engine.clock import Clock
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.breaker import BreakerLimits, BreakerState, Latch
from tenantry_operator.plan.breaker import admit
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

NAME: Final = "tenantry-breaker"
KEY: Final = "state"
ATTEMPTS: Final = 5
NOBODY_KNOWS_WHEN: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BreakerStore:
    """The ConfigMap. A state that cannot be read counts as an open breaker: nobody knows what was begun."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    async def read(self) -> BreakerState:
        """Return what is remembered. Raises ApiError."""
        return _state_of(await self._get())

    async def change(self, decide: Callable[[BreakerState], BreakerState]) -> BreakerState:
        """Write what `decide` makes of the state, unless that is the same; return it. Raises ApiError.

        When somebody else wrote meanwhile, `decide` is asked again.
        """
        for left in reversed(range(ATTEMPTS)):
            body = await self._get()
            before = _state_of(body)
            after = decide(before)
            if after == before:
                return after
            try:
                await self._write(body, after)
            except (Conflict, AlreadyExists):
                if not left:
                    raise
            else:
                return after
        raise AssertionError("the last attempt returns or raises")

    async def _get(self) -> RawObject | None:
        return await self._kube.get(CONFIGMAPS, NAME, namespace=self._namespace)

    async def _write(self, body: RawObject | None, state: BreakerState) -> None:
        if body is not None:
            await self._kube.replace(CONFIGMAPS, {**body, "data": {KEY: state.text()}})
            return
        labels = {"app.kubernetes.io/managed-by": "tenantry"}
        metadata = {"name": NAME, "namespace": self._namespace, "labels": labels}
        made: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await self._kube.create(CONFIGMAPS, {**made, "data": {KEY: state.text()}})


class Breaker:
    """Asked before the data of a Tenant is dropped; by one at a time, so that no two are the last that is allowed."""

    def __init__(self, kube: Kube, *, settings: OperatorSettings, clock: Clock, metrics: Metrics) -> None:
        self._store = BreakerStore(kube, settings.namespace)
        self._limits = BreakerLimits(
            settings.breaker_drops, settings.breaker_percent, timedelta(seconds=settings.breaker_window)
        )
        self._clock = clock
        self._metrics = metrics
        self._one_at_a_time = asyncio.Lock()

    async def begin_drop(self, *, uid: str, name: str, tenants: int) -> Latch | None:
        """Record that the drop begins, and return None; or return why it may not. Raises ApiError."""
        allowed = False

        def decide(state: BreakerState) -> BreakerState:
            nonlocal allowed
            now = self._clock.now()
            admission = admit(state, self._limits, uid=uid, name=name, tenants=tenants, now=now)
            allowed = admission.allowed
            return admission.state

        async with self._one_at_a_time:
            state = await self._store.change(decide)
        self._metrics.breaker_open.set(state.latch is not None)
        if allowed:
            self._metrics.breaker_drops.inc()
            return None
        self._metrics.breaker_held.inc()
        logger.error("the breaker holds a Tenant", extra={"tenant": name, "error": state.latch and state.latch.message})
        return state.latch

    async def latch(self) -> Latch | None:
        """Return why it is open, if it is. Raises ApiError."""
        state = await self._store.read()
        self._metrics.breaker_open.set(state.latch is not None)
        return state.latch


def _state_of(body: RawObject | None) -> BreakerState:
    if body is None:
        return BreakerState()
    try:
        return BreakerState.parse((body.get("data") or {}).get(KEY, ""))
    except ValueError as error:
        said = f"the ConfigMap {NAME} cannot be read ({error}); `tenantry breaker reset` writes it anew"
        return BreakerState(latch=Latch(NOBODY_KNOWS_WHEN, said))
