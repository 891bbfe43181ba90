"""A Tenant on a real Postgres and a real API server: what comes to be, and what comes back."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_testing.postgres import Login, PostgresServer
from tenantry_testing.tenant_world import TenantWorld, tenant_world


@pytest.fixture(scope="module")
def database_server() -> Iterator[tuple[PostgresServer, Login]]:
    with PostgresServer() as server:
        yield server, server.make_operator("operator_login", databases=("app",))


@pytest.fixture
async def world(
    control_plane: ControlPlane, database_server: tuple[PostgresServer, Login]
) -> AsyncIterator[TenantWorld]:
    postgres, operator = database_server
    async with tenant_world(control_plane, postgres, operator=operator, namespace="tenants-test") as world:
        yield world


async def test_a_tenant_is_provisioned(world: TenantWorld) -> None:
    await world.apply_server()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected"), (await world.server())["status"]
    tenant = await world.provision("acme")
    print(tenant["status"])
    secret = await world.secret("acme-database")
    with world.login(secret) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("t_acme",)
