"""Pooled Tenants from creation to deletion, on real servers."""

from pathlib import Path

import psycopg
import pytest

from tenantry_crds import names as api
from tenantry_migrations import POOL, TENANT
from tenantry_operator.apply import pool as apply_pool
from tenantry_operator.apply import pool_writers
from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.histories import CONTRACT, EXPAND, tenant_history, write_history
from tenantry_testing.pool_world import (
    add_user,
    all_emails,
    entries,
    pooled,
    seen_by,
    seen_by_service,
    service_login,
)
from tenantry_testing.tenant_world import TenantWorld

ROLES = "SELECT rolname FROM pg_roles WHERE rolname ~ '^[ts]_' ORDER BY 1"
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^([ts]_|tenantry)' ORDER BY 1"
LATE = "INSERT INTO tenantry_pool.users (id, tenant_id, email) VALUES (gen_random_uuid(), %s, 'late@acme')"
ROW = """
SELECT isolation, schema, database, state, version FROM tenantry.tenants WHERE name = 'acme' AND state <> 'deleted'
"""


def names(world: TenantWorld, query: str) -> list[str]:
    return [str(row[0]) for row in world.fetch(query)]


async def lifecycle(world: TenantWorld, state: str) -> None:
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": state}})
    await world.reconcile("acme")


async def test_a_pooled_tenant_has_roles_an_entry_and_no_schema(world: TenantWorld) -> None:
    await pooled(world, "acme")
    assert names(world, ROLES) == ["t_acme_login_a", "t_acme_owner"]
    assert names(world, SCHEMAS) == ["tenantry", "tenantry_pool"]
    assert world.fetch(ROW, database="tenantry") == [("Pooled", "tenantry_pool", "app", "active", TENANT.head)]
    secret = await world.secret("acme-database")
    assert (secret["schema"], secret["database"], secret["username"]) == ("tenantry_pool", "app", "t_acme_login_a")
    status = (await world.tenant("acme"))["status"]
    assert (status["schema"], status["migration"]["current"]) == ("tenantry_pool", TENANT.head)
    assert status["roles"] == ["t_acme_owner", "t_acme_login_a"]


async def test_each_reads_its_own_rows_and_writes_none(world: TenantWorld) -> None:
    ids = await pooled(world, "acme", "beta")
    assert (await seen_by(world, "acme"), await seen_by(world, "beta")) == (["ada@acme"], ["ada@beta"])
    assert await seen_by_service(world, ids["acme"]) == ["ada@acme"]
    assert await seen_by_service(world, ids["beta"]) == ["ada@beta"]
    with world.login(await world.secret("acme-database")) as connection:
        for statement in (
            "DELETE FROM users",
            "UPDATE users SET email = 'x@y'",
            "INSERT INTO users (id) VALUES (NULL)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


async def test_a_pooled_tenant_costs_three_writes_and_then_none(world: TenantWorld) -> None:
    await pooled(world, "first")
    world.counted.clear()
    await world.provision("acme", isolation="Pooled")
    # The Tenant itself, its finalizer, the Secret, the status, and an Event.
    assert world.writes() == ["POST", "PATCH", "POST", "PATCH", "POST"]
    await world.settle()
    await world.reconcile_server()
    world.counted.clear()
    await world.settle()
    await world.reconcile_once("acme")
    await world.reconcile_server()
    assert world.writes() == []


async def test_many_at_once_make_one_pool(world: TenantWorld) -> None:
    tenants = [f"acme-{number}" for number in range(6)]
    for name in tenants:
        await world.apply_tenant(name, isolation="Pooled")
    await world.reconcile_at_once(tenants)
    await world.settle()
    assert entries(world) == [(name, True) for name in tenants]
    for name in tenants:
        assert world.condition(await world.tenant(name), "Ready") == ("True", "Provisioned")


async def test_a_rotated_login_reads_the_same_rows(world: TenantWorld) -> None:
    await pooled(world, "acme", "beta")
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})
    with world.login(await world.secret("acme-database")) as before:
        await world.reconcile("acme")
        assert (await world.secret("acme-database"))["username"] == "t_acme_login_b"
        assert before.execute("SELECT email FROM users").fetchall() == [("ada@acme",)]
    assert await seen_by(world, "acme") == ["ada@acme"]


@pytest.mark.parametrize("state", ["Suspended", "Archived"])
async def test_a_closed_tenants_rows_are_out_of_reach_and_come_back(world: TenantWorld, state: str) -> None:
    ids = await pooled(world, "acme", "beta")
    secret = await world.secret("acme-database")
    await lifecycle(world, state)
    with pytest.raises(psycopg.OperationalError):
        world.login(secret)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no open tenant"):
        await seen_by_service(world, ids["acme"])
    assert await seen_by_service(world, ids["beta"]) == ["ada@beta"]
    assert entries(world) == [("acme", False), ("beta", True)]
    assert world.condition(await world.tenant("acme"), "Suspended") == ("True", state)
    await world.settle()
    await lifecycle(world, "Active")
    assert await seen_by(world, "acme") == ["ada@acme"]
    assert await seen_by_service(world, ids["acme"]) == ["ada@acme"]
    await world.settle()


async def test_a_tenant_that_begins_suspended_is_never_open(world: TenantWorld) -> None:
    await pooled(world, "beta")
    await world.apply_tenant("acme", isolation="Pooled", lifecycle="Suspended")
    await world.reconcile("acme")
    assert entries(world) == [("acme", False), ("beta", True)]


async def test_delete_takes_the_tenants_rows_and_nobody_elses(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_pool, "ROWS_AT_ONCE", 2)
    ids = await pooled(world, "acme", "beta")
    for number in range(4):
        add_user(world, ids["acme"], f"{number}@acme")
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    assert all_emails(world) == ["ada@beta"]
    assert entries(world) == [("beta", True)]
    assert names(world, ROLES) == ["t_beta_login_a", "t_beta_owner"]
    assert world.fetch(ROW, database="tenantry") == []
    assert await seen_by(world, "beta") == ["ada@beta"]


async def test_what_an_open_transaction_wrote_goes_too(world: TenantWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has written before access is taken, another looks at the directory as it was and writes after it."""
    monkeypatch.setattr(pool_writers, "END_WITHIN", 0.1)
    ids = await pooled(world, "acme", "beta")
    for isolation in (psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ):
        early = isolation is psycopg.IsolationLevel.READ_COMMITTED
        with await service_login(world) as connection:
            connection.isolation_level = isolation
            with connection.transaction():
                connection.execute("SET LOCAL ROLE tenantry_pool_accounts")
                connection.execute("SELECT set_config('app.tenant', %s, true)", (ids["acme"],))
                if early:
                    connection.execute(LATE, (ids["acme"],))
                await world.leave("acme", "Delete")
                said = world.message(await world.tenant("acme"), "Deleting")
                assert f"session {connection.info.backend_pid} of tenantry_svc_accounts_1" in said
                if not early:
                    connection.execute(LATE, (ids["acme"],))
        await world.reconcile("acme")
        assert await world.kube.get(TENANTS, "acme") is None
        assert all_emails(world) == ["ada@beta"]
        ids |= await pooled(world, "acme")


async def test_rows_under_another_marker_are_not_deleted(world: TenantWorld) -> None:
    """The marker guards the rows as it guards the roles."""
    await pooled(world, "acme")
    world.execute("COMMENT ON ROLE t_acme_owner IS 'somebody else'")
    await world.leave("acme", "Delete")
    assert all_emails(world) == ["ada@acme"]
    assert entries(world) == [("acme", True)]


async def test_retained_rows_are_adopted_by_a_tenant_of_the_name(world: TenantWorld) -> None:
    ids = await pooled(world, "acme", "beta")
    await world.leave("acme", "Retain")
    assert all_emails(world) == ["ada@acme", "ada@beta"]
    assert entries(world) == [("acme", False), ("beta", True)]
    assert names(world, ROLES) == ["t_acme_owner", "t_beta_login_a", "t_beta_owner"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no open tenant"):
        await seen_by_service(world, ids["acme"])
    tenant = await world.provision("acme", isolation="Pooled")
    assert tenant["status"]["id"] == ids["acme"]
    assert await seen_by(world, "acme") == ["ada@acme"]
    await world.settle()


async def test_released_rows_are_not_taken_by_a_tenant_of_another_isolation(world: TenantWorld) -> None:
    await pooled(world, "acme")
    await world.leave("acme", "Retain")
    await world.apply_tenant("acme", isolation="Schema")
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "NotOurs")
    assert "Pooled" in world.message(tenant)
    assert all_emails(world) == ["ada@acme"]


async def test_a_pool_that_is_gone_is_missing_data(world: TenantWorld) -> None:
    await pooled(world, "acme")
    await world.settle()
    world.execute("DROP SCHEMA tenantry_pool CASCADE")
    assert await world.sweep() == {"acme"}
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "DataMissing")
    assert names(world, SCHEMAS) == ["tenantry"]


EDITS = (
    "DELETE FROM tenantry.pooled WHERE name = 'acme'",
    "UPDATE tenantry.pooled SET open = false WHERE name = 'acme'",
    "UPDATE tenantry.pooled SET login_a = 't_gamma_login_a' WHERE name = 'acme'",
    "UPDATE tenantry.pooled SET login_a = 'x' WHERE name = 'acme';"
    " UPDATE tenantry.pooled SET login_a = 't_acme_login_a' WHERE name = 'beta'",
    "REVOKE tenantry_pool_customers FROM t_acme_login_a",
    "GRANT tenantry_pool_accounts TO t_acme_login_a",
)


async def test_what_was_changed_by_hand_is_put_right_by_the_sweep(world: TenantWorld) -> None:
    ids = await pooled(world, "acme", "beta")
    await world.settle()
    for edit in EDITS:
        world.execute(edit)
        await world.settle()
        assert (await seen_by(world, "acme"), await seen_by(world, "beta")) == (["ada@acme"], ["ada@beta"]), edit
        assert await seen_by_service(world, ids["acme"]) == ["ada@acme"], edit
        members = "SELECT pg_has_role('t_acme_login_a', 'tenantry_pool_accounts', 'MEMBER')"
        assert world.fetch(members) == [(False,)], edit


async def test_a_run_moves_the_pool_as_one(world: TenantWorld, tmp_path: Path) -> None:
    ids = await pooled(world, "acme", "beta")
    await world.provision("gamma")
    with tenant_history(write_history(tmp_path)):
        run = await world.migrate("to-expand", to=EXPAND, phase="expand")
        assert run["status"]["phase"] == "Succeeded", run["status"]
        assert (run["status"]["done"], run["status"]["total"]) == (2, 2)
        await world.settle()
        for name in ("acme", "beta", "gamma"):
            assert (await world.tenant(name))["status"]["migration"]["current"] == EXPAND
        rows = world.fetch("SELECT DISTINCT version FROM tenantry.tenants", database="tenantry")
        assert rows == [(EXPAND,)]
        run = await world.migrate("to-contract", to=CONTRACT, phase="contract")
        assert run["status"]["phase"] == "Succeeded", run["status"]
        await world.reconcile_server()
        guarded = "SELECT relname FROM pg_class WHERE relforcerowsecurity AND relrowsecurity ORDER BY 1"
        assert names(world, guarded) == sorted(POOL.shape(CONTRACT).tables)
        assert await seen_by(world, "acme") == ["ada@acme"]
        assert await seen_by_service(world, ids["beta"]) == ["ada@beta"]


async def test_a_pool_that_cannot_be_moved_is_a_failure_of_the_run_and_stays_as_it_was(
    world: TenantWorld, tmp_path: Path
) -> None:
    await pooled(world, "acme")
    world.execute("CREATE TABLE tenantry_pool.notes (x int)")
    with tenant_history(write_history(tmp_path)):
        run = await world.migrate("to-expand", to=EXPAND, phase="expand")
        assert run["status"]["phase"] == "Failed"
        assert [one["tenant"] for one in run["status"]["failures"]] == ["tenantry_pool/primary"]
    assert world.fetch("SELECT version FROM tenantry_pool.schema_version") == [(TENANT.head,)]
    assert await seen_by(world, "acme") == ["ada@acme"]


async def test_a_service_login_alone_reaches_nothing_of_the_pool(world: TenantWorld) -> None:
    ids = await pooled(world, "acme")
    with await service_login(world) as connection:
        connection.execute("SELECT set_config('app.tenant', %s, false)", (ids["acme"],))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM tenantry_pool.users")
