"""Tenants find a server by its room, and stay there: on real servers, in races, after deaths and losses."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from tenantry_operator.apply.registry import PlaceTaken, record
from tenantry_operator.clients.kube import DATABASESERVERS, TENANTS
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.placement import Seat
from tenantry_operator.model.tenant import RowState
from tenantry_operator.plan.actions import RecordTenant
from tenantry_testing.more_servers import OtherServer, change_server, other_server, owners
from tenantry_testing.tenant_crash import until_it_dies
from tenantry_testing.tenant_damages import make_desired
from tenantry_testing.tenant_world import TenantWorld


@pytest.fixture(scope="module")
def second_server() -> Iterator[OtherServer]:
    with other_server("second") as server:
        yield server


@pytest.fixture(scope="module")
def third_server() -> Iterator[OtherServer]:
    with other_server("third") as server:
        yield server


@pytest.fixture
async def second(world: TenantWorld, second_server: OtherServer) -> AsyncIterator[OtherServer]:
    """Another default server; the one of the world has room for three tenants, this one for four."""
    await change_server(world, "primary", limits={"tenants": 3})
    await second_server.join(world, default=True, limits={"tenants": 4})
    yield second_server
    await second_server.clean(world)


@pytest.fixture
async def third(world: TenantWorld, second: OtherServer, third_server: OtherServer) -> AsyncIterator[OtherServer]:
    """A third default server, with room for one."""
    await third_server.join(world, default=True, limits={"tenants": 1})
    yield third_server
    await third_server.clean(world)


def placed(world: TenantWorld) -> dict[str, str]:
    """Return each tenant's server, as the registry has it."""
    return dict(world.fetch("SELECT name, server FROM tenantry.tenants", database="tenantry"))


async def test_tenants_go_to_the_default_with_most_room(world: TenantWorld, third: OtherServer) -> None:
    # Room for 3, 4 and 1: with equal room the first by name.
    wanted = ["second", "primary", "second", "primary", "second", "primary", "second", "third"]
    for number, server in enumerate(wanted):
        tenant = await world.provision(f"t-{number}")
        assert tenant["status"]["databaseServer"] == server
    assert len(owners(world.postgres)) == 3
    assert len(third.owners()) == 1
    await world.apply_tenant("late")
    await world.reconcile("late")
    late = await world.tenant("late")
    assert world.condition(late, "Ready") == ("False", "NoCapacity")
    assert world.condition(late, "Stalled") == ("True", "NoCapacity")
    assert "second (4 of 4 tenants)" in world.message(late)
    assert "late" not in placed(world)
    await world.reconcile_server("second")
    full = await world.server("second")
    assert world.condition(full, "CapacityAvailable") == ("False", "NoCapacity")
    assert world.condition(full, "Ready") == ("True", "Connected")
    assert full["status"]["capacity"]["tenants"] == 4
    await change_server(world, "second", limits={"tenants": 5})
    assert world.condition(await world.server("second"), "CapacityAvailable") == ("True", "RoomLeft")
    await world.settle()
    assert (await world.tenant("late"))["status"]["databaseServer"] == "second"


async def test_tenants_that_come_at_once_never_pass_a_limit(world: TenantWorld, second: OtherServer) -> None:
    names = [f"race-{number}" for number in range(10)]
    for name in names:
        await world.apply_tenant(name)
    await world.reconcile_at_once(names)
    servers = list(placed(world).values())
    assert {server: servers.count(server) for server in set(servers)} == {"primary": 3, "second": 4}
    said = [world.condition(await world.tenant(name), "Ready") for name in names]
    assert said.count(("True", "Provisioned")) == 7
    assert said.count(("False", "NoCapacity")) == 3


async def test_the_last_place_is_waited_for_and_not_taken_twice(world: TenantWorld) -> None:
    """What one has written and not yet committed, the other would not see."""
    desired = [
        replace(make_desired(), names=TenantNames(name), uid=str(uuid4()), seat=Seat(1, 1, 1))
        for name in ("one", "two")
    ]
    first, second = [
        (RecordTenant(id=str(uuid4()), state=RowState.PROVISIONING, takes_place=True, reason="it is new"), one)
        for one in desired
    ]
    registry = await world.addresses.registry("primary", "tenantry")
    async with world.servers.dedicated(registry) as held, world.servers.dedicated(registry) as waiting:
        async with held.transaction():
            await record(held, *first)
            late = asyncio.create_task(record(waiting, *second))
            blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not late.done() and world.fetch(blocked, database="tenantry") == [(0,)]:
                await asyncio.wait({late}, timeout=0.05)
            assert not late.done()
        with pytest.raises(PlaceTaken):
            await late
    assert placed(world) == {"one": "primary"}


async def test_a_tenant_stays_where_it_is(world: TenantWorld, second: OtherServer) -> None:
    await world.provision("acme")
    assert second.owners() == ["t_acme_owner"]
    await change_server(world, "second", default=False, limits={"tenants": 0})
    await change_server(world, "primary", limits={"tenants": 50})
    await world.kube.json_patch(TENANTS, "acme", [{"op": "remove", "path": "/status"}], subresource="status")
    await world.restart()
    await world.settle()
    acme = await world.tenant("acme")
    assert acme["status"]["databaseServer"] == "second"
    assert world.condition(acme, "Ready") == ("True", "Provisioned")
    assert owners(world.postgres) == []


async def test_a_lost_row_is_found_again_by_the_marker(world: TenantWorld, second: OtherServer) -> None:
    tenant = await world.provision("acme")
    world.execute("DELETE FROM tenantry.tenants", database="tenantry")
    await change_server(world, "second", default=False, limits={"tenants": 0})
    await world.kube.json_patch(TENANTS, "acme", [{"op": "remove", "path": "/status"}], subresource="status")
    await world.restart()
    await world.settle()
    assert placed(world) == {"acme": "second"}
    assert (await world.tenant("acme"))["status"]["id"] == tenant["status"]["id"]
    assert owners(world.postgres) == []


@pytest.mark.parametrize("calls", [3, 5, 7, 9])
async def test_a_death_after_any_step_leaves_one_place(world: TenantWorld, second: OtherServer, calls: int) -> None:
    await world.apply_tenant("acme")
    await until_it_dies(world, "acme", calls)
    recorded = placed(world).get("acme")
    await world.restart()
    # Now another server has most room.
    await change_server(world, "primary", limits={"tenants": 50})
    await world.reconcile("acme")
    await world.settle()
    where = placed(world)["acme"]
    assert where == (recorded or "primary")
    there = {"primary": owners(world.postgres), "second": second.owners()}
    assert {name: found for name, found in there.items() if found} == {where: ["t_acme_owner"]}


async def test_a_server_that_is_gone_is_not_chosen(world: TenantWorld, second: OtherServer) -> None:
    await world.provision("there")
    second.postgres.stop()
    # Nobody has noticed yet: its condition says Ready, and it has as much room as the other.
    await change_server(world, "primary", limits={"tenants": 1})
    await world.provision("here")
    await world.reconcile_server("second")
    await change_server(world, "primary", limits={"tenants": 2})
    await world.provision("another")
    assert placed(world) == {"there": "second", "here": "primary", "another": "primary"}
    await world.apply_tenant("late")
    await world.reconcile("late")
    assert world.condition(await world.tenant("late"), "Ready") == ("False", "NoCapacity")
    assert world.condition(await world.tenant("late"), "Reconciling") == ("True", "Retrying")
    assert "second has room and is not Ready" in world.message(await world.tenant("late"))
    second.postgres.start()
    await world.reconcile_server("second")
    await world.settle()
    assert placed(world)["late"] == "second"
    assert world.condition(await world.tenant("there"), "Ready") == ("True", "Provisioned")


async def test_when_no_default_is_ready_a_tenant_waits(world: TenantWorld, second: OtherServer) -> None:
    for name in ("primary", "second"):
        body = [{"op": "remove", "path": "/status"}]
        await world.kube.json_patch(DATABASESERVERS, name, body, subresource="status")
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("False", "NoServerReady")
    await world.reconcile_server("second")
    await world.reconcile("acme")
    assert placed(world) == {"acme": "second"}


async def test_a_named_server_holds_no_more_than_it_may(world: TenantWorld, second: OtherServer) -> None:
    await change_server(world, "second", limits={"tenants": 1})
    await world.provision("one", databaseServer="second")
    await world.apply_tenant("two", databaseServer="second")
    await world.reconcile("two")
    assert world.condition(await world.tenant("two"), "Stalled") == ("True", "NoCapacity")
    await world.leave("one", "Delete")
    await world.settle()
    assert placed(world)["two"] == "second"


async def test_a_server_that_is_being_deleted_takes_nobody(world: TenantWorld, second: OtherServer) -> None:
    await world.provision("acme")
    await world.kube.delete(DATABASESERVERS, "second")
    await world.reconcile_server("second")
    assert world.condition(await world.server("second"), "Deleting") == ("True", "InUse")
    await world.provision("globex")
    assert placed(world) == {"acme": "second", "globex": "primary"}


async def test_released_data_takes_its_tenant_back_to_its_server(world: TenantWorld, second: OtherServer) -> None:
    await world.provision("acme")
    await world.leave("acme", "Retain")
    await change_server(world, "second", limits={"tenants": 0})
    back = await world.provision("acme")
    assert back["status"]["databaseServer"] == "second"
    assert owners(world.postgres) == []


async def test_a_new_tenant_still_costs_three_writes(world: TenantWorld, second: OtherServer) -> None:
    await world.apply_tenant("acme")
    world.counted.clear()
    await world.reconcile("acme")
    await world.reconcile("acme")
    events = len(await world.events("acme"))
    assert len(world.writes()) - events == 3
