"""A Tenant is suspended, archived and made active again, on real servers."""

import psycopg
import pytest

from tenantry_operator.clients.kube import SECRETS, TENANTS
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

LOGIN = "t_acme_login_a"
SERVICE_IN = "SELECT pg_has_role('tenantry_svc_accounts_1', 's_acme_accounts', 'MEMBER')"
CLOSED = {"Suspended": "suspended", "Archived": "archived"}
KEY = """
INSERT INTO tenantry.api_keys (public_id, tenant_id, kind, secret_hash)
SELECT 'key', id, 'tenant', sha256('x') FROM tenantry.tenants WHERE name = 'acme'
"""


async def move(world: TenantWorld, lifecycle: str) -> None:
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": lifecycle}})
    await world.reconcile("acme")


def states(world: TenantWorld) -> list[str]:
    return [state for (state,) in world.fetch("SELECT state FROM tenantry.tenants", database="tenantry")]


def nobody_gets_in(world: TenantWorld) -> None:
    """No role of the tenant may log in, nobody is logged in as one, and no service is a member."""
    assert world.fetch("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname ~ '^[ts]_acme'") == []
    assert world.fetch("SELECT usename FROM pg_stat_activity WHERE usename ~ '^[ts]_acme'") == []
    assert world.fetch(SERVICE_IN) == [(False,)]


async def provisioned(world: TenantWorld) -> dict[str, str]:
    """Provision the tenant with a table, a service's row, an API key and something owned by the login."""
    await world.provision("acme")
    secret = await world.secret("acme-database")
    with world.login(secret) as connection:
        connection.execute("SELECT lo_create(0)")
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things AS SELECT 7 AS id")
    world.execute(
        "INSERT INTO s_acme.users (id, tenant_id, email) VALUES (gen_random_uuid(), gen_random_uuid(), 'a@b')"
    )
    world.execute(KEY, database="tenantry")
    return secret


def assert_data_is_there(world: TenantWorld) -> None:
    assert world.fetch("SELECT id FROM t_acme.things") == [(7,)]
    assert world.fetch("SELECT email FROM s_acme.users") == [("a@b",)]
    assert world.fetch("SELECT count(*) FROM pg_largeobject_metadata") == [(1,)]
    assert world.fetch("SELECT revoked_at FROM tenantry.api_keys", database="tenantry") == [(None,)]


async def test_a_suspended_tenant_admits_nobody_and_keeps_all(world: TenantWorld) -> None:
    secret = await provisioned(world)
    session = world.login(secret)
    await move(world, "Suspended")
    nobody_gets_in(world)
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    session.close()
    with pytest.raises(psycopg.OperationalError):
        world.login(secret)
    assert await world.secret("acme-database") == secret
    assert states(world) == ["suspended"]
    assert_data_is_there(world)
    tenant = await world.tenant("acme")
    assert tenant["status"]["phase"] == "Suspended"
    assert world.condition(tenant, "Ready") == ("True", "Suspended")
    assert world.condition(tenant, "Suspended") == ("True", "Suspended")
    assert world.condition(tenant, "Stalled") == ("False", "Reconciled")
    assert world.condition(tenant, "Reconciling") == ("False", "Reconciled")
    assert [reason for reason, _ in await world.events("acme")] == ["Provisioned", "Suspended"]
    await world.settle()


async def test_a_resumed_tenant_has_its_old_credentials(world: TenantWorld) -> None:
    secret = await provisioned(world)
    await move(world, "Suspended")
    await move(world, "Active")
    assert await world.secret("acme-database") == secret
    with world.login(secret) as connection:
        assert connection.execute("SELECT id FROM things").fetchall() == [(7,)]
    assert states(world) == ["active"]
    assert world.fetch(SERVICE_IN) == [(True,)]
    assert_data_is_there(world)
    tenant = await world.tenant("acme")
    assert tenant["status"]["phase"] == "Ready"
    assert world.condition(tenant, "Ready") == ("True", "Provisioned")
    assert world.condition(tenant, "Suspended") == ("False", "Active")
    assert [reason for reason, _ in await world.events("acme")] == ["Provisioned", "Suspended", "Resumed"]
    await world.settle()


async def test_an_archived_tenant_has_no_credentials_and_gets_new_ones(world: TenantWorld) -> None:
    secret = await provisioned(world)
    before = world.names_on_server("acme")
    await move(world, "Archived")
    nobody_gets_in(world)
    assert world.names_on_server("acme") == before - {LOGIN}
    assert await world.secret("acme-database") == {}
    assert states(world) == ["archived"]
    assert_data_is_there(world)
    owner = world.fetch("SELECT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata")
    assert owner == [("t_acme_owner",)]
    tenant = await world.tenant("acme")
    assert tenant["status"]["phase"] == "Archived"
    assert "binding" not in tenant["status"]
    assert LOGIN not in tenant["status"]["roles"]
    assert world.condition(tenant, "Ready") == ("True", "Archived")
    assert world.condition(tenant, "Suspended") == ("True", "Archived")
    await world.settle()
    await move(world, "Active")
    fresh = await world.secret("acme-database")
    assert fresh["password"] != secret["password"]
    with world.login(fresh) as connection:
        assert connection.execute("SELECT id FROM things").fetchall() == [(7,)]
    assert_data_is_there(world)
    assert [reason for reason, _ in await world.events("acme")] == ["Provisioned", "Archived", "Resumed"]
    await world.settle()


@pytest.mark.parametrize("way", [("Suspended", "Archived"), ("Archived", "Suspended")])
async def test_from_one_closed_state_to_the_other(world: TenantWorld, way: tuple[str, str]) -> None:
    await provisioned(world)
    for lifecycle in way:
        await move(world, lifecycle)
        nobody_gets_in(world)
        assert states(world) == [CLOSED[lifecycle]]
        assert bool(await world.secret("acme-database")) is (lifecycle == "Suspended")
    await move(world, "Active")
    assert_data_is_there(world)
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT id FROM things")


@pytest.mark.parametrize("lifecycle", CLOSED)
async def test_a_tenant_may_be_closed_from_its_beginning(world: TenantWorld, lifecycle: str) -> None:
    await world.apply_tenant("acme", lifecycle=lifecycle)
    await world.reconcile("acme")
    nobody_gets_in(world)
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", lifecycle)
    assert states(world) == [CLOSED[lifecycle]]
    assert [reason for reason, _ in await world.events("acme")] == ["Provisioned", lifecycle]
    await world.settle()
    await move(world, "Active")
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")


@pytest.mark.parametrize("lifecycle", [*CLOSED, "Active"])
async def test_the_write_budget_of_a_move(world: TenantWorld, lifecycle: str) -> None:
    """One status; an archive also deletes the Secret. Events count apart."""
    await provisioned(world)
    await world.settle()
    if lifecycle == "Active":
        await move(world, "Suspended")
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": lifecycle}})
    await world.refresh()
    world.counted.clear()
    await world.reconcile("acme")
    events = ["POST"]
    assert sorted(world.writes()) == sorted(["PATCH", *events, *(["DELETE"] if lifecycle == "Archived" else [])])
    world.counted.clear()
    await world.settle()
    assert world.writes() == []


EDITS = {
    "the login is opened": [f"ALTER ROLE {LOGIN} LOGIN"],
    "a group role is opened": ["ALTER ROLE t_acme_app LOGIN PASSWORD 'x'"],
    "the services are let in": ["GRANT s_acme_accounts TO tenantry_svc_accounts_1"],
    "a service reads a table": [
        "GRANT USAGE ON SCHEMA s_acme TO tenantry_svc_accounts_1",
        "GRANT SELECT ON s_acme.users TO tenantry_svc_accounts_1",
    ],
    "another login is let in": ["GRANT t_acme_app TO t_stranger"],
}


@pytest.mark.parametrize("edit", EDITS)
async def test_drift_of_a_suspended_tenant_is_taken_back(world: TenantWorld, edit: str) -> None:
    world.execute("CREATE ROLE t_stranger LOGIN")
    await provisioned(world)
    await move(world, "Suspended")
    await world.settle()
    world.execute(*EDITS[edit])
    assert await world.sweep() == {"acme"}
    nobody_gets_in(world)
    assert world.fetch("SELECT has_table_privilege('tenantry_svc_accounts_1', 's_acme.users', 'SELECT')") == [(False,)]
    assert world.fetch("SELECT pg_has_role('t_stranger', 't_acme_app', 'MEMBER')") == [(False,)]
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Suspended")
    assert [reason for reason, _ in await world.events("acme")][-1] == "Repaired"
    await world.settle()


async def test_a_session_that_began_while_the_login_was_opened_by_hand_is_ended(world: TenantWorld) -> None:
    secret = await provisioned(world)
    await move(world, "Suspended")
    await world.settle()
    world.execute(f"ALTER ROLE {LOGIN} LOGIN")
    session = world.login(secret)
    world.execute(f"ALTER ROLE {LOGIN} NOLOGIN")
    assert await world.sweep() == {"acme"}
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    session.close()
    nobody_gets_in(world)


async def test_a_session_of_a_group_role_is_ended_while_active_too(world: TenantWorld) -> None:
    await provisioned(world)
    await world.settle()
    world.execute("ALTER ROLE t_acme_app LOGIN PASSWORD 'by hand'", "GRANT CONNECT ON DATABASE app TO t_acme_app")
    session = world.postgres.connect("app", Login("t_acme_app", "by hand"))
    await world.reconcile_once("acme")
    assert [reason for reason, _ in await world.events("acme")][-1] == "Repaired"
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    session.close()
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")


@pytest.mark.parametrize("lifecycle", CLOSED)
async def test_access_is_taken_from_a_tenant_that_is_refused_otherwise(world: TenantWorld, lifecycle: str) -> None:
    secret = await provisioned(world)
    await world.settle()
    world.execute("ALTER SCHEMA s_acme RENAME TO gone")
    await move(world, lifecycle)
    nobody_gets_in(world)
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "DataMissing")
    assert world.condition(tenant, "Suspended") == ("True", lifecycle)
    world.execute("ALTER SCHEMA gone RENAME TO s_acme")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", lifecycle)
    assert (await world.secret("acme-database") == secret) is (lifecycle == "Suspended")
    assert_data_is_there(world)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
@pytest.mark.parametrize("lifecycle", CLOSED)
async def test_a_closed_tenant_is_deleted(world: TenantWorld, lifecycle: str, policy: str) -> None:
    first = await provisioned(world)
    await move(world, lifecycle)
    await world.leave("acme", policy)
    assert await world.kube.get(TENANTS, "acme") is None
    assert await world.secret("acme-database") == {}
    revoked = world.fetch("SELECT revoked_at IS NOT NULL FROM tenantry.api_keys", database="tenantry")
    assert revoked == [(True,)]
    if policy == "Delete":
        assert world.names_on_server("acme") == set()
        return
    await world.apply_tenant("acme", lifecycle="Active")
    await world.reconcile("acme")
    again = await world.secret("acme-database")
    assert again["password"] != first["password"]
    with world.login(again) as connection:
        assert connection.execute("SELECT id FROM things").fetchall() == [(7,)]


@pytest.mark.parametrize("lifecycle", CLOSED)
async def test_what_a_closed_tenant_left_is_adopted_as_the_spec_says(world: TenantWorld, lifecycle: str) -> None:
    await provisioned(world)
    await move(world, "Suspended")
    await world.leave("acme", "Retain")
    await world.apply_tenant("acme", lifecycle=lifecycle)
    await world.reconcile("acme")
    nobody_gets_in(world)
    assert states(world) == [CLOSED[lifecycle]]
    assert bool(await world.secret("acme-database")) is (lifecycle == "Suspended")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", lifecycle)


async def test_a_closed_tenant_that_is_held_shows_it(world: TenantWorld) -> None:
    await provisioned(world)
    await move(world, "Suspended")
    await world.leave("acme", "Delete", protection="Enabled")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "Protected")
    assert world.condition(tenant, "Ready") == ("True", "Suspended")
    assert world.condition(tenant, "Suspended") == ("True", "Suspended")
    nobody_gets_in(world)


async def test_a_foreign_secret_does_not_keep_a_tenant_open(world: TenantWorld) -> None:
    await provisioned(world)
    await world.kube.delete(SECRETS, "acme-database", namespace=world.settings.namespace)
    body = {"metadata": {"name": "acme-database", "namespace": world.settings.namespace}, "data": {"mine": "MQ=="}}
    await world.kube.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", **body})
    await move(world, "Archived")
    nobody_gets_in(world)
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Archived")
    assert await world.secret("acme-database") == {"mine": "1"}


async def test_what_login_owns_in_another_database_passes_to_the_owner(world: TenantWorld) -> None:
    secret = await provisioned(world)
    with world.postgres.connect("postgres", Login(secret["username"], secret["password"])) as connection:
        connection.execute("SELECT lo_create(0)")
    await move(world, "Archived")
    query = "SELECT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata"
    assert world.fetch(query, database="postgres") == [("t_acme_owner",)]
    assert LOGIN not in world.names_on_server("acme")
