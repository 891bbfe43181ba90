"""What a run remembers of a Tenant holds for that one only, and as long as it is where the run left it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.observe.migration import Placed
from tenantry_operator.reconcile import migration_fleet
from tenantry_operator.reconcile.migration_fleet import FleetView
from tenantry_operator.reconcile.migration_moving import Memory

ACME = Placed("acme", "id-acme", "uid-1", "primary", "app", "s_acme", "t1", Isolation.SCHEMA.value)
GLOBEX = Placed("globex", "id-globex", "uid-2", "primary", "t_globex", "s_globex", "t1", Isolation.DATABASE.value)


class Site:
    """A registry and schemas that are as somebody says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.placed = {"acme": ACME, "globex": GLOBEX}
        self.schemas = {"s_acme": "t1", "s_globex": "t1"}
        self.asked: list[str] = []
        self.memory = Memory()
        monkeypatch.setattr(migration_fleet, "read_placed", self._placed)
        monkeypatch.setattr(migration_fleet, "read_versions", self._versions)
        there: Any = self
        self._view = FleetView(there, there, ObjectCache())

    @asynccontextmanager
    async def connection(self, *_: object, **__: object) -> AsyncIterator[None]:
        yield None

    async def address(self, server: str) -> Any:
        return SimpleNamespace(name=server, database="app")

    async def _placed(self, _: object) -> tuple[str, tuple[Placed, ...]]:
        return "t1", tuple(self.placed.values())

    async def _versions(self, _: object, schemas: Iterable[str]) -> dict[str, str]:
        wanted = [one for one in schemas if one in self.schemas]
        self.asked += wanted
        return {one: self.schemas[one] for one in wanted}

    def at(self, name: str, version: str, **changes: str) -> None:
        """Have schema and registry say so; `changes` are of the row."""
        self.placed[name] = replace(self.placed[name], version=version, **changes)
        self.schemas[f"s_{name}"] = version

    async def look(self, **moved: str) -> dict[str, str]:
        registry: Any = SimpleNamespace()
        self.asked.clear()
        found = await self._view.look(registry, self.memory, moved={f"id-{one}": to for one, to in moved.items()})
        return {one.name: one.version for one in found.now().members}

    async def failures(self) -> set[str]:
        registry: Any = SimpleNamespace()
        return set((await self._view.look(registry, self.memory)).now().failures)


async def test_who_is_restored_while_a_run_goes_is_moved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored tenant keeps its id; its rows, and what the registry says, are those of the backup."""
    site = Site(monkeypatch)
    assert await site.look() == {"acme": "t1", "globex": "t1"}
    for name in ("acme", "globex"):
        site.at(name, "t2")
    site.memory.apart["id-globex"] = "t2"
    assert await site.look(acme="t2", globex="t2") == {"acme": "t2", "globex": "t2"}
    assert site.asked == [], "who is where the run left it is not asked again"
    for name in ("acme", "globex"):
        site.at(name, "t1", uid="uid-9")
    assert await site.look(acme="t2", globex="t2") == {"acme": "t1", "globex": "t1"}
    assert await site.look(acme="t2", globex="t2") == {"acme": "t1", "globex": "t1"}


async def test_what_a_copy_says_wrongly_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    site.placed["globex"] = replace(GLOBEX, version="t2")
    assert await site.look() == {"acme": "t1", "globex": "t1"}


async def test_who_is_made_again_inherits_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    for uid in ("uid-1", "uid-2"):
        site.memory.failures[uid] = "it broke"
        site.memory.attempts[uid] = 2
    assert await site.failures() == {"acme", "globex"}
    site.at("acme", "t1", uid="uid-9")
    assert await site.failures() == {"globex"}
    assert set(site.memory.failures) == set(site.memory.attempts) == {"uid-2"}, "who is gone is forgotten"
