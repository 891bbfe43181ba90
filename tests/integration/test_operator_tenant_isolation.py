"""One tenant's login and owner reach nothing of another tenant, nothing of the services, nothing of the server."""

from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

REFUSED = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.DependentObjectsStillExist,
    psycopg.errors.ObjectNotInPrerequisiteState,
)

ATTEMPTS = (
    "SELECT * FROM t_beta.things",
    "INSERT INTO t_beta.things VALUES (2)",
    "UPDATE t_beta.things SET id = 3",
    "DELETE FROM t_beta.things",
    "TRUNCATE t_beta.things",
    "DROP TABLE t_beta.things",
    "ALTER TABLE t_beta.things ADD COLUMN more int",
    "LOCK TABLE t_beta.things",
    "COPY t_beta.things TO STDOUT",
    "CREATE INDEX ON t_beta.things (id)",
    "CREATE TABLE t_beta.mine (id int)",
    "CREATE VIEW mine AS SELECT * FROM t_beta.things",
    "CREATE TABLE mine (id int REFERENCES t_beta.things)",
    "SELECT nextval('t_beta.numbers')",
    "SELECT t_beta.secret()",
    "SELECT NULL::t_beta.mood",
    "COMMENT ON SCHEMA t_beta IS 'mine'",
    "DROP SCHEMA t_beta CASCADE",
    "ALTER SCHEMA t_beta RENAME TO mine",
    "GRANT ALL ON SCHEMA t_beta TO PUBLIC",
    "SELECT * FROM s_beta.users",
    "SELECT * FROM s_beta.schema_version",
    "INSERT INTO s_beta.users (id, tenant_id, email) VALUES (gen_random_uuid(), gen_random_uuid(), 'x@y')",
    "SELECT * FROM s_acme.users",
    "SELECT * FROM s_acme.schema_version",
    "CREATE TABLE s_acme.mine (id int)",
    "SET ROLE t_beta_owner",
    "SET ROLE t_beta_app",
    "SET ROLE t_beta_ro",
    "SET ROLE t_beta_migrator",
    "SET ROLE t_beta_login_a",
    "SET ROLE s_beta_accounts",
    "SET ROLE s_acme_accounts",
    "SET ROLE tenantry_owner",
    "SET ROLE tenantry_svc_accounts_1",
    "SET ROLE operator_login",
    "SET SESSION AUTHORIZATION t_beta_login_a",
    "GRANT t_beta_app TO t_acme_login_a",
    "GRANT t_acme_owner TO t_beta_login_a",
    "ALTER ROLE t_beta_login_a PASSWORD 'x'",
    "ALTER ROLE t_beta_login_a IN DATABASE app SET search_path = t_acme",
    "ALTER ROLE t_acme_login_a SUPERUSER",
    "ALTER ROLE t_acme_login_a CONNECTION LIMIT -1",
    "CREATE ROLE mine",
    "DROP ROLE t_beta_login_a",
    "COMMENT ON ROLE t_acme_owner IS 'mine'",
    "COMMENT ON ROLE t_beta_owner IS 'mine'",
    "ALTER DEFAULT PRIVILEGES FOR ROLE t_beta_owner GRANT ALL ON TABLES TO t_acme_app",
    "REASSIGN OWNED BY t_beta_owner TO t_acme_owner",
    "DROP OWNED BY t_beta_owner",
    "CREATE SCHEMA mine",
    "CREATE TABLE public.mine (id int)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE EXTENSION pg_stat_statements",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "ALTER DATABASE app SET statement_timeout = 0",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT rolpassword FROM pg_authid",
    "SELECT lo_get((SELECT oid FROM pg_largeobject_metadata LIMIT 1))",
)


async def two_tenants(world: TenantWorld) -> dict[str, str]:
    """Provision both; beta has something of each kind. Return acme's Secret."""
    for name in ("acme", "beta"):
        await world.provision(name, database={"readOnlyRole": "Enabled"})
    with world.login(await world.secret("beta-database")) as connection:
        connection.execute("SELECT lo_create(0)")
        connection.execute("SET ROLE t_beta_owner")
        connection.execute("CREATE TABLE things AS SELECT 1 AS id")
        connection.execute("ALTER TABLE things ADD PRIMARY KEY (id)")
        connection.execute("CREATE SEQUENCE numbers")
        connection.execute("CREATE TYPE mood AS ENUM ('good')")
        connection.execute("CREATE FUNCTION secret() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    return await world.secret("acme-database")


def is_refused(connection: psycopg.Connection[Any], statement: str, *, role: str = "none") -> bool:
    """Try it in a transaction of its own; an error of another kind than a refusal is the test's mistake."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)) if role != "none" else "")
            connection.execute(statement)  # type: ignore[call-overload]  # text of the tests
    except REFUSED:
        return True
    return False


@pytest.mark.parametrize("role", ["t_acme_login_a", "t_acme_owner"])
async def test_a_tenant_reaches_nothing_of_another(world: TenantWorld, role: str) -> None:
    secret = await two_tenants(world)
    with world.login(secret) as connection:
        reached = [attempt for attempt in ATTEMPTS if not is_refused(connection, attempt, role=role)]
    assert reached == []
    assert len(ATTEMPTS) >= 30


async def test_the_attempts_succeed_where_the_wall_is_down(world: TenantWorld) -> None:
    """The same attempts, made by one who may: so that none of them fails for another reason than the wall."""
    secret = await two_tenants(world)
    world.execute(
        "GRANT t_acme_owner, t_beta_owner, tenantry_owner TO t_acme_login_a",
        "GRANT CREATE ON DATABASE app TO t_acme_login_a",
    )
    with world.login(secret) as connection:
        # A COPY that is allowed waits for its data to be read.
        reading = [one for one in ATTEMPTS[:22] if "COPY" not in one]
        refused = [attempt for attempt in reading if is_refused(connection, attempt)]
    assert refused == []


async def test_a_login_does_not_connect_to_the_registry(world: TenantWorld) -> None:
    secret = await two_tenants(world)
    with pytest.raises(psycopg.OperationalError):
        world.postgres.connect("tenantry", Login(secret["username"], secret["password"]))


async def test_a_role_that_is_not_a_tenants_cannot_connect(world: TenantWorld) -> None:
    await world.provision("acme")
    world.execute("CREATE ROLE s_stranger LOGIN PASSWORD 'x'")
    for database in ("app", "tenantry"):
        with pytest.raises(psycopg.OperationalError):
            world.postgres.connect(database, Login("s_stranger", "x"))


async def service(world: TenantWorld, database: str = "app") -> psycopg.Connection[Any]:
    secret = await world.secret("tenantry-accounts-database-primary")
    return world.postgres.connect(database, Login(secret["username"], secret["password"]))


SERVICE_ATTEMPTS = (
    "SELECT * FROM s_acme.users",
    "SELECT * FROM s_beta.users",
    "SELECT * FROM t_beta.things",
    "SELECT * FROM s_acme.schema_version",
    "CREATE TABLE s_acme.mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE TEMPORARY TABLE mine (id int)",
    "SET ROLE t_beta_owner",
    "SET ROLE tenantry_owner",
    "GRANT s_acme_accounts TO t_beta_app",
)


async def test_a_service_sees_nothing_without_a_role(world: TenantWorld) -> None:
    await two_tenants(world)
    with await service(world) as connection:
        assert [one for one in SERVICE_ATTEMPTS if not is_refused(connection, one)] == []


async def test_a_service_in_a_tenants_role_sees_that_tenant_only(world: TenantWorld) -> None:
    await two_tenants(world)
    with await service(world) as connection:
        connection.execute("SET ROLE s_acme_accounts")
        connection.execute(
            "INSERT INTO s_acme.users (id, tenant_id, email) SELECT id, id, 'a@b' FROM gen_random_uuid() id"
        )
        assert connection.execute("SELECT email FROM s_acme.users").fetchall() == [("a@b",)]
        attempts = (*SERVICE_ATTEMPTS[1:5], "TRUNCATE s_acme.users", "DROP TABLE s_acme.users")
        assert [one for one in attempts if not is_refused(connection, one, role="s_acme_accounts")] == []


async def test_a_service_reads_the_registry_and_writes_nothing_in_it(world: TenantWorld) -> None:
    await world.provision("acme")
    with await service(world, "tenantry") as connection:
        assert connection.execute("SELECT name FROM tenantry.tenants").fetchall() == [("acme",)]
        for statement in (
            "UPDATE tenantry.tenants SET schema = 's_beta'",
            "DELETE FROM tenantry.api_keys",
            "SELECT * FROM tenantry.released",
            "CREATE TABLE tenantry.mine (id int)",
        ):
            assert is_refused(connection, statement), statement


@pytest.mark.parametrize(
    "breach",
    [
        "GRANT USAGE ON SCHEMA s_acme TO t_beta_app; GRANT SELECT ON s_acme.users TO t_beta_app",
        "GRANT t_acme_owner TO t_beta_login_a",
        "GRANT s_acme_accounts TO t_beta_login_a",
    ],
)
async def test_a_breach_is_closed_by_the_sweep(world: TenantWorld, breach: str) -> None:
    await two_tenants(world)
    await world.settle()
    world.execute(*breach.split("; "))
    assert await world.sweep()
    reads = "SELECT has_table_privilege('t_beta_login_a', 's_acme.users', 'SELECT')"
    owns = "SELECT pg_has_role('t_beta_login_a', 't_acme_owner', 'MEMBER')"
    assert world.fetch(f"{reads} UNION ALL {owns}") == [(False,), (False,)]
