"""A newer operator takes over a registry of the first revision: no Tenant is repaired, and none is shown as broken."""

from tenantry_testing.hand_edits import EVERYTHING
from tenantry_testing.tenant_world import TenantWorld

BACK = (
    "DROP TABLE tenantry.backups",
    "DROP TABLE tenantry.levels",
    "ALTER TABLE tenantry.tenants DROP COLUMN applied",
    "UPDATE tenantry.schema_version SET version = 'r0001'",
)
"""What leads from the newest revision to the first, as far as it is in the way of going there again."""


async def test_an_operator_waits_for_the_upgrade_and_finds_nothing_to_repair(world: TenantWorld) -> None:
    await world.provision("acme")
    world.execute(*BACK, database="tenantry")
    before, everything = await world.tenant("acme"), world.fetch(EVERYTHING)
    await world.restart()
    world.counted.clear()
    result = await world.reconcile("acme", passes=2)
    assert result.failed
    assert world.writes() == []
    await world.reconcile_server()
    world.counted.clear()
    assert not (await world.reconcile("acme")).failed
    assert world.writes() == []
    assert (await world.tenant("acme"))["status"] == before["status"]
    assert world.fetch(EVERYTHING) == everything
    assert len(await world.events("acme")) == 1
    assert world.fetch("SELECT applied IS NOT NULL FROM tenantry.tenants", database="tenantry") == [(True,)]


async def test_rows_of_an_older_operator_take_the_present_spec_for_applied(world: TenantWorld) -> None:
    await world.provision("acme", driftPolicy="Report")
    world.execute("UPDATE tenantry.tenants SET applied = NULL", database="tenantry")
    world.execute("ALTER ROLE t_acme_migrator INHERIT")
    await world.reconcile_once("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "DriftDetected") == ("True", "Drifted")
    assert world.fetch("SELECT rolinherit FROM pg_roles WHERE rolname = 't_acme_migrator'") == [(True,)]
