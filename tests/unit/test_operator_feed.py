"""The feed: what changed is queued once, what the watch missed is found, and a dead watch is noticed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tenantry_operator.clients.kube import PAGE, SECRETS, TENANTS, Gone, Page, Resource
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key, Lane
from tenantry_operator.handlers.feed import Feed, Watched, itself, keep_checking, rest
from tenantry_operator.metrics import Metrics
from tenantry_testing.fake_clock import FakeClock

ACME = Key("Tenant", "acme")


def tenant(version: int, name: str = "acme") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": {}}


def secret(version: int, owner: str | None = "acme") -> dict[str, Any]:
    labels = {"tenantry.dev/tenant": owner} if owner else {}
    metadata = {"name": "s", "namespace": "tenantry-system", "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata}


def owner_of(obj: dict[str, Any]) -> tuple[Key, ...]:
    owner = obj["metadata"]["labels"].get("tenantry.dev/tenant")
    return (Key("Tenant", owner),) if owner else ()


class Server:
    """What an API server would list."""

    def __init__(self) -> None:
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.version = "9"
        self.gone = 0

    async def pages(self, resource: Resource, *, size: int = PAGE, **_: Any) -> AsyncIterator[Page]:
        """One object a page; the place is given up as often as was asked for."""
        held = self.held.get(resource.kind, [])
        for obj in held:
            yield Page([obj], self.version)
            if size and self.gone:
                self.gone -= 1
                raise Gone(410, "Expired", "the place is given up")
        if not held:
            yield Page([], self.version)

    async def get(self, resource: Resource, name: str, **_: Any) -> dict[str, Any] | None:
        return next((obj for obj in self.held.get(resource.kind, []) if obj["metadata"]["name"] == name), None)


class Bench:
    def __init__(self) -> None:
        self.server = Server()
        self.cache = ObjectCache()
        self.clock = FakeClock()
        self.queued: list[tuple[Key, Lane]] = []
        self.forgotten: list[Key] = []
        self.feed = Feed(
            self.server,  # type: ignore[arg-type]  # the reads that the feed does
            self.cache,
            lambda key, lane: self.queued.append((key, lane)),
            forget=self.forgotten.append,
            watched=[
                Watched(TENANTS, itself("Tenant")),
                Watched(SECRETS, owner_of, namespace="tenantry-system", metadata_only=True),
            ],
            clock=self.clock,
            metrics=Metrics(),
        )

    def taken(self) -> list[tuple[Key, Lane]]:
        queued, self.queued = self.queued, []
        return queued


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_exists_at_the_start_is_loaded_and_queued_without_hurry(bench: Bench) -> None:
    bench.server.held["Tenant"] = [tenant(3)]
    await bench.feed.prime()
    assert bench.cache.get(ACME) == tenant(3)
    assert bench.taken() == [(ACME, Lane.ROUTINE)]


async def test_a_list_that_takes_too_long_is_asked_for_at_once(bench: Bench) -> None:
    bench.server.held["Tenant"], bench.server.gone = [tenant(3), tenant(4, "other")], 1
    await bench.feed.prime()
    assert bench.cache.keys("Tenant") == (ACME, Key("Tenant", "other"))
    assert bench.taken() == [(ACME, Lane.ROUTINE), (Key("Tenant", "other"), Lane.ROUTINE)]


async def test_a_watch_that_goes_on_from_the_list_has_brought_what_was_in_it(bench: Bench) -> None:
    bench.server.held["Tenant"] = [tenant(3)]
    await bench.feed.prime()
    assert bench.feed.begins() == {"Tenant": "9", "Secret": "9"}
    bench.feed.begun("Tenant")
    await bench.feed.check()
    bench.clock.advance(100)
    assert bench.feed.behind() == 0
    bench.server.held["Tenant"] = [tenant(12)]
    await bench.feed.check()
    bench.clock.advance(100)
    assert bench.feed.behind() == 100


async def test_a_watch_that_never_began_is_behind(bench: Bench) -> None:
    bench.server.held["Tenant"] = [tenant(3)]
    await bench.feed.prime()
    await bench.feed.check()
    bench.clock.advance(100)
    assert bench.feed.behind() == 100


async def test_what_a_watch_brought_before_it_is_said_to_have_begun_is_kept(bench: Bench) -> None:
    bench.server.held["Tenant"] = [tenant(3)]
    await bench.feed.prime()
    bench.feed.event("Tenant", "MODIFIED", tenant(12))
    bench.feed.begun("Tenant")
    bench.server.held["Tenant"] = [tenant(12)]
    await bench.feed.check()
    bench.clock.advance(100)
    assert bench.feed.behind() == 0


async def test_what_a_watch_finds_when_it_begins_anew_is_taken(bench: Bench) -> None:
    bench.feed.listed("Tenant", [tenant(4), tenant(5, "other")])
    assert bench.taken() == [(ACME, Lane.NEWS), (Key("Tenant", "other"), Lane.NEWS)]


async def test_what_somebody_waits_for_at_the_start_goes_first(bench: Bench) -> None:
    def told(name: str, generation: int, observed: int | None, **metadata: str) -> dict[str, Any]:
        about = {**tenant(3)["metadata"], "name": name, "generation": generation, **metadata}
        return {"metadata": about, "status": {} if observed is None else {"observedGeneration": observed}}

    bench.server.held["Tenant"] = [
        told("level", 2, 2),
        told("new", 1, -1),
        told("changed", 3, 2),
        told("leaving", 2, 2, deletionTimestamp="now"),
        told("silent", 1, None),
    ]
    await bench.feed.prime()
    lanes = {key.name: lane for key, lane in bench.taken()}
    assert {name for name, lane in lanes.items() if lane is Lane.NEWS} == {"new", "changed", "leaving"}
    assert {name for name, lane in lanes.items() if lane is Lane.ROUTINE} == {"level", "silent"}


async def test_a_change_is_queued_at_once_and_only_once(bench: Bench) -> None:
    bench.feed.event("Tenant", "MODIFIED", tenant(4))
    bench.feed.event("Tenant", "MODIFIED", tenant(4))
    assert bench.taken() == [(ACME, Lane.NEWS)]


async def test_the_echo_of_an_own_write_queues_nothing(bench: Bench) -> None:
    bench.cache.put("Tenant", tenant(5))
    bench.feed.event("Tenant", "MODIFIED", tenant(5))
    assert bench.taken() == []


async def test_a_child_queues_its_owner_also_when_it_is_deleted(bench: Bench) -> None:
    bench.feed.event("Secret", "ADDED", secret(6))
    assert bench.taken() == [(ACME, Lane.NEWS)]
    bench.feed.event("Secret", "DELETED", secret(7))
    assert bench.taken() == [(ACME, Lane.NEWS)]
    assert bench.cache.all("Secret") == ()


async def test_what_is_gone_is_forgotten_before_it_can_be_made_again(bench: Bench) -> None:
    bench.feed.event("Tenant", "ADDED", tenant(3))
    assert bench.forgotten == []
    bench.feed.event("Tenant", "DELETED", tenant(4))
    assert bench.forgotten == [ACME]
    bench.feed.event("Tenant", "ADDED", tenant(5))
    assert bench.forgotten == [ACME]


async def test_an_object_that_is_nobodys_business_is_not_kept(bench: Bench) -> None:
    bench.feed.event("Secret", "ADDED", secret(6, owner=None))
    assert bench.taken() == []
    assert bench.cache.all("Secret") == ()


async def test_a_watch_that_brought_everything_is_not_behind(bench: Bench) -> None:
    bench.server.held["Tenant"] = [tenant(4)]
    bench.feed.event("Tenant", "ADDED", tenant(4))
    await bench.feed.check()
    bench.clock.advance(100)
    assert bench.feed.behind() == 0


async def test_an_event_that_is_late_by_less_than_a_look_is_no_miss(bench: Bench) -> None:
    bench.server.held["Tenant"] = [tenant(4)]
    await bench.feed.check()
    bench.clock.advance(5)
    assert bench.feed.behind() == 5
    bench.feed.event("Tenant", "ADDED", tenant(4))
    await bench.feed.check()
    assert bench.feed.behind() == 0
    assert bench.taken() == [(ACME, Lane.NEWS)]


async def test_a_change_that_the_watch_never_brings_is_found_and_the_watch_stays_behind(bench: Bench) -> None:
    bench.server.held["Tenant"] = [tenant(4)]
    await bench.feed.check()
    bench.clock.advance(10)
    await bench.feed.check()
    assert bench.taken() == [(ACME, Lane.ROUTINE)]
    assert bench.cache.get(ACME) == tenant(4)
    bench.clock.advance(10)
    await bench.feed.check()
    assert bench.taken() == [], "found once"
    assert bench.feed.behind() == 20, "that we found it ourselves does not make the watch alive"


async def test_a_deletion_that_the_watch_never_brings_is_found(bench: Bench) -> None:
    bench.feed.event("Tenant", "ADDED", tenant(4))
    bench.taken()
    await bench.feed.check()
    assert bench.cache.get(ACME) is None
    assert bench.taken() == [(ACME, Lane.NEWS)]


async def test_an_object_that_comes_while_the_list_is_under_way_is_not_taken_for_deleted(bench: Bench) -> None:
    pages = bench.server.pages

    async def slow_pages(resource: Resource, **options: Any) -> AsyncIterator[Page]:
        async for page in pages(resource, **options):
            bench.feed.event("Tenant", "ADDED", tenant(9, name="late"))
            yield page

    bench.server.pages = slow_pages  # type: ignore[method-assign]
    await bench.feed.check()
    assert bench.cache.get(Key("Tenant", "late")) is not None


def test_a_check_comes_less_often_when_there_are_very_many_objects() -> None:
    assert rest(10.0, 1_000) == 10.0
    assert rest(10.0, 20_000) == 200.0


async def test_what_is_not_there_yet_is_looked_for_soon_however_many_objects_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    feed = Feed.__new__(Feed)
    behind = iter([0.0, 0.0, 3.0])

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    async def check() -> int:
        return 20_000

    monkeypatch.setattr(feed, "check", check)
    monkeypatch.setattr(feed, "behind", lambda: next(behind))
    monkeypatch.setattr("tenantry_operator.handlers.feed.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await keep_checking(feed, interval=10.0)
    assert slept == [10.0, 200.0, 10.0]


async def test_what_was_put_there_from_elsewhere_is_not_compared(bench: Bench) -> None:
    elsewhere = secret(6)
    elsewhere["metadata"] |= {"namespace": "acme"}
    bench.cache.put("Secret", elsewhere)
    await bench.feed.check()
    assert bench.taken() == []
    assert len(bench.cache.all("Secret")) == 1
