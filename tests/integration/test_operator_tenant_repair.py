"""What a hand changed comes back by itself; what is not the Tenant's is left alone."""

import asyncio

import pytest

from tenantry_operator.apply.tenant import apply_on_server
from tenantry_operator.apply.tenant_sql import Context
from tenantry_operator.clients.kube import SECRETS, TENANTS
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.tenant import observe_catalogue
from tenantry_operator.plan.actions import DropData
from tenantry_testing.hand_edits import EVERYTHING, GRANTED_BY_SUPERUSER, OTHER_OWNER, REPAIRED
from tenantry_testing.tenant_world import TenantWorld

DROPPED = ("t_acme_app", "t_acme_ro", "t_acme_migrator", "t_acme_login_a", "s_acme_accounts")


@pytest.mark.parametrize("role", DROPPED)
async def test_a_dropped_role_comes_back(world: TenantWorld, role: str) -> None:
    await world.provision("acme", database={"readOnlyRole": "Enabled"})
    before = world.fetch(EVERYTHING)
    await world.settle()
    world.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert world.fetch(EVERYTHING) != before
    assert "acme" in await world.sweep()
    assert world.fetch(EVERYTHING) == before
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")
    assert "Repaired" in [reason for reason, _ in await world.events("acme")]


@pytest.mark.parametrize("change", REPAIRED)
async def test_what_was_changed_by_hand_is_put_right(world: TenantWorld, change: str) -> None:
    world.execute(OTHER_OWNER)
    await world.provision("acme")
    before = world.fetch(EVERYTHING)
    await world.settle()
    world.execute(*REPAIRED[change])
    assert "acme" in await world.sweep()
    left = [fact for fact in world.fetch(EVERYTHING) if "t_other" not in fact[1]]
    assert left == before
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    await world.settle()


@pytest.mark.parametrize("granted", GRANTED_BY_SUPERUSER)
async def test_what_a_superuser_granted_is_taken_back_or_told(world: TenantWorld, granted: str) -> None:
    world.execute(OTHER_OWNER)
    await world.provision("acme")
    before = world.fetch(EVERYTHING)
    await world.settle()
    grant = GRANTED_BY_SUPERUSER[granted]
    world.execute(f"GRANT {grant}", "REVOKE USAGE ON SCHEMA t_acme FROM t_acme_app")
    assert "acme" in await world.sweep()
    if int(world.postgres.version().partition(".")[0]) >= 16:
        tenant = await world.tenant("acme")
        assert world.condition(tenant, "Ready") == ("False", "PrivilegesMissing")
        role, _, rest = grant.partition(" TO ")
        statement = f'REVOKE "{role}" FROM "{rest.split()[0]}" GRANTED BY "postgres" CASCADE'
        assert statement in world.message(tenant)
        world.execute(statement)
        await world.reconcile("acme")
    assert world.fetch(EVERYTHING) == before
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    await world.settle()


async def test_a_deleted_secret_comes_back_with_a_password_that_works(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await world.secret("acme-database")
    await world.kube.delete(SECRETS, "acme-database", namespace=world.settings.namespace)
    await world.reconcile("acme")
    after = await world.secret("acme-database")
    assert after["password"] != before["password"]
    with world.login(after) as connection:
        connection.execute("SELECT 1")


@pytest.mark.parametrize("data", [{"password": "aHVudGVyMg=="}, {"host": "ZWxzZXdoZXJl"}, {"extra": "MQ=="}])
async def test_an_edited_secret_is_made_true(world: TenantWorld, data: dict[str, str]) -> None:
    await world.provision("acme")
    before = await world.secret("acme-database")
    await world.kube.merge_patch(SECRETS, "acme-database", {"data": data}, namespace=world.settings.namespace)
    await world.reconcile("acme")
    after = await world.secret("acme-database")
    assert {**after, "password": "", "uri": ""} == {**before, "password": "", "uri": ""}
    with world.login(after) as connection:
        connection.execute("SELECT 1")


async def test_a_lost_registry_row_is_written_from_the_marker(world: TenantWorld) -> None:
    tenant = await world.provision("acme")
    await world.settle()
    world.execute("DELETE FROM tenantry.tenants", database="tenantry")
    assert await world.sweep() == {"acme"}
    rows = world.fetch("SELECT id::text, state FROM tenantry.tenants", database="tenantry")
    assert rows == [(tenant["status"]["id"], "active")]


async def test_another_secret_name_moves_the_credentials(world: TenantWorld) -> None:
    await world.provision("acme")
    password = (await world.secret("acme-database"))["password"]
    await world.apply_tenant("acme", credentials={"secretName": "moved"})
    await world.reconcile("acme")
    assert await world.secret("acme-database") == {}
    moved = await world.secret("moved")
    assert moved["password"] == password
    with world.login(moved) as connection:
        connection.execute("SELECT 1")


async def test_a_secret_of_somebody_else_is_left_alone(world: TenantWorld) -> None:
    body = {"metadata": {"name": "acme-database", "namespace": world.settings.namespace}, "data": {"mine": "MQ=="}}
    await world.kube.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", **body})
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "NotOurs")
    assert world.condition(tenant, "Stalled") == ("True", "NotOurs")
    assert await world.secret("acme-database") == {"mine": "1"}
    await world.leave("acme", "Delete")
    assert await world.secret("acme-database") == {"mine": "1"}
    assert world.names_on_server("acme") == set()


@pytest.mark.parametrize("comment", ["", "IS 'mine'"])
async def test_roles_of_somebody_else_are_left_alone(world: TenantWorld, comment: str) -> None:
    world.execute("CREATE ROLE t_acme_owner", *([f"COMMENT ON ROLE t_acme_owner {comment}"] if comment else []))
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "NotOurs")
    assert world.names_on_server("acme") == {"t_acme_owner"}
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == {"t_acme_owner"}


async def test_a_refused_tenant_goes_on_when_the_cause_is_gone(world: TenantWorld) -> None:
    world.execute("CREATE ROLE t_acme_owner")
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    await world.settle()
    world.execute("DROP ROLE t_acme_owner")
    assert await world.sweep() == {"acme"}
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_what_only_an_administrator_can_undo_stops_nothing_else(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.settle()
    world.execute(
        "CREATE TABLE public.secrets (id int)",
        "GRANT SELECT ON public.secrets TO t_acme_login_a",
        "REVOKE USAGE ON SCHEMA t_acme FROM t_acme_app",
    )
    await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "PrivilegesMissing")
    assert world.condition(tenant, "Stalled") == ("True", "PrivilegesMissing")
    assert "public.secrets" in world.message(tenant)
    assert world.fetch("SELECT has_schema_privilege('t_acme_app', 't_acme', 'USAGE')") == [(True,)]
    world.execute("REVOKE SELECT ON public.secrets FROM t_acme_login_a")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_a_setting_that_only_a_superuser_may_reset_stops_nothing_else(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.settle()
    setting = "ALTER ROLE t_acme_login_a IN DATABASE app {}"
    world.execute(
        setting.format("SET log_statement = 'all'"),
        setting.format("SET work_mem = '1GB'"),
        "REVOKE USAGE ON SCHEMA t_acme FROM t_acme_app",
        "REVOKE SELECT ON s_acme.users FROM s_acme_accounts",
    )
    await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Stalled") == ("True", "PrivilegesMissing")
    assert "log_statement" in world.message(tenant)
    assert world.fetch("SELECT has_schema_privilege('t_acme_app', 't_acme', 'USAGE')") == [(True,)]
    assert world.fetch("SELECT has_table_privilege('s_acme_accounts', 's_acme.users', 'SELECT')") == [(True,)]
    held = world.fetch("SELECT setconfig FROM pg_db_role_setting WHERE setrole = 't_acme_login_a'::regrole")
    assert not any(one.startswith("work_mem") for one in held[0][0])
    world.execute(setting.format("RESET log_statement"))
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_lost_data_is_found_by_the_sweep_and_so_is_its_return(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.settle()
    for schema in ("t_acme", "s_acme"):
        world.execute(f"ALTER SCHEMA {schema} RENAME TO gone")
        assert await world.sweep() == {"acme"}
        tenant = await world.tenant("acme")
        assert world.condition(tenant, "Stalled") == ("True", "DataMissing")
        assert f"schema {schema}" in world.message(tenant)
        assert schema not in world.names_on_server("acme")
        world.execute(f"ALTER SCHEMA gone RENAME TO {schema}")
        await world.settle()
        assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_a_repair_that_does_not_hold_is_said_and_told_once(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.settle()
    for _ in range(4):
        world.execute("GRANT pg_read_all_data TO t_acme_login_a")
        await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "PrivilegesMissing")
    assert "pg_read_all_data" in world.message(tenant)
    assert [reason for reason, _ in await world.events("acme")].count("Repaired") <= 2
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_a_lock_that_the_tenant_holds_delays_its_own_pass_only(world: TenantWorld) -> None:
    for name in ("acme", "beta"):
        await world.provision(name)
    await world.settle()
    world.execute("REVOKE USAGE ON SCHEMA t_acme FROM t_acme_app", "REVOKE USAGE ON SCHEMA t_beta FROM t_beta_app")
    with world.login(await world.secret("acme-database")) as connection, connection.transaction():
        connection.execute("SET LOCAL ROLE t_acme_owner")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        # The owner may do so, and thereby holds the schema's row of the catalogue.
        connection.execute("GRANT USAGE ON SCHEMA t_acme TO t_acme_migrator")
        async with asyncio.timeout(20):
            results = [await world.reconcile_once(name) for name in ("acme", "beta")]
    assert [result.failed for result in results] == [True, False]
    assert world.condition(await world.tenant("beta"), "Ready") == ("True", "Provisioned")
    assert world.condition(await world.tenant("acme"), "Reconciling") == ("True", "Retrying")
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_nothing_is_done_when_the_marker_changed_since_it_was_read(world: TenantWorld) -> None:
    await world.provision("acme")
    names = TenantNames("acme")
    before = world.names_on_server("acme")
    drop = DropData(schemas=names.schemas, roles=(*names.group_roles, names.logins[0]), reason="a test")
    address = await world.addresses.address("primary")
    async with world.servers.connection(address) as connection:
        catalogue, _ = await observe_catalogue(connection, names)
        world.execute("COMMENT ON ROLE t_acme_owner IS 'another'")
        applied = await apply_on_server(
            connection, [drop], context=Context(names, "app"), marker_text=catalogue.marker_text
        )
    assert applied.done == ()
    assert applied.failed[0].failure.transient
    assert world.names_on_server("acme") == before
