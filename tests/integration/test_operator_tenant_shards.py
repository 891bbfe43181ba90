"""A Tenant moves from one shard to another, and one of the two operators has not heard of it yet."""

from collections.abc import AsyncIterator

import pytest

from tenantry_crds import names
from tenantry_operator.clients.kube import TENANTS
from tenantry_operator.engine.queue import Key
from tenantry_testing.tenant_world import TenantWorld, build_world

KEY = Key("Tenant", "acme")


@pytest.fixture
async def default(world: TenantWorld) -> AsyncIterator[TenantWorld]:
    """The operator that leaves the Tenants of shard east alone."""
    async for made in beside(world, pod_name="default-0", shards=("east",)):
        yield made


@pytest.fixture
async def east(world: TenantWorld) -> AsyncIterator[TenantWorld]:
    async for made in beside(world, pod_name="east-0", shard="east"):
        yield made


async def beside(world: TenantWorld, **settings: object) -> AsyncIterator[TenantWorld]:
    """Build the parts of another process in the same world."""
    made = build_world(
        world.kube,
        world.postgres,
        operator=world.operator,
        namespace=world.settings.namespace,
        counted=[],
        **settings,
    )
    try:
        yield made
    finally:
        await made.fence.close()
        await made.servers.close()


async def move(world: TenantWorld, shard: str | None, limit: int) -> None:
    """Give the Tenant another label and another spec, in one write."""
    changes = {
        "metadata": {"labels": {names.LABEL_SHARD: shard}},
        "spec": {"database": {"connectionLimit": limit}},
    }
    await world.kube.merge_patch(TENANTS, "acme", changes)


def limit_of(world: TenantWorld) -> int:
    return int(world.fetch("SELECT rolconnlimit FROM pg_roles WHERE rolname = 't_acme_login_a'")[0][0])


def shard_of(world: TenantWorld) -> str | None:
    rows = world.fetch("SELECT shard FROM tenantry.tenants WHERE name = 'acme'", database="tenantry")
    return None if rows[0][0] is None else str(rows[0][0])


async def test_an_operator_that_has_not_heard_of_the_move_undoes_nothing(
    default: TenantWorld, east: TenantWorld
) -> None:
    await default.provision("acme")
    assert (limit_of(default), shard_of(default)) == (20, None)
    await move(default, "east", limit=7)
    await east.reconcile("acme")
    assert (limit_of(east), shard_of(east)) == (7, "east")
    body = await east.tenant("acme")
    # No event reached the default one: it holds the old spec, and a sweep asks it to look.
    default.tenants.forget("acme")
    refused = await default.tenants.reconcile(KEY)
    assert (refused.failed, refused.error) == (True, "MovedAway")
    assert not (await default.tenants.reconcile(KEY)).failed, "it knows by now"
    assert (limit_of(east), shard_of(east)) == (7, "east")
    assert await east.tenant("acme") == body, "nothing was written"


async def test_it_moves_back_and_each_shard_sweeps_its_own(default: TenantWorld, east: TenantWorld) -> None:
    await default.provision("acme")
    await move(default, "east", limit=7)
    await east.reconcile("acme")
    await east.settle()
    east.execute("ALTER ROLE t_acme_login_a CONNECTION LIMIT 9")
    assert await default.swept() == set()
    assert await default.swept() == set(), "nor when it was unknown for two sweeps"
    assert await east.sweep() == {"acme"}
    assert limit_of(east) == 7
    await move(default, None, limit=8)
    assert await east.reconcile("acme") == await east.tenants.reconcile(KEY), "it is let go"
    assert limit_of(east) == 7
    await default.reconcile("acme")
    assert (limit_of(default), shard_of(default)) == (8, None)
    await default.settle()


async def test_a_tenant_is_born_in_its_shard(default: TenantWorld, east: TenantWorld) -> None:
    body = {
        "apiVersion": names.API_VERSION,
        "kind": "Tenant",
        "metadata": {"name": "acme", "labels": {names.LABEL_SHARD: "east"}},
        "spec": {"displayName": "Acme", "isolation": "Schema"},
    }
    await default.kube.create(TENANTS, body)
    await default.reconcile("acme")
    assert (await default.tenant("acme"))["status"] == {"observedGeneration": -1}
    await east.reconcile("acme")
    assert east.condition(await east.tenant("acme"), "Ready") == ("True", "Provisioned")
    assert shard_of(east) == "east"


async def test_a_label_that_names_no_shard_leaves_no_tenant_alone(default: TenantWorld, east: TenantWorld) -> None:
    await default.provision("acme")
    await move(default, "west", limit=7)
    await east.reconcile("acme")
    await default.reconcile("acme")
    assert (limit_of(default), shard_of(default)) == (7, "west")
    await default.settle()
