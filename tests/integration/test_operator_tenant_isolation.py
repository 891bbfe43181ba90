"""One tenant's login and owner reach nothing of another tenant, nothing of the services, nothing of the server."""

from collections.abc import Iterable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenantry_testing.escapes import FURNISHED, MINE, OTHERS
from tenantry_testing.escapes_apart import MODES, WHO, attempts, doors
from tenantry_testing.holes import taken_back
from tenantry_testing.pool_world import add_user
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

REFUSED = (psycopg.errors.InsufficientPrivilege,)
NAMED = (("False", "PrivilegesMissing"), ("False", "IsolationBroken"))


def seen(world: TenantWorld) -> float:
    """Count what the operator did about what somebody changed by hand, and the ways that it saw."""
    counted = [one for family in world.metrics.registry.collect() for one in family.samples]
    told = ("tenantry_actions_total", "tenantry_drift_found_total", "tenantry_isolation_holes_total")
    return sum(one.value for one in counted if one.name in told)


async def two_tenants(world: TenantWorld, isolation: str = "Schema") -> dict[str, str]:
    """Provision both; beta has something of each kind. Return acme's Secret."""
    more = {} if isolation == "Pooled" else {"database": {"readOnlyRole": "Enabled"}}
    for name in (MINE, OTHERS):
        await world.provision(name, isolation=isolation, **more)
    if isolation == "Pooled":
        for name in (MINE, OTHERS):
            add_user(world, (await world.tenant(name))["status"]["id"], f"ada@{name}")
        return await world.secret("acme-database")
    with world.login(await world.secret("beta-database")) as connection:
        for statement in FURNISHED:
            connection.execute(statement)
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


def reached(
    world: TenantWorld, secret: dict[str, str], attempts: Iterable[str], *, isolation: str = "Schema"
) -> list[tuple[str, str]]:
    """Return what gets through, as each role that the tenant has; each attempt is undone."""
    with world.login(secret) as connection:
        return [
            (role, one) for role in WHO[isolation] for one in attempts if not is_refused(connection, one, role=role)
        ]


def let_in(world: TenantWorld, secret: dict[str, str], databases: Iterable[str]) -> list[str]:
    """Return the databases that let the login in."""
    return [one for one in databases if _lets_in(world, secret, one)]


def _lets_in(world: TenantWorld, secret: dict[str, str], database: str) -> bool:
    try:
        world.login({**secret, "database": database}).close()
    except psycopg.OperationalError as error:
        if "permission denied for database" in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize("isolation", MODES)
async def test_a_tenant_reaches_nothing_of_another(world: TenantWorld, isolation: str) -> None:
    secret = await two_tenants(world, isolation)
    tried = attempts(isolation)
    assert reached(world, secret, tried, isolation=isolation) == []
    assert let_in(world, secret, doors(isolation)) == []
    assert len(tried) >= 30


@pytest.mark.parametrize("isolation", MODES)
async def test_each_guard_is_what_refuses_and_its_removal_is_noticed(world: TenantWorld, isolation: str) -> None:
    """Without its guard each attempt gets through, so none of them is refused for another reason."""
    secret = await two_tenants(world, isolation)
    await world.settle()
    for guard in MODES[isolation]:
        noticed = seen(world)
        needless = guard.until <= int(world.postgres.version().partition(".")[0])
        try:
            world.execute(*guard.removed, database=guard.database)
        except psycopg.errors.InvalidGrantOperation:
            assert needless, guard
            continue
        # A COPY that is let through waits for its data to be read.
        tried = [one for one in guard.attempts if not one.startswith("COPY t_")]
        got_through = {one for _, one in reached(world, secret, tried, isolation=isolation)}
        wanted = set() if needless else {*tried}
        assert got_through == wanted, f"refused without its guard {guard}: {wanted - got_through}"
        assert let_in(world, secret, guard.connects) == [*guard.connects]
        await world.reconcile_server()
        for _ in range(3):
            await world.sweep()
        assert seen(world) > noticed, guard
        closed = guard.closed or taken_back(guard.removed, world.postgres.version())
        if closed:
            tenant = await world.tenant(MINE)
            assert world.condition(tenant, "IsolationVerified") == ("False", "IsolationBroken"), guard
            assert world.condition(tenant, "Ready") in NAMED, guard
            world.execute(*closed, database=guard.database)
            await world.settle()
        tenant = await world.tenant(MINE)
        assert reached(world, secret, guard.attempts, isolation=isolation) == [], guard
        assert let_in(world, secret, guard.connects) == []
        assert world.condition(tenant, "IsolationVerified") == ("True", "Verified"), (guard, tenant["status"])
        assert world.condition(tenant, "Ready") == ("True", "Provisioned"), (guard, tenant["status"])


async def test_schema_and_table_are_two_walls(world: TenantWorld) -> None:
    secret = await two_tenants(world)
    reading = ["SELECT * FROM t_beta.things", "INSERT INTO t_beta.things VALUES (2)"]
    world.execute("GRANT ALL ON t_beta.things TO PUBLIC")
    assert reached(world, secret, reading) == []
    world.execute("REVOKE ALL ON t_beta.things FROM PUBLIC", "GRANT USAGE ON SCHEMA t_beta TO PUBLIC")
    assert reached(world, secret, reading) == []


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
        tried = (*SERVICE_ATTEMPTS[1:5], "TRUNCATE s_acme.users", "DROP TABLE s_acme.users")
        assert [one for one in tried if not is_refused(connection, one, role="s_acme_accounts")] == []


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
    # What a superuser gave is his to take back, since Postgres 16.
    given = " ON " not in breach
    world.execute(f"SET ROLE {world.operator.user}" if given else "SELECT 1", *breach.split("; "))
    assert await world.sweep()
    reads = "SELECT has_table_privilege('t_beta_login_a', 's_acme.users', 'SELECT')"
    owns = "SELECT pg_has_role('t_beta_login_a', 't_acme_owner', 'MEMBER')"
    assert world.fetch(f"{reads} UNION ALL {owns}") == [(False,), (False,)]
