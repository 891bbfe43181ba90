"""A process that dies anywhere in a pass leaves nothing that the next one does not put right."""

import psycopg
import pytest

from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.tenant_crash import until_it_dies
from tenantry_testing.tenant_world import TenantWorld

STEPS = range(14)
"""More than a pass has requests and transactions."""


@pytest.mark.parametrize("calls", STEPS)
async def test_provisioning_survives_a_crash(world: TenantWorld, calls: int) -> None:
    await world.apply_tenant("acme")
    await until_it_dies(world, "acme", calls)
    await world.restart()
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("True", "Provisioned"), tenant["status"]
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")
    assert world.fetch("SELECT count(*), min(state) FROM tenantry.tenants", database="tenantry") == [(1, "active")]
    await world.settle()


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_deletion_survives_crashes(world: TenantWorld, policy: str) -> None:
    await world.provision("acme")
    changes = {"spec": {"deletionPolicy": policy, "deletionProtection": "Disabled"}}
    await world.kube.merge_patch(TENANTS, "acme", changes)
    await world.kube.delete(TENANTS, "acme")
    died = 0
    for calls in STEPS:
        if await world.kube.get(TENANTS, "acme") is not None:
            died += await until_it_dies(world, "acme", calls)
    assert died >= 5
    await world.restart()
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert await world.secret("acme-database") == {}
    left = world.names_on_server("acme")
    assert left == (set() if policy == "Delete" else left - {"t_acme_login_a"})


async def test_nothing_is_left_of_a_tenant_that_is_deleted_half_made(world: TenantWorld) -> None:
    for calls in (6, 7, 8, 9, 10):
        await world.apply_tenant("acme")
        await until_it_dies(world, "acme", calls)
        await world.restart()
        await world.leave("acme", "Delete")
        assert world.names_on_server("acme") == set()
        assert await world.secret("acme-database") == {}


LIFECYCLES = {"Active": "active", "Suspended": "suspended", "Archived": "archived"}
WAYS = [(before, after) for before in LIFECYCLES for after in LIFECYCLES if before != after]


def state(world: TenantWorld) -> str:
    return str(world.fetch("SELECT state FROM tenantry.tenants", database="tenantry")[0][0])


def is_open(world: TenantWorld) -> bool:
    """Whether both the login and the service get in."""
    login = "EXISTS (SELECT FROM pg_roles WHERE rolname = 't_acme_login_a' AND rolcanlogin)"
    query = f"SELECT {login} AND pg_has_role('tenantry_svc_accounts_1', 's_acme_accounts', 'MEMBER')"
    return world.fetch(query) == [(True,)]


@pytest.mark.parametrize("way", WAYS, ids="-".join)
async def test_a_move_of_the_lifecycle_survives_crashes(world: TenantWorld, way: tuple[str, str]) -> None:
    before, after = way
    await world.apply_tenant("acme", lifecycle=before)
    await world.reconcile("acme")
    session = world.login(await world.secret("acme-database")) if before == "Active" else None
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": after}})
    died = 0
    for calls in STEPS:
        died += await until_it_dies(world, "acme", calls)
        # Told first when access is taken, last when it is given back: who is called active is so.
        assert state(world) != "active" or is_open(world)
    assert died >= 3
    await world.restart()
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    ready = "Provisioned" if after == "Active" else after
    assert world.condition(tenant, "Ready") == ("True", ready), tenant["status"]
    assert state(world) == LIFECYCLES[after]
    assert bool(await world.secret("acme-database")) is (after != "Archived")
    if session is not None:
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        session.close()
    if after == "Active":
        with world.login(await world.secret("acme-database")) as connection:
            connection.execute("SELECT 1")
    await world.settle()
