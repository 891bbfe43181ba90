"""IsolationVerified of tenants that have a database of their own, or live in the pool."""

import pytest

from tenantry_operator.model.exposure import Trial
from tenantry_operator.model.isolation import Isolation, layout_of
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.trial import try_log_in
from tenantry_testing.holes import Opened, taken_back
from tenantry_testing.pool_world import add_user
from tenantry_testing.tenant_world import TenantWorld

HELD = ("True", "Verified")
BROKEN = ("False", "IsolationBroken")
APART = [Isolation.DATABASE, Isolation.POOLED]


async def two_tenants(world: TenantWorld, isolation: Isolation) -> None:
    for name in ("acme", "beta"):
        tenant = await world.provision(name, isolation=isolation.value)
        if isolation is Isolation.POOLED:
            add_user(world, tenant["status"]["id"], f"ada@{name}")
    await world.settle()


async def trial(world: TenantWorld, isolation: Isolation) -> Trial:
    address = await world.addresses.address("primary")
    secret = await world.secret("acme-database")
    layout = layout_of(TenantNames("acme"), isolation, server="primary", database=address.database)
    who = {"login": secret["username"], "password": secret["password"]}
    return await try_log_in(world.servers, address, layout, **who, registry="tenantry")


async def said(world: TenantWorld, name: str = "acme") -> tuple[tuple[str, str] | None, str]:
    tenant = await world.tenant(name)
    (message,) = [
        one.get("message", "") for one in tenant["status"]["conditions"] if one["type"] == "IsolationVerified"
    ]
    return world.condition(tenant, "IsolationVerified"), message


@pytest.mark.parametrize("isolation", APART)
async def test_nothing_of_our_own_is_a_way(world: TenantWorld, isolation: Isolation) -> None:
    await two_tenants(world, isolation)
    await world.provision("gamma")
    await world.settle()
    for name in ("acme", "beta", "gamma"):
        assert (await said(world, name))[0] == HELD, await said(world, name)
    assert await trial(world, isolation) == Trial()
    world.counted.clear()
    await world.settle()
    assert world.writes() == []


async def test_a_login_that_connects_elsewhere_is_told(world: TenantWorld) -> None:
    await two_tenants(world, Isolation.DATABASE)
    for database in ("app", "t_beta"):
        world.execute(f"GRANT CONNECT ON DATABASE {database} TO t_acme_login_a")
        assert f"CONNECT to database {database}" in (await trial(world, Isolation.DATABASE)).reached
        world.execute(f"REVOKE CONNECT ON DATABASE {database} FROM t_acme_login_a")
        assert await trial(world, Isolation.DATABASE) == Trial()


IN_OWN_DATABASE = (
    Opened(
        "a function runs with its owner's rights",
        ("CREATE FUNCTION s.mine() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",),
        "every login that reaches the tenant's database may call s.mine()",
        ("ALTER FUNCTION s.mine() SECURITY INVOKER",),
    ),
    Opened(
        "a view shows what is the services'",
        ("CREATE VIEW s.mine AS SELECT * FROM s_acme.users", "GRANT SELECT ON s.mine TO PUBLIC"),
        "s.mine shows every login that reaches the tenant's database what is in schema s_acme",
        ("DROP VIEW s.mine",),
    ),
    Opened(
        "a stranger's view is in the schema",
        ("CREATE VIEW t_acme.mine AS SELECT * FROM s_acme.users",),
        "view t_acme.mine belongs to postgres",
        ("DROP VIEW t_acme.mine",),
    ),
)


async def test_what_is_open_in_a_database_of_its_own_is_named(world: TenantWorld) -> None:
    await two_tenants(world, Isolation.DATABASE)
    world.execute("CREATE SCHEMA s", "GRANT USAGE ON SCHEMA s TO PUBLIC", database="t_acme")
    for hole in IN_OWN_DATABASE:
        world.execute(*hole.opened, database="t_acme")
        await world.settle()
        verdict, message = await said(world)
        assert verdict == BROKEN, hole
        assert hole.said in message
        assert (await said(world, "beta"))[0] == HELD, hole
        world.execute(*hole.closed, database="t_acme")
        await world.settle()
        assert (await said(world))[0] == HELD, hole


IN_POOL = (
    Opened(
        "a function runs with its owner's rights",
        (
            "CREATE FUNCTION tenantry_pool.mine() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT count(*) FROM tenantry_pool.users'",
        ),
        "function tenantry_pool.mine() is none of the pool's",
        ("DROP FUNCTION tenantry_pool.mine()",),
    ),
    Opened(
        "a stranger's view is in the pool",
        ("CREATE VIEW tenantry_pool.mine AS SELECT * FROM tenantry_pool.users",),
        "view tenantry_pool.mine is none of the pool's",
        ("DROP VIEW tenantry_pool.mine",),
    ),
    Opened(
        "the pool's customers belong to a role",
        ("GRANT pg_read_all_stats TO tenantry_pool_customers",),
        "every pooled tenant's login belongs to pg_read_all_stats",
        ("REVOKE pg_read_all_stats FROM tenantry_pool_customers",),
    ),
)


async def test_what_is_open_to_a_pool_is_named_for_its_tenants_alone(world: TenantWorld) -> None:
    await two_tenants(world, Isolation.POOLED)
    await world.provision("gamma")
    await world.settle()
    for hole in IN_POOL:
        world.execute(*hole.opened)
        try:
            await world.sweep()
            for name in ("acme", "beta"):
                verdict, message = await said(world, name)
                assert verdict == BROKEN, hole
                assert hole.said in message
            assert (await said(world, "gamma"))[0] == HELD, hole
        finally:
            world.execute(*hole.closed)
        await world.settle()
        assert (await said(world))[0] == HELD, hole


UNDIVIDED = (
    "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON tenantry_pool.users USING (true)",
)
GUARDS = (
    *UNDIVIDED,
    "ALTER ROLE tenantry_pool_customers CREATEROLE",
    "GRANT SELECT ON tenantry.pooled TO PUBLIC",
    "GRANT tenantry_pool_accounts TO t_acme_login_a",
)


async def test_a_guard_of_the_pool_that_is_down_is_told_until_it_is_up(world: TenantWorld) -> None:
    await two_tenants(world, Isolation.POOLED)
    for opened in GUARDS:
        world.execute(opened)
        if opened in UNDIVIDED:
            found = (await trial(world, Isolation.POOLED)).reached
            assert any("tenantry_pool.users" in one for one in found), opened
        await world.sweep()
        assert (await said(world))[0] == BROKEN, opened
        await world.reconcile_server()
        world.execute(*taken_back([opened], world.postgres.version()))
        await world.reconcile_server()
        await world.settle()
        assert (await said(world))[0] == HELD, opened
        assert await trial(world, Isolation.POOLED) == Trial(), opened
