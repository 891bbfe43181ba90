"""A Tenant leaves: with its data or without, and never with somebody else's."""

import psycopg
import pytest

from tenantry_operator.clients.kube import DATABASESERVERS, TENANTS
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

KEY = """
INSERT INTO tenantry.api_keys (public_id, tenant_id, kind, secret_hash)
SELECT 'key', id, 'tenant', sha256('x') FROM tenantry.tenants WHERE name = 'acme'
"""


async def with_rows(world: TenantWorld, name: str = "acme") -> None:
    """Provision a tenant that has a table, a large object, a service's row and an API key."""
    await world.provision(name)
    with world.login(await world.secret(f"{name}-database")) as connection:
        connection.execute("SELECT lo_create(0)")
        connection.execute(f"SET ROLE t_{name}_owner")
        connection.execute("CREATE TABLE things AS SELECT 1 AS id")
    world.execute(
        f"INSERT INTO s_{name}.users (id, tenant_id, email) VALUES (gen_random_uuid(), gen_random_uuid(), 'a@b')"
    )
    if name == "acme":
        world.execute(KEY, database="tenantry")


def state(world: TenantWorld) -> list[tuple[str, bool]]:
    query = "SELECT t.state, k.revoked_at IS NOT NULL FROM {0}.tenants t JOIN {0}.api_keys k ON k.tenant_id = t.id"
    return world.fetch(query.format("tenantry"), database="tenantry")


async def test_delete_leaves_nothing(world: TenantWorld) -> None:
    await with_rows(world)
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()
    assert world.fetch("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]
    assert await world.secret("acme-database") == {}
    assert state(world) == [("deleted", True)]
    assert [reason for reason, _ in await world.events("acme")][-1] == "Deleted"


async def test_retain_keeps_the_data_and_nobody_gets_in(world: TenantWorld) -> None:
    await with_rows(world)
    secret = await world.secret("acme-database")
    await world.leave("acme", "Retain")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == {
        "t_acme", "s_acme", "t_acme_owner", "t_acme_app", "t_acme_migrator", "s_acme_accounts",
    }  # fmt: skip
    assert world.fetch("SELECT id FROM t_acme.things") == [(1,)]
    with pytest.raises(psycopg.OperationalError):
        world.login(secret)
    assert await world.secret("acme-database") == {}
    assert state(world) == [("released", True)]
    assert world.fetch("SELECT pg_has_role('tenantry_svc_accounts_1', 's_acme_accounts', 'MEMBER')") == [(False,)]


async def test_retained_data_is_adopted_by_the_next_of_its_name(world: TenantWorld) -> None:
    first = await world.provision("acme")
    world.execute("CREATE TABLE t_acme.things AS SELECT 7 AS id", "ALTER TABLE t_acme.things OWNER TO t_acme_owner")
    await world.leave("acme", "Retain")
    second = await world.provision("acme")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["status"]["id"] == first["status"]["id"]
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SET ROLE t_acme_owner")
        assert connection.execute("SELECT id FROM things").fetchall() == [(7,)]
    assert "Adopted" in [reason for reason, _ in await world.events("acme")]


async def test_a_deleted_name_is_free_and_gets_another_id(world: TenantWorld) -> None:
    first = await world.provision("acme")
    await world.leave("acme", "Delete")
    second = await world.provision("acme")
    assert second["status"]["id"] != first["status"]["id"]


async def test_open_sessions_are_ended(world: TenantWorld) -> None:
    await with_rows(world)
    connection = world.login(await world.secret("acme-database"))
    connection.autocommit = False
    connection.execute("SET ROLE t_acme_owner")
    connection.execute("LOCK TABLE things")
    await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == set()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


async def test_a_protected_tenant_is_held_and_serves_on(world: TenantWorld) -> None:
    await with_rows(world)
    await world.leave("acme", "Delete", protection="Enabled")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "Protected")
    assert world.condition(tenant, "Ready") == ("True", "Provisioned")
    with world.login(await world.secret("acme-database")) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (1,)
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"deletionProtection": "Disabled"}})
    await world.reconcile("acme")
    assert world.names_on_server("acme") == set()


FOREIGN = (
    "GRANT SELECT ON t_other.things TO t_acme_login_a, t_acme_app",
    "GRANT USAGE ON SCHEMA t_other TO t_acme_ro",
    "ALTER DEFAULT PRIVILEGES FOR ROLE t_other_owner GRANT SELECT ON TABLES TO t_acme_owner",
    "CREATE POLICY mine ON t_other.things TO t_acme_login_a USING (true)",
    "GRANT t_acme_app TO t_other_app",
)


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_what_another_tenant_granted_does_not_hold_it(world: TenantWorld, policy: str) -> None:
    await world.provision("acme", database={"readOnlyRole": "Enabled"})
    await with_rows(world, "other")
    world.execute(*FOREIGN)
    await world.leave("acme", policy)
    assert await world.kube.get(TENANTS, "acme") is None
    assert "t_acme_login_a" not in world.names_on_server("acme")
    assert world.fetch("SELECT id FROM t_other.things") == [(1,)]
    await world.reconcile("other")
    assert world.condition(await world.tenant("other"), "Ready") == ("True", "Provisioned")


async def test_neighbours_are_not_touched(world: TenantWorld) -> None:
    await world.provision("acme")
    for name in ("acme2", "acme-owner", "a"):
        await world.provision(name)
    await world.leave("acme", "Delete")
    for name in ("acme2", "acme-owner", "a"):
        assert await world.reconcile(name) is not None
        with world.login(await world.secret(f"{name}-database")) as connection:
            connection.execute("SELECT 1")


async def test_a_tenant_with_lost_data_is_held_and_says_so(world: TenantWorld) -> None:
    await world.provision("acme")
    world.execute("DROP SCHEMA s_acme CASCADE")
    await world.leave("acme", "Delete")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "DataMissing")
    assert "t_acme" in world.names_on_server("acme")


async def test_an_unreachable_server_holds_the_tenant_until_it_is_back(world: TenantWorld) -> None:
    await world.provision("acme", databaseServer="primary")
    world.postgres.stop()
    await world.leave("acme", "Delete")
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "ServerUnreachable")
    world.postgres.start()
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()


async def test_a_server_with_tenants_stays_and_goes_after_them(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.kube.delete(DATABASESERVERS, "primary")
    await world.reconcile_server()
    assert world.condition(await world.server(), "Deleting") == ("True", "InUse")
    await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == set()
    await world.reconcile_server()
    assert await world.kube.get(DATABASESERVERS, "primary") is None
    assert await world.secret("tenantry-accounts-database-primary") == {}


GIVEN_ON = (
    "RESET ROLE",
    "GRANT USAGE ON SCHEMA t_other TO t_acme_login_a",
    "GRANT SELECT, UPDATE (id) ON t_other.things TO t_other_app WITH GRANT OPTION",
    "SET ROLE t_other_app",
    "GRANT SELECT ON t_other.things TO t_acme_login_a, t_acme_owner",
    "GRANT UPDATE (id) ON t_other.things TO t_acme_login_a WITH GRANT OPTION",
    "SET ROLE t_acme_login_a",
    "GRANT UPDATE (id) ON t_other.things TO t_acme_app",
)
"""A REVOKE by the owner leaves what another one gave, with a mere warning."""


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_what_is_given_on_by_a_grant_option_is_taken_back(world: TenantWorld, policy: str) -> None:
    await world.provision("acme", database={"readOnlyRole": "Enabled"})
    await with_rows(world, "other")
    with world.administrator() as connection:
        for statement in GIVEN_ON:
            connection.execute(statement)
    await world.reconcile_once("acme")
    assert world.fetch("SELECT has_table_privilege('t_acme_login_a', 't_other.things', 'SELECT')") == [(False,)]
    assert await world.reconcile_once("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    with world.administrator() as connection:
        for statement in GIVEN_ON:
            connection.execute(statement)
    await world.leave("acme", policy)
    assert await world.kube.get(TENANTS, "acme") is None


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_what_a_customer_left_in_another_database_does_not_hold_it(world: TenantWorld, policy: str) -> None:
    await world.provision("acme")
    await world.provision("other")
    for name in ("acme", "other"):
        secret = await world.secret(f"{name}-database")
        who = Login(secret["username"], secret["password"])
        # Whoever can log in may connect here, for nobody forbids it.
        with world.postgres.connect("postgres", who) as connection:
            large = connection.execute("SELECT lo_create(0)").fetchone()
            assert large is not None
            if name == "other":
                connection.execute(f"GRANT ALL ON LARGE OBJECT {large[0]} TO t_acme_login_a, t_acme_owner")
    await world.leave("acme", policy)
    assert await world.kube.get(TENANTS, "acme") is None
    assert "t_acme_login_a" not in world.names_on_server("acme")
    left = world.fetch(
        "SELECT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata ORDER BY oid", database="postgres"
    )
    kept = [("t_acme_owner",)] if policy == "Retain" else []
    assert left == [*kept, ("t_other_login_a",)]


async def test_more_than_one_transaction_can_lock_is_deleted(world: TenantWorld) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SELECT count(lo_create(0)) FROM generate_series(1, 40000)")
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things (id int) PARTITION BY LIST (id)")
        connection.execute(
            "DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format("
            "'CREATE TABLE \"part %s\" PARTITION OF things FOR VALUES IN (%s)', i, i); END LOOP; END $$"
        )
        connection.execute("CREATE VIEW seen AS SELECT * FROM things")
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()
    assert world.fetch("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


async def test_a_session_that_holds_a_lock_is_named(world: TenantWorld) -> None:
    await with_rows(world)
    await world.settle()
    with world.administrator() as blocking:
        blocking.autocommit = False
        blocking.execute("LOCK TABLE t_acme.things")
        pid = blocking.info.backend_pid
        await world.kube.merge_patch(
            TENANTS, "acme", {"spec": {"deletionPolicy": "Delete", "deletionProtection": "Disabled"}}
        )
        await world.kube.delete(TENANTS, "acme")
        assert (await world.reconcile_once("acme")).failed
        tenant = await world.tenant("acme")
        assert world.condition(tenant, "Deleting") == ("True", "Locked")
        assert f"session {pid} of " in world.message(tenant, "Deleting")
        assert f"pg_terminate_backend({pid})" in world.message(tenant, "Deleting")
        # What was begun is not half undone by a change of mind.
        await world.kube.merge_patch(TENANTS, "acme", {"spec": {"deletionPolicy": "Retain"}})
        assert (await world.reconcile_once("acme")).failed
        assert "it cannot be undone, and is finished" in world.message(await world.tenant("acme"), "Deleting")
        blocking.rollback()
    await world.reconcile("acme")
    assert world.names_on_server("acme") == set()
    state = "SELECT state FROM tenantry.tenants WHERE name = 'acme'"
    assert world.fetch(state, database="tenantry") == [("deleted",)]


async def test_a_neighbour_that_grants_in_an_open_transaction_is_named(world: TenantWorld) -> None:
    await world.provision("acme", database={"readOnlyRole": "Enabled"})
    await with_rows(world, "other")
    await world.settle()
    with world.login(await world.secret("other-database")) as blocking:
        blocking.autocommit = False
        blocking.execute("SET idle_in_transaction_session_timeout = 0")
        blocking.execute("SET ROLE t_other_owner")
        blocking.execute("GRANT SELECT ON t_other.things TO t_acme_owner")
        await world.kube.merge_patch(
            TENANTS, "acme", {"spec": {"deletionPolicy": "Delete", "deletionProtection": "Disabled"}}
        )
        await world.kube.delete(TENANTS, "acme")
        assert (await world.reconcile_once("acme")).failed
        said = world.message(await world.tenant("acme"), "Deleting")
        assert "of t_other_login_a" in said
        blocking.rollback()
    await world.reconcile("acme")
    assert world.names_on_server("acme") == set()


async def test_what_a_role_owns_beside_its_schemas_is_named(world: TenantWorld) -> None:
    await world.provision("acme")
    world.execute("CREATE DATABASE elsewhere OWNER t_acme_owner")
    await world.leave("acme", "Delete")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "ObjectsLeft")
    assert "owner of database elsewhere" in world.message(tenant, "Deleting")
    assert "t_acme" in world.names_on_server("acme"), "the unit is rolled back whole"
    world.execute("ALTER DATABASE elsewhere OWNER TO CURRENT_USER")
    await world.settle()
    assert world.names_on_server("acme") == set()


async def test_a_database_that_nobody_may_enter_is_named(world: TenantWorld) -> None:
    await world.provision("acme")
    secret = await world.secret("acme-database")
    world.execute("CREATE DATABASE elsewhere")
    with world.postgres.connect("elsewhere", Login(secret["username"], secret["password"])) as connection:
        connection.execute("SELECT lo_create(0)")
    world.execute("ALTER DATABASE elsewhere ALLOW_CONNECTIONS false")
    await world.leave("acme", "Delete")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "ObjectsLeft")
    assert "in database elsewhere" in world.message(tenant, "Deleting")
    world.execute("ALTER DATABASE elsewhere ALLOW_CONNECTIONS true")
    await world.settle()
    assert world.names_on_server("acme") == set()


MANY = """
DO $$ BEGIN FOR i IN {first}..{first} + 999 LOOP
    EXECUTE format($f$CREATE FUNCTION "f %s"(a int, b "T") RETURNS int LANGUAGE sql AS 'SELECT 1'$f$, i);
    EXECUTE format($f$CREATE TYPE "t %s" AS ENUM ('a')$f$, i);
    EXECUTE format($f$CREATE DOMAIN "d %s" AS int$f$, i);
END LOOP; END $$
"""


async def test_more_functions_and_types_than_one_transaction_can_lock_are_deleted(world: TenantWorld) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET ROLE t_acme_owner")
        connection.execute('CREATE TYPE "T" AS (a int)')
        connection.execute('CREATE TABLE things (id int, one "T")')
        # To make them takes locks as well.
        for first in range(0, 6000, 1000):
            connection.execute(MANY.format(first=first))
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()


async def test_retaining_many_large_objects_of_the_login_takes_no_lock_each(world: TenantWorld) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SELECT count(lo_create(0)) FROM generate_series(1, 20000)")
    await world.leave("acme", "Retain")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.fetch("SELECT DISTINCT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata") == [("t_acme_owner",)]
