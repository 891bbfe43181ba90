"""A process that starts looks only into Tenants of which something changed since the process before."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tenantry_operator.clients.kube import DATABASESERVERS, NAMESPACES, SECRETS, TENANTS
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.clock import SystemClock
from tenantry_operator.engine.queue import Key, KeyedQueue, Lane, Result
from tenantry_operator.engine.workers import Limits, Workers
from tenantry_operator.handlers.feed import Feed, Watched, itself
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.names import TenantNames
from tenantry_operator.reconcile import tenant_level
from tenantry_testing.tenant_world import SERVER, TenantWorld

OTHER: Final = "globex"
NAMESPACE: Final = {"name": "acme-home", "networkPolicy": "DefaultDeny"}
ROTATING: Final = {"interval": "720h"}
SHUT: Final = ("Suspended", "Archived")


async def looked_into(world: TenantWorld, name: str) -> bool:
    """Run the first pass after the start over the Tenant; say whether it looked at anything."""
    await world.refresh()
    # Whichever pass comes first looks for all of them.
    await world.tenants.reconcile(Key("Tenant", OTHER))
    world.counted.clear()
    await world.tenants.reconcile(Key("Tenant", name))
    return bool(world.counted)


async def level(world: TenantWorld, *names: str) -> None:
    """Sweep until it is written down that the Tenants are level."""
    await world.settle()
    rows = world.fetch(
        "SELECT t.name FROM tenantry.levels l JOIN tenantry.tenants t ON t.id = l.tenant_id", database="tenantry"
    )
    assert {name for (name,) in rows} >= {*names, OTHER}


@dataclass(frozen=True)
class Change:
    """Something that happens while no operator runs."""

    make: Callable[[TenantWorld], Awaitable[object]]

    async def __call__(self, world: TenantWorld) -> None:
        await self.make(world)


def patched(resource: Any, name: str, namespace: str | None = None, **changes: Any) -> Change:
    return Change(lambda world: world.kube.merge_patch(resource, name, changes, namespace=namespace))


def executed(*statements: str, database: str = "app") -> Change:
    async def make(world: TenantWorld) -> None:
        world.execute(*statements, database=database)

    return Change(make)


async def _delete_secret(world: TenantWorld) -> None:
    await world.kube.delete(SECRETS, "acme-database", namespace=world.settings.namespace)


async def _change_secret(world: TenantWorld) -> None:
    await world.kube.merge_patch(
        SECRETS, "acme-database", {"data": {"host": "ZWxzZXdoZXJl"}}, namespace=world.settings.namespace
    )


async def _delete_status(world: TenantWorld) -> None:
    operations = [{"op": "replace", "path": "/status/conditions", "value": []}]
    await world.kube.json_patch(TENANTS, "acme", operations, subresource="status")


CHANGES: Final = {
    "an annotation": patched(TENANTS, "acme", metadata={"annotations": {"tenantry.dev/reconcile": "1"}}),
    "the spec": patched(TENANTS, "acme", spec={"database": {"connectionLimit": 7}}),
    "the status": Change(_delete_status),
    "a Secret that is gone": Change(_delete_secret),
    "a Secret's data": Change(_change_secret),
    "the namespace": patched(
        NAMESPACES, "acme-home", metadata={"labels": {"pod-security.kubernetes.io/enforce": None}}
    ),
    "where the server is": patched(DATABASESERVERS, SERVER, spec={"host": "localhost"}),
    "a role": executed("ALTER ROLE t_acme_app CONNECTION LIMIT 3"),
    "a schema": executed("REVOKE USAGE ON SCHEMA t_acme FROM t_acme_app"),
    "the row": executed("UPDATE tenantry.tenants SET state = 'suspended' WHERE name = 'acme'", database="tenantry"),
    "what was applied": executed("UPDATE tenantry.tenants SET applied = '' WHERE name = 'acme'", database="tenantry"),
    "the released revision": executed("UPDATE tenantry.released SET revision = 't0000'", database="tenantry"),
    "whose the server is": executed("COMMENT ON ROLE tenantry_owner IS 'another one''s'"),
    "what was written down": executed("UPDATE tenantry.levels SET said = '{}'", database="tenantry"),
    "that it is due": executed(
        """UPDATE tenantry.levels SET said = regexp_replace(said, '"due":"....', '"due":"2000')""", database="tenantry"
    ),
}


async def test_a_process_that_starts_looks_into_nothing_that_is_level(world: TenantWorld) -> None:
    for name, spec in ((OTHER, {}), ("acme", {"credentials": {"rotation": ROTATING}, "namespace": NAMESPACE})):
        await world.provision(name, **spec)
    await world.provision("initech", isolation="Pooled")
    await world.provision("umbrella", database={"extensions": [{"name": "pgcrypto"}]})
    for lifecycle in SHUT:
        await world.apply_tenant(lifecycle.lower(), lifecycle=lifecycle)
        await world.reconcile(lifecycle.lower())
    everybody = ("acme", "initech", "umbrella", *map(str.lower, SHUT))
    await level(world, *everybody)
    due = await world.reconcile("acme")
    await world.restart()
    assert [name for name in everybody if await looked_into(world, name)] == []
    assert world.writes() == []
    again = await world.tenants.reconcile(Key("Tenant", "acme"))
    assert due.requeue_after is not None
    assert again.requeue_after == pytest.approx(due.requeue_after, abs=60)
    # The first sweep looks at all of them, and is level itself.
    assert await world.swept() == set()
    world.execute("ALTER ROLE t_acme_app CONNECTION LIMIT 3")
    assert await world.swept() == {"acme"}


async def test_what_changed_meanwhile_is_looked_into(world: TenantWorld) -> None:
    await world.provision(OTHER)
    await world.provision("acme")
    await world.provision("housed", namespace=NAMESPACE)
    passed_over = []
    for what, change in CHANGES.items():
        await level(world, "acme", "housed")
        released = world.fetch("SELECT revision FROM tenantry.released", database="tenantry")[0][0]
        claim = world.fetch("SELECT shobj_description('tenantry_owner'::regrole, 'pg_authid')")[0][0]
        await change(world)
        await world.restart()
        if not await looked_into(world, "housed" if what == "the namespace" else "acme"):
            passed_over.append(what)
        # Of what no operator puts right by itself.
        world.execute(f"UPDATE tenantry.released SET revision = '{released}'", database="tenantry")
        world.execute(f"COMMENT ON ROLE tenantry_owner IS '{claim}'")
        await world.reconcile_server()
        await world.restart()
        await world.reconcile("acme")
        await world.reconcile("housed")
    assert passed_over == []
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_another_version_looks_into_everything(world: TenantWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.provision(OTHER)
    await world.provision("acme")
    await level(world, "acme")
    await world.restart()
    monkeypatch.setattr(tenant_level, "_code", lambda: "another one")
    assert await looked_into(world, "acme")


FLEET: Final = tuple(f"fleet-{number:02}" for number in range(24))


class Order:
    """Passes over Tenants by a queue and its workers, as an operator runs them; notes their order."""

    kind = "Tenant"

    def __init__(self, world: TenantWorld, *, workers: int) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._world = world
        clock, metrics = SystemClock(), Metrics()
        queue = KeyedQueue(clock, failing_limit=1)
        limits = Limits(workers, pass_timeout=60)
        self.workers = Workers(queue, {"Tenant": self}, limits=limits, clock=clock, metrics=metrics)
        watched = [Watched(TENANTS, itself("Tenant"))]
        # The rest of what the watch would bring is there.
        self.feed = Feed(
            world.kube, ObjectCache(), self._queued, forget=queue.forget, watched=watched, clock=clock, metrics=metrics
        )

    def _queued(self, key: Key, lane: Lane) -> None:
        self.workers.add(key, lane=lane)

    async def reconcile(self, key: Key) -> Result:
        self.begun.append(key.name)
        result = await self._world.tenants.reconcile(key)
        self.ended.append(key.name)
        return result

    async def run(self, names: set[str]) -> None:
        """Prime, and work until each of the Tenants had its pass."""
        await self.feed.prime()
        task = asyncio.create_task(self.workers.run())
        try:
            async with asyncio.timeout(120):
                while not names <= {*self.ended}:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            await self.workers.drain(10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_whom_somebody_waits_for_goes_first_after_an_upgrade_and_nothing_is_written_for_the_others(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (OTHER, *FLEET):
        await world.apply_tenant(name)
    await world.reconcile_at_once((OTHER, *FLEET))
    await level(world, *FLEET)
    monkeypatch.setattr(tenant_level, "_code", lambda: "another one")
    # Nobody sees these until the new operator starts. By their names they would be the last.
    await world.apply_tenant("new")
    await world.apply_tenant(FLEET[-1], database={"connectionLimit": 7})
    await world.restart()
    await world.refresh()
    world.counted.clear()
    order = Order(world, workers=2)
    await order.run({"new", OTHER, *FLEET})
    assert {*order.begun[:2]} == {"new", FLEET[-1]}
    assert order.ended[-1] != "new", "it has not waited for all others"
    assert len(world.writes()) == (3 + 1) + (1 + 1), "a new one, a change, an Event of each, and none for all others"
    assert world.condition(await world.tenant("new"), "Ready") == ("True", "Provisioned")


async def test_a_note_of_another_version_is_not_read_whatever_is_in_it(world: TenantWorld) -> None:
    await world.provision(OTHER)
    await world.provision("acme")
    await level(world, "acme")
    another = """jsonb_set(jsonb_set(said::jsonb, '{made_by}', '"another"'), '{secret,0}', '[]')::text"""
    world.execute(
        f"UPDATE tenantry.levels SET said = {another} WHERE tenant_id = "
        f"(SELECT id FROM tenantry.tenants WHERE name = '{OTHER}')",
        database="tenantry",
    )
    await world.restart()
    assert not await looked_into(world, "acme")


async def test_a_look_that_fails_in_any_way_keeps_nobody_from_a_pass(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise ValueError("too many values to unpack")

    await world.provision(OTHER)
    await world.provision("acme")
    await level(world, "acme")
    await world.restart()
    monkeypatch.setattr(tenant_level, "is_level", broken)
    assert await looked_into(world, "acme")


async def test_what_no_mark_tells_is_found_by_the_first_sweep(world: TenantWorld) -> None:
    await world.provision(OTHER)
    await world.provision("acme")
    await level(world, "acme")
    schema = TenantNames("acme").service_schema
    world.execute(f"UPDATE {schema}.schema_version SET version = 't0000'")
    await world.restart()
    assert not await looked_into(world, "acme")
    assert await world.sweep() == {"acme"}
    status = (await world.tenant("acme"))["status"]
    assert status["migration"]["current"] == "t0000", json.dumps(status)


async def test_a_tenant_with_a_database_of_its_own_is_looked_into(world: TenantWorld) -> None:
    await world.provision(OTHER)
    await world.provision("acme", isolation="Database")
    await level(world)
    await world.restart()
    assert await looked_into(world, "acme")
