"""A DatabaseServer: what it is made ready with, and what it says when it cannot be used."""

import pytest

from tenantry_operator.clients.kube import DATABASESERVERS, SECRETS
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld


async def spec(world: TenantWorld, **changes: object) -> None:
    await world.kube.merge_patch(DATABASESERVERS, "primary", {"spec": changes})
    await world.reconcile_server()


async def test_a_server_is_made_ready(world: TenantWorld) -> None:
    server = await world.server()
    for condition, reason in (("Reachable", "Connected"), ("PrivilegesSufficient", "PrivilegesGranted")):
        assert world.condition(server, condition) == ("True", reason)
    assert server["status"]["version"].startswith("1")
    assert server["status"]["tenants"] == 0
    secret = await world.secret("tenantry-accounts-database-primary")
    assert secret["registry-database"] == "tenantry"
    assert "schema" not in secret
    with world.postgres.connect("app", Login(secret["username"], secret["password"])) as connection:
        row = connection.execute("SELECT rolinherit, rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False, False)


async def test_a_server_that_is_well_costs_no_write(world: TenantWorld) -> None:
    world.counted.clear()
    await world.reconcile_server()
    assert world.writes() == []


async def test_tenants_are_counted(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.reconcile_server()
    assert (await world.server())["status"]["tenants"] == 1


DAMAGES = {
    "the service's login is dropped": [
        "DROP OWNED BY tenantry_svc_accounts_1",
        "DROP ROLE tenantry_svc_accounts_1",
    ],
    "the service's login inherits": ["ALTER ROLE tenantry_svc_accounts_1 INHERIT CREATEDB"],
    "everybody may connect": ["GRANT ALL ON DATABASE app TO PUBLIC", "GRANT CONNECT ON DATABASE tenantry TO PUBLIC"],
    "everybody may make things in public": ["GRANT ALL ON SCHEMA public TO PUBLIC"],
    "tenants may not connect": ["REVOKE CONNECT ON DATABASE app FROM tenantry_tenants"],
    "somebody owns all services' schemas": ["CREATE ROLE s_guest", "GRANT tenantry_owner TO s_guest"],
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_was_changed_by_hand_is_put_right(world: TenantWorld, damage: str) -> None:
    await world.provision("acme")
    if "dropped" in damage:
        world.execute("DROP OWNED BY tenantry_svc_accounts_1", database="tenantry")
    world.execute(*DAMAGES[damage])
    await world.reconcile_server()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")
    await world.settle()
    secret = await world.secret("tenantry-accounts-database-primary")
    with world.postgres.connect("app", Login(secret["username"], secret["password"])) as connection:
        connection.execute("SET ROLE s_acme_accounts")
        connection.execute("SELECT * FROM s_acme.users")
    query = (
        "SELECT rolinherit OR rolcreatedb, has_database_privilege('pg_monitor', 'app', 'CONNECT'),"
        " has_schema_privilege('pg_monitor', 'public', 'USAGE'),"
        " has_database_privilege('pg_monitor', 'tenantry', 'CONNECT')"
        " FROM pg_roles WHERE rolname = 'tenantry_svc_accounts_1'"
    )
    assert world.fetch(query) == [(False, False, False, False)]
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")
    owners = world.fetch("SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'tenantry_owner'::regrole")
    assert owners == [("operator_login",)]


async def test_a_deleted_service_secret_comes_back(world: TenantWorld) -> None:
    await world.kube.delete(SECRETS, "tenantry-accounts-database-primary", namespace=world.settings.namespace)
    await world.reconcile_server()
    secret = await world.secret("tenantry-accounts-database-primary")
    world.postgres.connect("app", Login(secret["username"], secret["password"])).close()


async def test_bad_credentials_are_said_and_mended(world: TenantWorld) -> None:
    await world.provision("acme")
    place = {"namespace": world.settings.namespace}
    await world.kube.merge_patch(SECRETS, "primary-operator", {"stringData": {"password": "wrong"}}, **place)
    await world.servers.close()
    await world.fence.close()
    await world.reconcile_server()
    assert world.condition(await world.server(), "Reachable") == ("False", "AuthenticationFailed")
    assert world.condition(await world.server(), "Stalled") == ("True", "AuthenticationFailed")
    right = {"stringData": {"password": world.operator.password}}
    await world.kube.merge_patch(SECRETS, "primary-operator", right, **place)
    await world.reconcile_server()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")


async def test_missing_credentials_are_named(bare_world: TenantWorld) -> None:
    world = bare_world
    await world.apply_server(credentialsSecretRef={"name": "nothing"})
    server = await world.server()
    assert world.condition(server, "Ready") == ("False", "CredentialsMissing")
    assert "nothing" in world.message(server)


async def test_a_missing_database_is_named_and_found_when_it_is_made(bare_world: TenantWorld) -> None:
    world = bare_world
    await world.apply_server(database="elsewhere")
    server = await world.server()
    assert world.condition(server, "Reachable") == ("False", "DatabaseMissing")
    assert "elsewhere" in world.message(server)
    world.postgres.make_database("elsewhere", owner=world.operator.user)
    await world.reconcile_server()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")


async def test_a_certificate_of_another_authority_is_refused(bare_world: TenantWorld) -> None:
    world = bare_world
    await world.apply_server(tls={"mode": "verify-full"})
    assert world.condition(await world.server(), "Reachable") == ("False", "TlsFailed")


LACKING = {
    "NOCREATEROLE": "CREATEROLE",
    "SUPERUSER": "NOSUPERUSER",
}


@pytest.mark.parametrize("attribute", LACKING)
async def test_a_lacking_right_is_named_with_its_cure(bare_world: TenantWorld, attribute: str) -> None:
    world = bare_world
    world.execute(f"ALTER ROLE operator_login {attribute}")
    await world.apply_server()
    server = await world.server()
    assert world.condition(server, "PrivilegesSufficient") == ("False", "PrivilegesMissing")
    assert LACKING[attribute] in world.message(server)
    assert world.fetch("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenantry_'") == [(0,)]


async def test_a_database_of_somebody_else_is_refused(bare_world: TenantWorld) -> None:
    world = bare_world
    world.execute("ALTER DATABASE app OWNER TO postgres")
    await world.apply_server()
    assert "OWNER TO" in world.message(await world.server())


async def test_the_registry_is_made_or_asked_for(bare_world: TenantWorld) -> None:
    world = bare_world
    world.execute("ALTER ROLE operator_login NOCREATEDB")
    await world.apply_server()
    assert 'CREATE DATABASE "tenantry"' in world.message(await world.server())
    world.execute("ALTER ROLE operator_login CREATEDB")
    await world.reconcile_server()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")


async def test_tenants_are_never_let_into_the_registrys_database(bare_world: TenantWorld) -> None:
    world = bare_world
    world.postgres.make_database("tenantry", owner=world.operator.user)
    await world.apply_server(database="tenantry")
    server = await world.server()
    assert world.condition(server, "Stalled") == ("True", "InvalidSpec")
    assert "spec.database" in world.message(server)
    assert world.fetch("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenantry_'") == [(0,)]
    await world.apply_server(database="app")
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")


async def test_a_server_of_another_installation_is_refused(bare_world: TenantWorld) -> None:
    world = bare_world
    world.execute("CREATE ROLE tenantry_owner", "COMMENT ON ROLE tenantry_owner IS 'another'")
    await world.apply_server()
    server = await world.server()
    assert world.condition(server, "Stalled") == ("True", "NotOurs")
    assert "another" in world.message(server)


async def test_one_server_serves_one_databaseserver_at_a_time(world: TenantWorld) -> None:
    world.postgres.make_database("elsewhere", owner=world.operator.user)
    await world.apply_server("second", database="elsewhere")
    assert world.condition(await world.server("second"), "Stalled") == ("True", "NotOurs")
    assert "/primary" in world.message(await world.server("second"))
    await world.kube.delete(DATABASESERVERS, "primary")
    await world.reconcile_server()
    await world.reconcile_server("second")
    assert world.condition(await world.server("second"), "Ready") == ("True", "Connected")


async def test_an_outage_is_said_and_ends_by_itself(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.settle()
    world.postgres.stop()
    try:
        await world.reconcile_server()
        await world.sweep()
        tenant, server = await world.tenant("acme"), await world.server()
    finally:
        world.postgres.start()
    assert world.condition(server, "Reachable") == ("False", "NotReachable")
    assert world.condition(tenant, "Ready") == ("False", "ServerUnreachable")
    assert world.condition(tenant, "Reconciling") == ("True", "Retrying")
    assert "primary" in world.message(tenant)
    assert "password" not in world.message(tenant)
    await world.reconcile_server()
    await world.settle()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_an_emptied_server_is_not_filled_with_nothing(world: TenantWorld) -> None:
    """As when spec.host is changed to a fresh server: the registry is gone too, only the cluster remembers."""
    await world.provision("acme")
    await world.servers.close()
    await world.fence.close()
    empty_out(world)
    await world.reconcile_server()
    server = await world.server()
    assert world.condition(server, "Stalled") == ("True", "DataMissing")
    await world.sweep()
    await world.sweep()
    assert world.condition(await world.tenant("acme"), "Ready") == ("False", "RegistryUnavailable")
    assert world.names_on_server("acme") == set()
    assert world.fetch("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenantry_'") == [(0,)]


async def test_a_tenant_on_an_emptied_server_says_that_its_data_is_missing(world: TenantWorld) -> None:
    """The server was accepted as a new one by deleting the services' Secret; the Tenant's data is still missed."""
    await world.provision("acme")
    await world.servers.close()
    await world.fence.close()
    empty_out(world)
    await world.kube.delete(SECRETS, "tenantry-accounts-database-primary", namespace=world.settings.namespace)
    await world.reconcile_server()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")
    await world.sweep()
    await world.sweep()
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "DataMissing")
    assert world.names_on_server("acme") == set()


def empty_out(world: TenantWorld) -> None:
    roles = [role for (role,) in world.fetch("SELECT rolname FROM pg_roles WHERE rolname ~ '^(tenantry_|[ts]_)'")]
    world.execute("DROP DATABASE tenantry WITH (FORCE)", "DROP DATABASE app WITH (FORCE)", database="postgres")
    world.execute(*[f"DROP OWNED BY {role}" for role in roles], database="postgres")
    world.execute(*[f"DROP ROLE {role}" for role in roles], database="postgres")
    world.postgres.make_database("app", owner=world.operator.user)
