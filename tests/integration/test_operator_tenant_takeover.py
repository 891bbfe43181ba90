"""A Tenant meets data of its name: released, left behind, unmarked, or somebody else's."""

import pytest

from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.tenant_world import TenantWorld


async def orphan(world: TenantWorld, name: str = "acme") -> None:
    """Provision a Tenant and let the object go without the operator, as `tenantry uninstall --orphan` does."""
    await world.provision(name)
    world.execute(
        f"CREATE TABLE t_{name}.things AS SELECT 7 AS id", f"ALTER TABLE t_{name}.things OWNER TO t_{name}_owner"
    )
    await world.kube.merge_patch(TENANTS, name, {"metadata": {"finalizers": None}})
    await world.kube.delete(TENANTS, name)
    await world.refresh()


async def test_never_leaves_released_data_alone_until_it_may(world: TenantWorld) -> None:
    first = await world.provision("acme")
    await world.leave("acme", "Retain")
    await world.apply_tenant("acme", adoptionPolicy="Never")
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Stalled") == ("True", "NotOurs")
    assert "set it to IfMarked" in world.message(tenant)
    assert tenant["status"]["effective"]["adoptionPolicy"] == "Never"
    second = await world.provision("acme", adoptionPolicy="IfMarked")
    assert second["status"]["id"] == first["status"]["id"]


async def test_force_takes_over_what_a_tenant_left_behind_and_the_password_holds(world: TenantWorld) -> None:
    await orphan(world)
    before = await world.secret("acme-database")
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Stalled") == ("True", "NotOurs")
    assert "spec.adoptionPolicy Force" in world.message(tenant)
    await world.provision("acme", adoptionPolicy="Force")
    assert await world.secret("acme-database") == before
    with world.login(before) as connection:
        connection.execute("SET ROLE t_acme_owner")
        assert connection.execute("SELECT id FROM things").fetchall() == [(7,)]
    assert "Adopted" in [reason for reason, _ in await world.events("acme")]
    await world.settle()
    await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == set()
    assert await world.secret("acme-database") == {}


async def test_force_takes_nothing_of_a_tenant_that_exists(world: TenantWorld) -> None:
    await orphan(world)
    other = await world.provision("other")
    marker = world.fetch("SELECT shobj_description('t_acme_owner'::regrole, 'pg_authid')")[0][0]
    uid = world.fetch("SELECT uid::text FROM tenantry.tenants WHERE name = 'acme'", database="tenantry")[0][0]
    world.execute(f"COMMENT ON ROLE t_acme_owner IS '{marker.replace(uid, other['metadata']['uid'])}'")
    await world.apply_tenant("acme", adoptionPolicy="Force")
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Stalled") == ("True", "NotOurs")
    assert "exists in this cluster" in world.message(tenant)


async def test_force_takes_over_roles_and_schemas_that_lost_their_marker(world: TenantWorld) -> None:
    first = await world.provision("acme")
    await world.settle()
    world.execute("COMMENT ON ROLE t_acme_owner IS NULL")
    await world.sweep()
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "NotOurs")
    second = await world.provision("acme", adoptionPolicy="Force")
    assert second["status"]["id"] == first["status"]["id"]
    assert first["metadata"]["uid"] in str(
        world.fetch("SELECT shobj_description('t_acme_owner'::regrole, 'pg_authid')")
    )


@pytest.mark.parametrize("policy", ["IfMarked", "Force"])
async def test_roles_that_are_not_built_as_ours_are_left_alone(world: TenantWorld, policy: str) -> None:
    world.execute("CREATE ROLE t_acme_owner LOGIN", "CREATE SCHEMA t_acme AUTHORIZATION t_acme_owner")
    await world.apply_tenant("acme", adoptionPolicy=policy)
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "NotOurs")
    await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == {"t_acme", "t_acme_owner"}
