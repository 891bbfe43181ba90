"""Workers: bounded, one pass per key, and a pass that hangs delays nobody for long."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tenantry_operator.engine import workers as workers_module
from tenantry_operator.engine.clock import SystemClock
from tenantry_operator.engine.queue import Key, KeyedQueue, Result
from tenantry_operator.engine.sweep import Sweep
from tenantry_operator.engine.workers import Limits, Workers
from tenantry_operator.metrics import Metrics

Pass = Callable[[Key], Awaitable[Result]]


class Scripted:
    """A reconciler whose passes are a function of the test."""

    kind = "Tenant"

    def __init__(self, run: Pass, differing: tuple[Key, ...] = ()) -> None:
        self._run = run
        self._differing = differing

    async def reconcile(self, key: Key) -> Result:
        return await self._run(key)

    async def sweep(self) -> AsyncIterator[Key]:
        for key in self._differing:
            yield key


class Bench:
    def __init__(self, run: Pass, *, workers: int = 2, pass_timeout: float = 10.0) -> None:
        self.metrics = Metrics()
        clock = SystemClock()
        self.queue = KeyedQueue(clock, random.Random(1), failing_limit=max(1, workers // 2))  # noqa: S311
        limits = Limits(workers, pass_timeout)
        self.workers = Workers(self.queue, {"Tenant": Scripted(run)}, limits=limits, clock=clock, metrics=self.metrics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.workers.run())
        try:
            yield
        finally:
            await self.workers.drain(0.0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def passes(self, outcome: str) -> float:
        return (
            self.metrics.registry.get_sample_value("tenantry_reconcile_total", {"kind": "Tenant", "outcome": outcome})
            or 0.0
        )


def key(name: str) -> Key:
    return Key("Tenant", name)


async def until(condition: Callable[[], bool], limit: float = 5.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_no_more_passes_run_at_once_than_there_are_workers() -> None:
    running, most, ended = 0, 0, 0

    async def run(_: Key) -> Result:
        nonlocal running, most, ended
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        ended += 1
        return Result()

    bench = Bench(run, workers=3)
    async with bench.running():
        for number in range(12):
            bench.workers.add(key(f"t{number}"))
        await until(lambda: ended == 12)
    assert most == 3


async def test_a_key_that_is_added_while_it_runs_runs_once_more_afterwards() -> None:
    runs: list[str] = []
    gate = asyncio.Event()

    async def run(_: Key) -> Result:
        runs.append("begun")
        await gate.wait()
        runs.append("ended")
        return Result()

    bench = Bench(run)
    async with bench.running():
        bench.workers.add(key("a"))
        await until(lambda: len(runs) == 1)
        for _ in range(3):
            bench.workers.add(key("a"))
        gate.set()
        await until(lambda: len(runs) == 4)
        await asyncio.sleep(0.05)
    assert runs == ["begun", "ended", "begun", "ended"]


async def test_a_pass_that_outlives_its_limit_is_ended_and_counts_as_failed() -> None:
    cancelled = asyncio.Event()

    async def run(_: Key) -> Result:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Result()

    bench = Bench(run, pass_timeout=0.05)
    async with bench.running():
        bench.workers.add(key("a"))
        await until(lambda: bench.passes("timed-out") >= 1)
    assert cancelled.is_set()


async def test_an_unexpected_error_is_counted_and_the_key_is_tried_again() -> None:
    attempts = 0

    async def run(_: Key) -> Result:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("a bug")
        return Result()

    bench = Bench(run)
    async with bench.running():
        bench.workers.add(key("a"))
        await until(lambda: bench.passes("ok") == 1)
    assert bench.passes("error") == 2
    assert bench.metrics.errors.labels("Tenant", "Unexpected")._value.get() == 2


async def test_what_stood_in_the_way_of_a_pass_is_counted() -> None:
    """Also of a pass that did what it could, and so did not fail."""
    bench = Bench(lambda _: asyncio.sleep(0, Result(error="NotOurs")))
    async with bench.running():
        bench.workers.add(key("a"))
        await until(lambda: bench.passes("ok") == 1)
    assert bench.metrics.errors.labels("Tenant", "NotOurs")._value.get() == 1


async def test_passes_that_hang_stand_aside_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """All workers hang in a first pass, before anything is known to fail; a healthy object is still served."""
    monkeypatch.setattr(workers_module, "SLOW_AFTER", 0.05)
    served = asyncio.Event()

    async def run(key: Key) -> Result:
        if key.name.startswith("hanging"):
            await asyncio.Event().wait()
        served.set()
        return Result()

    bench = Bench(run, workers=2)
    async with bench.running():
        for number in range(4):
            bench.workers.add(key(f"hanging-{number}"))
        bench.workers.add(key("healthy"))
        async with asyncio.timeout(2):
            await served.wait()


async def test_a_stopping_operator_lets_a_pass_end_by_itself() -> None:
    ended = asyncio.Event()

    async def run(_: Key) -> Result:
        await asyncio.sleep(0.05)
        ended.set()
        return Result()

    bench = Bench(run)
    task = asyncio.create_task(bench.workers.run())
    bench.workers.add(key("a"))
    await until(lambda: bench.workers.running() == 1)
    bench.workers.add(key("b"))
    await bench.workers.drain(5.0)
    assert ended.is_set()
    assert bench.passes("ok") == 1, "nothing more was begun"
    await task


def sweep_of(reconciler: Scripted, found: list[Key], *, timeout: float = 5.0) -> Sweep:
    return Sweep(
        reconciler,
        lambda key, _lane: found.append(key),
        interval=1,
        timeout=timeout,
        clock=SystemClock(),
        metrics=Metrics(),
    )


async def _never(_: Key) -> Result:
    raise AssertionError("a sweep runs no passes")


async def test_a_sweep_queues_what_differs() -> None:
    found: list[Key] = []
    assert await sweep_of(Scripted(_never, (key("a"), key("b"))), found).once() == "ok"
    assert found == [key("a"), key("b")]


async def test_a_failing_sweep_is_told_from_a_good_one_and_does_not_raise() -> None:
    class Failing(Scripted):
        async def sweep(self) -> AsyncIterator[Key]:
            raise RuntimeError("the server is gone")
            yield key("a")

    assert await sweep_of(Failing(_never), []).once() == "failed"


async def test_a_hanging_sweep_is_ended() -> None:
    class Hanging(Scripted):
        async def sweep(self) -> AsyncIterator[Key]:
            await asyncio.Event().wait()
            yield key("a")

    assert await sweep_of(Hanging(_never), [], timeout=0.02).once() == "timed-out"
