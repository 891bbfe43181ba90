"""One operator process from start to end."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from enum import IntEnum

from tenantry_operator.clients.kube import ApiError, ConfigurationError, Kube, load_configuration
from tenantry_operator.clients.kube import Configuration as KubeConfiguration
from tenantry_operator.engine.clock import Clock, SystemClock
from tenantry_operator.engine.election import Election, ElectionTimes
from tenantry_operator.engine.status_server import StatusServer
from tenantry_operator.metrics import Metrics
from tenantry_operator.running import Operator
from tenantry_operator.settings import OperatorSettings
from tenantry_operator.wiring import build

logger = logging.getLogger(__name__)

DRAIN_GRACE = 10.0
"""Seconds that passes get to end by themselves when the process is asked to stop."""


class Exit(IntEnum):
    """The exit codes of ``tenantry operator run``."""

    STOPPED = 0
    FAILED = 1
    MISCONFIGURED = 2
    LEASE_LOST = 3


async def run(settings: OperatorSettings) -> Exit:
    """Run until a signal, the loss of the Lease or a failure. Nothing outlives it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        configuration = await load_configuration(settings.kubeconfig)
    except ConfigurationError as error:
        logger.error("%s", error)
        return Exit.MISCONFIGURED
    try:
        return await OperatorProcess(settings, configuration, clock=SystemClock()).run(stop)
    except (ApiError, OSError) as error:
        # Another start may do better: the API server answers again, the port is free.
        logger.error("the operator could not start or go on: %s", error)
        return Exit.FAILED


class OperatorProcess:
    def __init__(self, settings: OperatorSettings, configuration: KubeConfiguration, *, clock: Clock) -> None:
        self._settings = settings
        self._configuration = configuration
        self._clock = clock
        self._metrics = Metrics()
        self._operator: Operator | None = None

    async def run(self, stop: asyncio.Event) -> Exit:
        """Answer probes, wait for the Lease, work."""
        async with self._status_server(), self._kube_for_lease() as kube:
            election = self._election(kube)
            if not await _unless(stop, election.acquire()):
                return Exit.STOPPED
            try:
                return await self._lead(election, stop)
            finally:
                # Last of all: whoever leads next may assume that this process works no more.
                await election.release()

    async def _lead(self, election: Election, stop: asyncio.Event) -> Exit:
        self._metrics.leader.set(1)
        holding = asyncio.create_task(election.hold(), name="election")
        stopping = asyncio.create_task(stop.wait(), name="signal")
        async with self._operating(election) as operator:
            working = asyncio.create_task(operator.run(), name="operator")
            tasks = {holding, stopping, working}
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                return _verdict(holding, stopping, working=working)
            finally:
                await operator.stop(DRAIN_GRACE if election.leading() else 0.0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._metrics.leader.set(0)

    @asynccontextmanager
    async def _operating(self, election: Election) -> AsyncIterator[Operator]:
        operator = await build(
            self._settings, self._configuration, election=election, clock=self._clock, metrics=self._metrics
        )
        self._operator = operator
        try:
            yield operator
        finally:
            self._operator = None
            await operator.close()

    @asynccontextmanager
    async def _status_server(self) -> AsyncIterator[None]:
        server = StatusServer(self._metrics, self._problems)
        await server.start(self._settings.http_host, self._settings.http_port)
        logger.info("answering probes", extra={"port": server.port})
        try:
            yield
        finally:
            await server.close()

    @asynccontextmanager
    async def _kube_for_lease(self) -> AsyncIterator[Kube]:
        # A connection of its own, so that no busy or hanging request delays a renewal.
        # Three attempts fit into the deadline.
        timeout = self._settings.lease_renew_deadline / 3
        async with Kube(self._configuration, instance=self._settings.pod_name, timeout=timeout) as kube:
            yield kube

    def _election(self, kube: Kube) -> Election:
        settings = self._settings
        times = ElectionTimes(settings.lease_duration, settings.lease_renew_deadline, settings.lease_renew_interval)
        return Election(
            kube,
            namespace=settings.namespace,
            identity=settings.pod_name,
            clock=self._clock,
            times=times,
            name=settings.own.lease_name,
        )

    def _problems(self) -> list[str]:
        """Say what is wrong; a standby that waits for the Lease is healthy."""
        return self._operator.problems() if self._operator is not None else []


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Wait for ``work``; give up when asked to stop. Say whether the work was done."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.done() and not stop.is_set()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


def _verdict(holding: asyncio.Task[None], stopping: asyncio.Task[bool], *, working: asyncio.Task[None]) -> Exit:
    if stopping.done():
        logger.info("asked to stop")
        return Exit.STOPPED
    if holding.done():
        return Exit.LEASE_LOST
    error = working.exception()
    logger.error("the operator ended unexpectedly", exc_info=error)
    return Exit.FAILED
