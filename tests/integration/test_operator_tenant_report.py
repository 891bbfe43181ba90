"""Under driftPolicy Report what a hand changed is told and stays; a change of the spec is applied all the same."""

import pytest

from tenantry_crds import Tenant
from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.hand_edits import EVERYTHING, OTHER_OWNER, REPAIRED
from tenantry_testing.tenant_world import TenantWorld


def drift(tenant: dict[str, object]) -> list[str]:
    return [one.what for one in Tenant.model_validate(tenant).status.drift]


@pytest.mark.parametrize("change", REPAIRED)
async def test_what_was_changed_by_hand_is_told_and_stays(world: TenantWorld, change: str) -> None:
    world.execute(OTHER_OWNER)
    await world.provision("acme", driftPolicy="Report")
    assert world.condition(await world.tenant("acme"), "DriftDetected") == ("False", "NoDrift")
    await world.settle()
    world.execute(*REPAIRED[change])
    left = world.fetch(EVERYTHING)
    assert await world.sweep() == {"acme"}
    assert world.fetch(EVERYTHING) == left
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "DriftDetected") == ("True", "Drifted")
    assert drift(tenant)
    assert all(what in world.message(tenant, "DriftDetected") for what in drift(tenant))
    assert (await world.events("acme"))[-1][0] in {"Drifted", "DriftBreaksIsolation", "DriftBreaksTenant"}
    # It is told once, and each later look finds nothing new.
    told = len(await world.events("acme"))
    await world.settle()
    await world.reconcile_once("acme")
    assert len(await world.events("acme")) == told
    assert (await world.tenant("acme"))["status"] == tenant["status"]
    assert world.fetch(EVERYTHING) == left


async def test_what_tells_drift_goes_when_the_drift_goes_and_since_stays_until_then(world: TenantWorld) -> None:
    await world.provision("acme", driftPolicy="Report")
    await world.settle()
    world.execute("ALTER ROLE t_acme_migrator INHERIT")
    await world.sweep()
    first = (await world.tenant("acme"))["status"]["drift"]
    world.execute("ALTER ROLE t_acme_login_a CONNECTION LIMIT 7")
    await world.sweep()
    second = await world.tenant("acme")
    assert first[0] in second["status"]["drift"]
    assert len(second["status"]["drift"]) == 2
    assert world.condition(second, "Ready") == ("True", "Provisioned")
    world.execute("ALTER ROLE t_acme_migrator NOINHERIT", "ALTER ROLE t_acme_login_a CONNECTION LIMIT 20")
    await world.sweep()
    assert world.condition(await world.tenant("acme"), "DriftDetected") == ("False", "NoDrift")
    assert (await world.tenant("acme"))["status"]["drift"] == []


async def test_a_hole_makes_the_tenant_unready_until_it_is_closed(world: TenantWorld) -> None:
    await world.provision("acme", driftPolicy="Report")
    await world.provision("beta")
    await world.settle()
    world.execute("GRANT t_acme_app TO t_beta_login_a")
    # Beta repairs what concerns it, and a membership concerns both.
    world.execute("GRANT pg_read_all_data TO t_acme_login_a")
    await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "DriftBreaksIsolation")
    assert world.condition(tenant, "Stalled") == ("True", "DriftBreaksIsolation")
    assert "t_acme_login_a is a member of pg_read_all_data" in world.message(tenant)
    world.execute("REVOKE pg_read_all_data FROM t_acme_login_a")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_a_missing_login_is_told_and_the_secret_is_not_touched(world: TenantWorld) -> None:
    await world.provision("acme", driftPolicy="Report")
    secret = await world.secret("acme-database")
    await world.settle()
    world.execute("DROP OWNED BY t_acme_login_a", "DROP ROLE t_acme_login_a")
    await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "DriftBreaksTenant")
    assert await world.secret("acme-database") == secret
    await world.apply_tenant("acme", driftPolicy="Repair")
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("True", "Provisioned")
    assert world.condition(tenant, "DriftDetected") == ("False", "NoDrift")
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")
    assert (await world.events("acme"))[-1][0] == "Repaired"


async def test_a_change_of_the_spec_is_applied_and_the_drift_stays(world: TenantWorld) -> None:
    await world.provision("acme", driftPolicy="Report", database={"connectionLimit": 5})
    world.execute(
        "ALTER ROLE t_acme_migrator INHERIT", "ALTER ROLE t_acme_login_a IN DATABASE app SET work_mem = '1GB'"
    )
    await world.reconcile_once("acme")
    told = await world.tenant("acme")
    await world.apply_tenant("acme", database={"connectionLimit": 9, "settings": {"lock_timeout": "1s"}})
    await world.reconcile("acme")
    assert world.fetch("SELECT rolconnlimit FROM pg_roles WHERE rolname = 't_acme_login_a'") == [(9,)]
    assert world.fetch("SELECT rolinherit FROM pg_roles WHERE rolname = 't_acme_migrator'") == [(True,)]
    settings = world.fetch("SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = 't_acme_login_a'::regrole")
    assert {("lock_timeout=1s",), ("work_mem=1GB",)} <= set(settings)
    tenant = await world.tenant("acme")
    assert tenant["status"]["drift"] == told["status"]["drift"]
    assert (await world.events("acme"))[-1][0] == "Updated"
    assert "work_mem" not in (await world.events("acme"))[-1][1]


async def test_a_change_of_the_spec_is_no_repair_and_a_repair_no_change(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.apply_tenant("acme", database={"connectionLimit": 9})
    await world.reconcile("acme")
    assert [reason for reason, _ in await world.events("acme")] == ["Provisioned", "Updated"]
    world.execute("ALTER ROLE t_acme_login_a CONNECTION LIMIT 3")
    await world.apply_tenant("acme", database={"connectionLimit": 9, "settings": {"lock_timeout": "1s"}})
    await world.reconcile("acme")
    assert {reason for reason, _ in (await world.events("acme"))[2:]} == {"Updated", "Repaired"}


async def test_deleting_the_status_changes_nothing_but_since(world: TenantWorld) -> None:
    await world.provision("acme", driftPolicy="Report")
    world.execute("ALTER ROLE t_acme_migrator INHERIT")
    await world.reconcile_once("acme")
    before = drift(await world.tenant("acme"))
    operations = [{"op": "replace", "path": "/status", "value": {"observedGeneration": -1}}]
    await world.kube.json_patch(TENANTS, "acme", operations, subresource="status")
    left = world.fetch(EVERYTHING)
    await world.restart()
    await world.reconcile("acme")
    assert drift(await world.tenant("acme")) == before
    assert world.fetch(EVERYTHING) == left


async def test_a_neighbour_who_gives_again_and_again_does_not_harm(world: TenantWorld) -> None:
    for name in ("acme", "beta"):
        await world.provision(name)
    await world.settle()
    with world.login(await world.secret("beta-database")) as beta:
        beta.execute("SET ROLE t_beta_owner")
        beta.execute("CREATE TABLE t_beta.things (id int)")
        for _ in range(4):
            beta.execute("GRANT SELECT ON t_beta.things TO t_acme_login_a")
            await world.reconcile_once("acme")
            assert beta.execute(
                "SELECT has_table_privilege('t_acme_login_a', 't_beta.things', 'SELECT')"
            ).fetchone() == (False,)
            assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
