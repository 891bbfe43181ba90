"""The registry is told of everybody whom a wave moved, also when the wave ends while it is being told."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tenantry_operator.engine.moving import Moving
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.migration import Member
from tenantry_operator.plan.migration import MoveTenants
from tenantry_operator.reconcile import migration_moving
from tenantry_operator.reconcile.migration_moving import Memory, Mover, Outcome, Times
from tenantry_testing.fake_clock import FakeClock

TENANTS = 3


class Anything:
    """Servers, addresses and locks that are always there."""

    @asynccontextmanager
    async def connection(self, *_: object, **__: object) -> AsyncIterator[None]:
        yield None

    hold = connection

    async def address(self, server: str) -> Any:
        return SimpleNamespace(name=server, database="app", max_connections=TENANTS + 1)


def mover() -> Mover:
    there: Any = Anything()
    return Mover(
        servers=there,
        addresses=there,
        fence=there,
        registry=there,
        metrics=Metrics(),
        installation="test",
        times=Times(slice=60, tenant=60),
        moving=Moving(FakeClock()),
    )


async def test_what_was_being_written_when_the_wave_ended_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, str] = {}
    writing = asyncio.Event()

    async def copy(_: object, versions: Mapping[str, str]) -> None:
        if not writing.is_set():
            writing.set()
            await asyncio.Event().wait()
        told.update(versions)

    async def bring(_: object, __: object, one: Member, *___: object) -> str:
        if one is members[-1]:
            await writing.wait()
        return "t0002"

    async def ended(*_: object) -> None:
        return None

    monkeypatch.setattr(migration_moving, "copy_versions", copy)
    monkeypatch.setattr(migration_moving, "COPY_EVERY", 0.001)
    monkeypatch.setattr(Mover, "_bring", bring)
    members = tuple(Member(f"tenant-{one}", str(one), "uid", "primary", "app", "t0001") for one in range(TENANTS))
    anything: Any = SimpleNamespace(failure_budget=0)
    results = await mover().move(
        MoveTenants(anything, members, TENANTS),
        anything,
        anything,
        memory=Memory(),
        may_begin=lambda: True,
        ended=ended,
    )
    assert {one.outcome for one in results.values()} == {Outcome.DONE}
    assert told == {one.id: "t0002" for one in members}
