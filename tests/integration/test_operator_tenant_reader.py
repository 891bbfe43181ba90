"""What a tenant's roles may do with what is made later, and the role that only reads, on a real server."""

from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.hand_edits import BY_OPERATOR, EVERYTHING
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

READS: Final = {"readOnlyRole": "Enabled"}
REPORTING: Final = Login("t_reporting", "a-password")
DATABASES: Final = {"Schema": "app", "Database": "t_acme"}

THINGS: Final = (
    "CREATE TABLE t_acme.things (id serial PRIMARY KEY, name text)",
    "INSERT INTO t_acme.things (name) VALUES ('first')",
    "CREATE VIEW t_acme.seen AS SELECT name FROM t_acme.things",
    """CREATE FUNCTION t_acme.write() RETURNS int LANGUAGE sql SECURITY DEFINER
        AS $$ INSERT INTO t_acme.things (name) VALUES ('by stealth') RETURNING id $$""",
)
READ: Final = (
    "SELECT name FROM t_acme.things",
    "SELECT name FROM t_acme.seen",
    "SELECT last_value FROM t_acme.things_id_seq",
)
REFUSED: Final = (
    "INSERT INTO t_acme.things (name) VALUES ('x')",
    "UPDATE t_acme.things SET name = 'x'",
    "DELETE FROM t_acme.things",
    "TRUNCATE t_acme.things",
    "SELECT name FROM t_acme.things FOR UPDATE",
    "SELECT nextval('t_acme.things_id_seq')",
    "SELECT setval('t_acme.things_id_seq', 9)",
    "SELECT t_acme.write()",
    "CREATE TABLE t_acme.more (id int)",
    "CREATE TABLE public.more (id int)",
    "CREATE SCHEMA more",
    "CREATE TEMPORARY TABLE more (id int)",
    "LOCK TABLE t_acme.things",
    "SELECT * FROM s_acme.users",
    "SET ROLE t_acme_app",
    "SET ROLE t_acme_owner",
)
EDITS: Final = {
    "a table is taken": ["REVOKE SELECT ON t_acme.things FROM t_acme_ro"],
    "a sequence is taken": ["REVOKE SELECT ON t_acme.things_id_seq FROM t_acme_ro"],
    "it may write": ["GRANT INSERT ON t_acme.things TO t_acme_ro"],
    "it may write a column": ["GRANT UPDATE (name) ON t_acme.things TO t_acme_ro"],
    "it may hand the right on": ["GRANT SELECT ON t_acme.things TO t_acme_ro WITH GRANT OPTION"],
    "the schema is taken": ["REVOKE USAGE ON SCHEMA t_acme FROM t_acme_ro"],
    "it may create": ["GRANT CREATE ON SCHEMA t_acme TO t_acme_ro"],
    "what is made later is not its own": [
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_acme_owner REVOKE SELECT ON TABLES FROM t_acme_ro"
    ],
    "it writes what is made later": [
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_acme_owner GRANT INSERT ON TABLES TO t_acme_ro"
    ],
    "it logs in": ["ALTER ROLE t_acme_ro LOGIN"],
    "it belongs to the app": [BY_OPERATOR, "GRANT t_acme_app TO t_acme_ro"],
    "the customer's login has it": [BY_OPERATOR, "GRANT t_acme_ro TO t_acme_login_a"],
    "a neighbour has it": [BY_OPERATOR, "GRANT t_acme_ro TO t_beta_app"],
    "it does not connect": [BY_OPERATOR, "REVOKE tenantry_tenants FROM t_acme_ro"],
    "it is dropped": ["DROP OWNED BY t_acme_ro", "DROP ROLE t_acme_ro"],
}
ON_TABLES: Final = """
SELECT c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.relnamespace::regnamespace::text = 't_acme'
UNION ALL SELECT attrelid::regclass::text, attname::text, attacl::text, true FROM pg_attribute JOIN pg_class c
    ON c.oid = attrelid WHERE c.relnamespace::regnamespace::text = 't_acme' AND attacl IS NOT NULL ORDER BY 1, 2, 3
"""


def as_owner(world: TenantWorld, secret: dict[str, str], *statements: str) -> None:
    """Do it as the customer's migrations do."""
    with world.login(secret) as connection:
        connection.execute("SET ROLE t_acme_owner")
        for statement in statements:
            connection.execute(statement)


def lend(world: TenantWorld) -> None:
    """Do what the how-to tells an administrator."""
    world.execute(f"CREATE ROLE {REPORTING.user} LOGIN PASSWORD '{REPORTING.password}'")
    world.execute(f"GRANT t_acme_ro TO {REPORTING.user}")


def reporting(world: TenantWorld, database: str) -> psycopg.Connection[Any]:
    return world.postgres.connect(database, REPORTING)


def is_refused(connection: psycopg.Connection[Any], statement: str) -> bool:
    try:
        with connection.transaction():
            connection.execute(statement)
    except InsufficientPrivilege:
        return True
    return False


@pytest.mark.parametrize("isolation", DATABASES)
async def test_what_the_owner_and_a_migration_make_is_read_by_whom_it_should(
    world: TenantWorld, tmp_path: Path, isolation: str
) -> None:
    database = DATABASES[isolation]
    await world.provision("acme", isolation=isolation)
    secret = await world.secret("acme-database")
    as_owner(world, secret, *THINGS)
    await world.apply_tenant("acme", isolation=isolation, database=READS)
    world.counted.clear()
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("True", "Provisioned")
    assert tenant["status"]["effective"]["readOnlyRole"] == "Enabled"
    assert "t_acme_ro" in tenant["status"]["roles"]
    assert len(world.writes()) == 2  # the status, and the Event
    lend(world)
    as_owner(world, secret, "CREATE TABLE t_acme.later AS SELECT 'later' AS name", "CREATE SEQUENCE t_acme.numbers")
    with reporting(world, database) as connection:
        for statement in (*READ, "SELECT name FROM t_acme.later", "SELECT last_value FROM t_acme.numbers"):
            assert connection.execute(statement).fetchall(), statement
        assert [one for one in REFUSED if not is_refused(connection, one)] == []
    with world.login(secret) as connection:
        # Without SET ROLE, by default privileges alone.
        connection.execute("INSERT INTO later VALUES (nextval('numbers')::text)")
        assert connection.execute("SELECT name FROM later ORDER BY name").fetchall() == [("1",), ("later",)]
        assert is_refused(connection, "DROP TABLE later")
        assert is_refused(connection, "TRUNCATE later")
    with tenant_history(write_history(tmp_path)):
        run = await world.migrate("expand", to=EXPAND, phase="expand")
        assert run["status"]["phase"] == "Succeeded", run["status"]
        service = "SELECT has_table_privilege('s_acme_accounts', 's_acme.notes', %s)"
        assert world.fetch(service, "INSERT", database=database) == [(True,)]
        assert world.fetch(service, "DELETE", database=database) == [(False,)]
        for login in (world.login(secret), reporting(world, database)):
            with login as connection:
                assert is_refused(connection, "SELECT * FROM s_acme.notes")


async def test_a_pooled_customer_reads_its_own_rows_where_the_migration_says_so(
    world: TenantWorld, tmp_path: Path
) -> None:
    tenants = {name: await world.provision(name, isolation="Pooled") for name in ("acme", "beta")}
    secret = await world.secret("acme-database")
    with tenant_history(write_history(tmp_path)):
        run = await world.migrate("expand", to=EXPAND, phase="expand")
        assert run["status"]["phase"] == "Succeeded", run["status"]
        for name, tenant in tenants.items():
            row = f"gen_random_uuid(), '{tenant['status']['id']}', '{name}@example.com'"
            world.execute(f"INSERT INTO tenantry_pool.users (id, tenant_id, email) VALUES ({row})")
        with world.login(secret) as connection:
            assert connection.execute("SELECT email FROM users").fetchall() == [("acme@example.com",)]
            assert is_refused(connection, "DELETE FROM users")
            # Its migration names no customers, and by default they hold nothing.
            assert is_refused(connection, "SELECT * FROM notes")


async def test_what_a_hand_gives_or_takes_is_found_and_put_right(world: TenantWorld) -> None:
    for name in ("beta", "acme"):
        await world.provision(name, database=READS)
    as_owner(world, await world.secret("acme-database"), *THINGS)
    lend(world)
    await world.settle()
    before = [*world.fetch(EVERYTHING), *world.fetch(ON_TABLES)]
    for name, statements in EDITS.items():
        world.execute(*statements)
        assert [*world.fetch(EVERYTHING), *world.fetch(ON_TABLES)] != before, name
        assert "acme" in await world.sweep(), name
        lost = [] if name != "it is dropped" else [one for one in before if REPORTING.user in one[1]]
        after = [*world.fetch(EVERYTHING), *world.fetch(ON_TABLES)]
        assert after == [one for one in before if one not in lost], name
        assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned"), name
        await world.settle()


async def test_a_grant_to_a_neighbour_breaks_isolation_where_it_is_only_reported(world: TenantWorld) -> None:
    for name in ("beta", "acme"):
        await world.provision(name, database=READS, driftPolicy="Report")
    lend(world)
    await world.settle()
    # To whom an administrator lent it is no way from one tenant to another.
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    assert world.condition(await world.tenant("acme"), "IsolationVerified") == ("True", "Verified")
    world.execute(BY_OPERATOR, "GRANT t_acme_ro TO t_beta_login_a")
    assert "acme" in await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "DriftBreaksIsolation")
    assert world.condition(tenant, "IsolationVerified") == ("False", "IsolationBroken")
    assert "t_beta_login_a is a member of t_acme_ro" in world.message(tenant)


async def test_a_role_that_nobody_asked_for_goes_or_is_told_and_keeps_nothing_else(world: TenantWorld) -> None:
    await world.provision("acme")
    before = world.fetch(EVERYTHING)
    await world.settle()
    world.execute(BY_OPERATOR, "CREATE ROLE t_acme_ro", "RESET ROLE", "GRANT USAGE ON SCHEMA t_acme TO t_acme_ro")
    assert "acme" in await world.sweep()
    assert world.fetch(EVERYTHING) == before
    await world.settle()
    # Since Postgres 16 it is not ours to drop when a superuser made it.
    world.execute("CREATE ROLE t_acme_ro", "REVOKE USAGE ON SCHEMA t_acme FROM t_acme_app")
    assert "acme" in await world.sweep()
    tenant = await world.tenant("acme")
    assert [fact for fact in world.fetch(EVERYTHING) if "t_acme_ro" not in fact[1]] == before
    if int(world.postgres.version().partition(".")[0]) >= 16:
        assert world.condition(tenant, "Ready") == ("False", "PrivilegesMissing")
        assert "t_acme_ro" in world.message(tenant)
    else:
        assert world.condition(tenant, "Ready") == ("True", "Provisioned")


@pytest.mark.parametrize("isolation", DATABASES)
async def test_it_follows_the_tenants_life(world: TenantWorld, isolation: str) -> None:
    database = DATABASES[isolation]
    spec: dict[str, Any] = {"isolation": isolation, "database": READS}
    await world.provision("acme", **spec)
    as_owner(world, await world.secret("acme-database"), *THINGS)
    lend(world)
    connection = reporting(world, database)
    read = "SELECT count(*) FROM t_acme.things"
    for _ in range(2):
        connection.execute(read, prepare=True)
    for lifecycle in ("Suspended", "Archived"):
        await world.apply_tenant("acme", **spec, lifecycle=lifecycle)
        await world.reconcile("acme")
        with pytest.raises(InsufficientPrivilege):
            connection.execute(read, prepare=True)
    await world.provision("acme", **spec, lifecycle="Active")
    assert connection.execute(read, prepare=True).fetchone() == (1,)
    # Rotation is none of its business.
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {"tenantry.dev/rotate": "now"}}})
    await world.reconcile("acme")
    assert connection.execute(read, prepare=True).fetchone() == (1,)
    await world.leave("acme", "Retain")
    assert "t_acme_ro" in world.names_on_server("acme")
    with pytest.raises(InsufficientPrivilege):
        connection.execute(read, prepare=True)
    await world.provision("acme", **spec)
    assert connection.execute(read, prepare=True).fetchone() == (1,)
    await world.apply_tenant("acme", isolation=isolation, database={"readOnlyRole": "Disabled"})
    world.counted.clear()
    await world.reconcile("acme")
    # The status, and the Event.
    assert len(world.writes()) == 2
    assert "t_acme_ro" not in world.names_on_server("acme")
    [told] = [note for reason, note in await world.events("acme") if reason == "Updated"][-1:]
    assert f"was lent to {REPORTING.user}" in told
    assert is_refused(connection, read)
    connection.close()
    await world.settle()
    await world.provision("acme", **spec)
    await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == set()
