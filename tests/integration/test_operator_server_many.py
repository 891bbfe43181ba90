"""Tenants on two servers: each on its own, and the outage of one is the other's no business."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tenantry_operator.clients.kube import DATABASESERVERS
from tenantry_testing.more_servers import OtherServer, other_server, owners
from tenantry_testing.postgres import PostgresServer
from tenantry_testing.tenant_world import TenantWorld


@pytest.fixture(scope="module")
def other() -> Iterator[OtherServer]:
    with other_server("second") as server:
        yield server


@pytest.fixture
async def second(world: TenantWorld, other: OtherServer) -> AsyncIterator[PostgresServer]:
    """Another Postgres, known as the DatabaseServer `second`."""
    await other.join(world)
    yield other.postgres
    await other.clean(world)


async def test_each_tenant_is_on_its_server(world: TenantWorld, second: PostgresServer) -> None:
    await world.provision("here")
    there = await world.provision("there", databaseServer="second")
    assert there["status"]["databaseServer"] == "second"
    assert owners(world.postgres) == ["t_here_owner"]
    assert owners(second) == ["t_there_owner"]
    rows = world.fetch("SELECT name, server FROM tenantry.tenants ORDER BY 1", database="tenantry")
    assert rows == [("here", "primary"), ("there", "second")]
    secret = await world.secret("there-database")
    assert (secret["port"], secret["database"]) == (str(second.port), "app")
    assert "registry-database" not in await world.secret("tenantry-accounts-database-second")
    await world.leave("there", "Delete")
    assert owners(second) == []


async def test_a_tenant_stays_where_it_is_when_the_default_changes(world: TenantWorld, second: PostgresServer) -> None:
    await world.provision("acme")
    await world.apply_server("primary", default=False)
    await world.apply_server("second", port=second.port, database="app", default=True)
    await world.settle()
    await world.provision("later")
    assert (await world.tenant("acme"))["status"]["databaseServer"] == "primary"
    assert owners(second) == ["t_later_owner"]


async def test_an_outage_of_one_is_not_the_others(world: TenantWorld, second: PostgresServer) -> None:
    await world.provision("here")
    await world.provision("there", databaseServer="second")
    await world.settle()
    second.stop()
    await world.sweep()
    await world.sweep()
    assert world.condition(await world.tenant("there"), "Ready") == ("False", "ServerUnreachable")
    assert world.condition(await world.tenant("here"), "Ready") == ("True", "Provisioned")
    await world.provision("another")
    second.start()
    await world.settle()
    assert world.condition(await world.tenant("there"), "Ready") == ("True", "Provisioned")


async def test_the_registrys_server_stays_as_long_as_there_are_tenants_anywhere(
    world: TenantWorld, second: PostgresServer
) -> None:
    await world.provision("there", databaseServer="second")
    await world.kube.delete(DATABASESERVERS, "primary")
    await world.reconcile_server("primary")
    assert world.condition(await world.server("primary"), "Deleting") == ("True", "InUse")
    await world.leave("there", "Delete")
    assert owners(second) == []
    await world.reconcile_server("primary")
    assert await world.kube.get(DATABASESERVERS, "primary") is None
