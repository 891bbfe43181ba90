"""What makes /healthz fail: a stuck sweep, a watch that ended, a watch that is behind; and nothing else."""

import asyncio
from typing import Any, cast

import pytest

from tenantry_operator import running
from tenantry_operator.running import HealthLimits, Operator


class Part:
    """A sweep, a watch and a feed in one, as sick as the test wants."""

    kind = "Tenant"

    def __init__(self, *, age: float = 0.0, alive: bool = True, behind: float = 0.0) -> None:
        self._age, self._alive, self._behind = age, alive, behind

    def age(self) -> float:
        return self._age

    def alive(self) -> bool:
        return self._alive

    def behind(self) -> float:
        return self._behind


def problems_of(part: Part) -> Operator:
    same = cast("Any", part)
    return Operator(
        kube=same,
        servers=same,
        fence=same,
        cache=same,
        queue=same,
        workers=same,
        sweeps=[same],
        feed=same,
        recovery=same,
        watches=[same],
        check_interval=1,
        health=HealthLimits(stuck_after=180, behind_after=30),
        metrics=same,
    )


async def test_all_is_well() -> None:
    assert problems_of(Part(age=179, behind=29)).problems() == []


async def test_a_stuck_sweep_is_a_problem() -> None:
    assert problems_of(Part(age=181)).problems() == ["the sweep of Tenant is stuck for 181 s"]


async def test_a_watch_that_is_behind_is_a_problem() -> None:
    assert problems_of(Part(behind=31)).problems() == ["the watch is dead: it is behind for 31 s"]


async def test_a_watch_that_ended_is_a_problem_when_it_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "WATCH_START_LIMIT", 0.05)
    operator = problems_of(Part(alive=False))
    assert operator.problems() == [], "it is being started anew"
    await asyncio.sleep(0.06)
    assert operator.problems() == ["the watch is dead"]
