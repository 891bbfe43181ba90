"""What waits for a server is looked at when the server answers again, and not before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tenantry_operator.clients.postgres import ServerAddress, ServerUnreachable
from tenantry_operator.clients.sqlstate import Failure, FailureKind
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key, Lane
from tenantry_operator.engine.recovery import Recovery
from tenantry_operator.reconcile.addresses import waiting_for_a_server

ACME = Key("Tenant", "acme")


def address(name: str = "primary") -> ServerAddress:
    return ServerAddress(name=name, host="db", port=5432, database="app", user="operator", password="")


class Doors:
    """Servers of which some do not answer."""

    def __init__(self, *shut: str) -> None:
        self.shut = set(shut)
        self.knocks: list[str] = []
        self.knocked_often = asyncio.Event()

    @asynccontextmanager
    async def connection(self, address: ServerAddress) -> AsyncIterator[Any]:
        self.knocks.append(address.name)
        if len(self.knocks) > 2:
            self.knocked_often.set()
        if address.name in self.shut:
            raise ServerUnreachable(Failure(FailureKind.UNREACHABLE, "NotReachable", "no answer"))
        yield self

    async def execute(self, statement: str) -> None:
        assert statement


class Scene:
    def __init__(self, doors: Doors, *waiting: Key) -> None:
        self.doors = doors
        self.waiting = [*waiting]
        self.asked: list[tuple[Key, Lane]] = []
        self.looked = asyncio.Event()
        self.recovery = Recovery(
            doors,  # type: ignore[arg-type]  # all that is asked of it
            self._ask,
            waiting=lambda: self.waiting,
        )

    def _ask(self, key: Key, lane: Lane) -> None:
        self.asked.append((key, lane))
        self.looked.set()


async def test_what_waits_is_looked_at_once_the_server_answers() -> None:
    scene = Scene(Doors("primary"), ACME)
    scene.recovery.lost(address())
    await scene.recovery.once()
    assert scene.asked == []
    scene.doors.shut.clear()
    await scene.recovery.once()
    assert scene.asked == [(ACME, Lane.ROUTINE)]
    await scene.recovery.once()
    assert len(scene.doors.knocks) == 2, "what answers is left in peace"


async def test_nobody_knocks_while_nothing_waits() -> None:
    scene = Scene(Doors("primary"))
    scene.recovery.lost(address())
    await scene.recovery.once()
    assert scene.doors.knocks == []


async def test_a_server_that_stays_away_keeps_no_other_from_coming_back() -> None:
    scene = Scene(Doors("primary"), ACME)
    scene.recovery.lost(address())
    scene.recovery.lost(address("second"))
    await scene.recovery.once()
    assert scene.asked == [(ACME, Lane.ROUTINE)]
    await scene.recovery.once()
    assert sorted(scene.doors.knocks) == ["primary", "primary", "second"]


async def test_it_knocks_again_and_again() -> None:
    scene = Scene(Doors("primary"), ACME)
    task = asyncio.create_task(scene.recovery.run(every=0))
    scene.recovery.lost(address())
    async with asyncio.timeout(10):
        await scene.doors.knocked_often.wait()
        scene.doors.shut.clear()
        await scene.looked.wait()
    assert scene.asked[0] == (ACME, Lane.ROUTINE)
    task.cancel()


def test_who_waits_says_so() -> None:
    cache = ObjectCache()
    reasons = {"acme": "ServerUnreachable", "beta": "RegistryUnavailable", "gamma": "Provisioned", "delta": "NotOurs"}
    for name, reason in reasons.items():
        conditions = [{"type": "Ready", "status": "False", "reason": reason}]
        cache.put("Tenant", {"metadata": {"name": name}, "status": {"conditions": conditions}})
    cache.put("Tenant", {"metadata": {"name": "fresh"}})
    assert {key.name for key in waiting_for_a_server(cache)} == {"acme", "beta"}
