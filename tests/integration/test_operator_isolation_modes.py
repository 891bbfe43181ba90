"""IsolationVerified of tenants that have a database of their own, or live in the pool."""

import pytest

from tenantry_operator.model.exposure import Trial
from tenantry_operator.model.isolation import Isolation, layout_of
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.trial import try_log_in
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
    return await try_log_in(world.servers, address, layout, credentials=secret, registry="tenantry")


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


@pytest.mark.parametrize("database", ["app", "t_beta"])
async def test_a_login_that_connects_elsewhere_is_told(world: TenantWorld, database: str) -> None:
    await two_tenants(world, Isolation.DATABASE)
    world.execute(f"GRANT CONNECT ON DATABASE {database} TO t_acme_login_a")
    assert f"CONNECT to database {database}" in (await trial(world, Isolation.DATABASE)).reached
    world.execute(f"REVOKE CONNECT ON DATABASE {database} FROM t_acme_login_a")
    assert await trial(world, Isolation.DATABASE) == Trial()


@pytest.mark.parametrize(
    ("opened", "closed", "words"),
    [
        (
            ("CREATE FUNCTION s.mine() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",),
            "ALTER FUNCTION s.mine() SECURITY INVOKER",
            "every login that reaches the tenant's database may call s.mine()",
        ),
        (
            ("CREATE VIEW s.mine AS SELECT * FROM s_acme.users", "GRANT SELECT ON s.mine TO PUBLIC"),
            "DROP VIEW s.mine",
            "s.mine shows every login that reaches the tenant's database what is in schema s_acme",
        ),
        (
            ("CREATE VIEW t_acme.mine AS SELECT * FROM s_acme.users",),
            "DROP VIEW t_acme.mine",
            "view t_acme.mine belongs to postgres",
        ),
    ],
)
async def test_what_is_open_in_a_database_of_its_own_is_named(
    world: TenantWorld, opened: tuple[str, ...], closed: str, words: str
) -> None:
    await two_tenants(world, Isolation.DATABASE)
    world.execute("CREATE SCHEMA s", "GRANT USAGE ON SCHEMA s TO PUBLIC", *opened, database="t_acme")
    await world.settle()
    verdict, message = await said(world)
    assert verdict == BROKEN
    assert words in message
    assert (await said(world, "beta"))[0] == HELD
    world.execute(closed, database="t_acme")
    await world.settle()
    assert (await said(world))[0] == HELD


@pytest.mark.parametrize(
    ("opened", "closed", "words"),
    [
        (
            "CREATE FUNCTION tenantry_pool.mine() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT count(*) FROM tenantry_pool.users'",
            "DROP FUNCTION tenantry_pool.mine()",
            "function tenantry_pool.mine() is none of the pool's",
        ),
        (
            "CREATE VIEW tenantry_pool.mine AS SELECT * FROM tenantry_pool.users",
            "DROP VIEW tenantry_pool.mine",
            "view tenantry_pool.mine is none of the pool's",
        ),
        (
            "GRANT pg_read_all_stats TO tenantry_pool_customers",
            "REVOKE pg_read_all_stats FROM tenantry_pool_customers",
            "every pooled tenant's login belongs to pg_read_all_stats",
        ),
    ],
)
async def test_what_is_open_to_a_pool_is_named_for_its_tenants_alone(
    world: TenantWorld, opened: str, closed: str, words: str
) -> None:
    await two_tenants(world, Isolation.POOLED)
    await world.provision("gamma")
    await world.settle()
    world.execute(opened)
    try:
        await world.sweep()
        for name in ("acme", "beta"):
            verdict, message = await said(world, name)
            assert verdict == BROKEN
            assert words in message
        assert (await said(world, "gamma"))[0] == HELD
    finally:
        world.execute(closed)
    await world.settle()
    assert (await said(world))[0] == HELD


@pytest.mark.parametrize(
    "opened",
    [
        "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON tenantry_pool.users USING (true)",
        "ALTER ROLE tenantry_pool_customers CREATEROLE",
        "GRANT SELECT ON tenantry.pooled TO PUBLIC",
        "GRANT tenantry_pool_accounts TO t_acme_login_a",
    ],
)
async def test_a_guard_of_the_pool_that_is_down_is_told_until_it_is_up(world: TenantWorld, opened: str) -> None:
    await two_tenants(world, Isolation.POOLED)
    world.execute(opened)
    await world.sweep()
    assert (await said(world))[0] == BROKEN
    await world.reconcile_server()
    await world.settle()
    assert (await said(world))[0] == HELD
    assert await trial(world, Isolation.POOLED) == Trial()


@pytest.mark.parametrize(
    "opened",
    [
        "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON tenantry_pool.users USING (true)",
    ],
)
async def test_a_log_in_sees_that_the_pool_is_not_divided(world: TenantWorld, opened: str) -> None:
    await two_tenants(world, Isolation.POOLED)
    world.execute(opened)
    assert any("tenantry_pool.users" in one for one in (await trial(world, Isolation.POOLED)).reached)
    await world.reconcile_server()
    assert await trial(world, Isolation.POOLED) == Trial()
