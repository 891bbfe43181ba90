"""What somebody asks for while a pass runs is never lost, though the pass's own writes make no news."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tenantry_operator.clients.kube import TENANTS, Kube
from tenantry_operator.engine.queue import Key
from tenantry_testing.tenant_world import TenantWorld

ACME = Key("Tenant", "acme")

Interfere = Callable[[], Awaitable[Any]]


def before_the_status_is_written(world: TenantWorld, monkeypatch: pytest.MonkeyPatch, interfere: Interfere) -> None:
    """Run ``interfere`` once, when the next pass has concluded and is about to write its status."""
    patch = world.kube.json_patch
    pending = [interfere]

    async def interfered(*args: Any, **options: Any) -> Any:
        if options.get("subresource") == "status" and pending:
            await pending.pop()()
        return await patch(*args, **options)

    monkeypatch.setattr(world.kube, "json_patch", interfered)


async def changed_by_another(kube: Kube, changes: dict[str, Any]) -> None:
    await kube.merge_patch(TENANTS, "acme", changes)


async def test_a_deletion_under_the_status_write_is_seen_by_the_next_pass(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    slipped: list[Key] = []
    world.cache.slipped_in = slipped.append
    await world.apply_tenant("acme", deletionPolicy="Delete", deletionProtection="Disabled")
    await world.refresh()
    before_the_status_is_written(world, monkeypatch, lambda: world.kube.delete(TENANTS, "acme"))
    await world.tenants.reconcile(ACME)
    assert slipped == [ACME], "the watch's own event comes too late to ask for it"
    await world.tenants.reconcile(ACME)
    assert await world.kube.get(TENANTS, "acme") is None
    world.counted.clear()
    await world.tenants.reconcile(ACME)
    assert world.counted == [], "until the watch says so, it is known that it was let go"


async def test_a_change_under_the_status_write_is_seen_by_the_next_pass(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    slipped: list[Key] = []
    world.cache.slipped_in = slipped.append
    await world.apply_tenant("acme")
    await world.refresh()
    changes = {"spec": {"database": {"connectionLimit": 7}}}
    before_the_status_is_written(world, monkeypatch, lambda: changed_by_another(world.kube, changes))
    await world.tenants.reconcile(ACME)
    assert slipped == [ACME]
    await world.tenants.reconcile(ACME)
    assert (await world.tenant("acme"))["status"]["effective"]["connectionLimit"] == 7


async def test_a_deletion_that_the_watch_brings_in_the_midst_of_a_quiet_pass_is_seen_by_the_next(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass has nothing to write; the cache is ahead of what it saw."""
    await world.provision("acme", deletionPolicy="Delete", deletionProtection="Disabled")
    await world.refresh()
    world.tenants.forget("acme")
    hold = world.fence.hold

    def interrupted(name: str) -> Any:
        monkeypatch.setattr(world.fence, "hold", hold)
        return _Interrupted(hold(name), world)

    monkeypatch.setattr(world.fence, "hold", interrupted)
    await world.tenants.reconcile(ACME)
    await world.tenants.reconcile(ACME)
    assert await world.kube.get(TENANTS, "acme") is None


class _Interrupted:
    """A lock under which, once it is had, the Tenant is deleted and the watch says so."""

    def __init__(self, lock: Any, world: TenantWorld) -> None:
        self._lock = lock
        self._world = world

    async def __aenter__(self) -> None:
        await self._lock.__aenter__()
        await self._world.kube.delete(TENANTS, "acme")
        await self._world.refresh()

    async def __aexit__(self, *error: Any) -> bool | None:
        ended: bool | None = await self._lock.__aexit__(*error)
        return ended
