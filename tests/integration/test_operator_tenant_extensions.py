"""Extensions that Tenants ask for, on a real server: made by an operator that is no superuser, or said why not."""

from typing import Any, Final

import pytest
from psycopg.errors import InsufficientPrivilege

from tenantry_testing.hand_edits import BY_OPERATOR
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

OWN: Final = "t_acme"
THERE: Final = """
SELECT e.extname::text, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql' ORDER BY 1
"""
SCHEMA: Final = """
SELECT pg_get_userbyid(nspowner)::text, ARRAY(SELECT a::text FROM unnest(nspacl) a ORDER BY 1)::text[]
FROM pg_namespace WHERE nspname = 'extensions'
"""


def asking(*names: str, **spec: Any) -> dict[str, Any]:
    return {"database": {"extensions": [{"name": name} for name in names] or None}, **spec}


def there(world: TenantWorld, database: str = "app") -> list[str]:
    found = world.fetch(THERE, database=database)
    assert {schema for _, schema in found} <= {"extensions"}
    return [name for name, _ in found]


async def ask(world: TenantWorld, *names: str, **spec: Any) -> tuple[tuple[str, str] | None, str]:
    """Change what acme asks for; return its Ready and the message."""
    await world.apply_tenant("acme", **asking(*names, **spec))
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    return world.condition(tenant, "Ready"), world.message(tenant)


async def test_what_is_asked_for_is_made_once_for_all_and_kept(world: TenantWorld) -> None:
    names = ("acme", "beta", "gamma")
    for name in names:
        await world.apply_tenant(name, **asking(*(("pgcrypto", "citext") if name != "gamma" else ())))
    await world.reconcile_at_once(names)
    for name in names:
        assert world.condition(await world.tenant(name), "Ready") == ("True", "Provisioned")
    assert (await world.tenant("acme"))["status"]["effective"]["extensions"] == ["citext", "pgcrypto"]
    assert there(world) == ["citext", "pgcrypto"]
    assert world.fetch(SCHEMA) == [("tenantry_owner", ["=U/tenantry_owner", "tenantry_owner=UC/tenantry_owner"])]
    with world.login(await world.secret("acme-database")) as connection:
        assert connection.execute("SELECT extensions.digest('a', 'md5')").fetchone()
        with pytest.raises(InsufficientPrivilege):
            connection.execute("CREATE FUNCTION extensions.digest(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things (name extensions.citext)")
        with pytest.raises(InsufficientPrivilege):
            connection.execute("CREATE TABLE extensions.things (id int)")
    await world.settle()
    # A hand drops one: who asked for it finds out, and who did not does not.
    world.execute("DROP EXTENSION pgcrypto")
    assert await world.sweep() == {"acme", "beta"}
    assert there(world) == ["citext", "pgcrypto"]
    told = [*await world.events("acme"), *await world.events("beta")]
    assert [note.partition(":")[0] for reason, note in told if reason == "Repaired"] == ["CreateExtension"]
    await world.settle()
    # Of another one nobody is told.
    world.execute("CREATE EXTENSION hstore SCHEMA extensions")
    assert await world.swept() == set()
    assert world.condition(await world.tenant("acme"), "IsolationVerified") == ("True", "Verified")
    # What is shared stays, whoever leaves.
    assert (await ask(world))[0] == ("True", "Provisioned")
    await world.leave("acme", "Delete")
    await world.leave("beta", "Delete")
    assert there(world) == ["citext", "hstore", "pgcrypto"]


async def test_the_schema_of_extensions_lets_nobody_lie_in_wait(world: TenantWorld) -> None:
    await world.provision("acme", **asking("citext"))
    await world.settle()
    before = world.fetch(SCHEMA)
    world.execute(BY_OPERATOR, "SET ROLE tenantry_owner", "GRANT CREATE ON SCHEMA extensions TO PUBLIC")
    assert await world.sweep() == {"acme"}
    assert world.fetch(SCHEMA) == before
    await world.settle()
    world.execute("DROP SCHEMA extensions CASCADE", "CREATE ROLE t_stranger", "CREATE SCHEMA extensions")
    world.execute("ALTER SCHEMA extensions OWNER TO t_stranger", "GRANT USAGE ON SCHEMA extensions TO PUBLIC")
    assert await world.sweep() == {"acme"}
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "ExtensionUnavailable")
    assert "ALTER SCHEMA extensions OWNER TO tenantry_owner" in world.message(tenant)
    assert there(world) == []
    world.execute("ALTER SCHEMA extensions OWNER TO tenantry_owner")
    assert await world.sweep() == {"acme"}
    assert there(world) == ["citext"]
    await world.settle()


PLANTED: Final = (
    "SET SESSION AUTHORIZATION planter",
    "CREATE FUNCTION extensions.planted(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OPERATOR extensions.~~~ (RIGHTARG = int, FUNCTION = extensions.planted)",
    "CREATE TABLE extensions.things (id int)",
    "CREATE TYPE extensions.pair AS (a int, b int)",
)


async def test_nothing_is_made_beside_what_a_stranger_put_there(world: TenantWorld) -> None:
    await world.provision("acme")
    world.execute("CREATE ROLE planter LOGIN", "CREATE SCHEMA extensions AUTHORIZATION planter")
    with world.postgres.connect("app") as connection:
        for statement in PLANTED:
            connection.execute(statement)
    world.execute("GRANT USAGE ON SCHEMA extensions TO PUBLIC", "REVOKE CREATE ON SCHEMA extensions FROM planter")
    ready, said = await ask(world, "citext")
    assert ready == ("False", "ExtensionUnavailable")
    for one in ("function extensions.planted(integer)", "operator extensions.~~~", "table extensions.things", "type"):
        assert one in said
    with world.postgres.connect("app") as connection:
        connection.execute("DROP TABLE extensions.things")
        connection.execute("DROP TYPE extensions.pair")
        connection.execute("DROP FUNCTION extensions.planted(int) CASCADE")
    # He took CREATE from himself, and may give it back at any time.
    await world.settle()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "ExtensionUnavailable")
    assert "belongs to planter" in world.message(tenant)
    assert there(world) == []
    # Ours is shut for him first, and what he put there until then is seen.
    world.execute("ALTER SCHEMA extensions OWNER TO tenantry_owner", "GRANT CREATE ON SCHEMA extensions TO planter")
    with world.postgres.connect("app") as connection:
        for statement in PLANTED[:2]:
            connection.execute(statement)
    await world.settle()
    tenant = await world.tenant("acme")
    assert "function extensions.planted(integer) of planter" in world.message(tenant)
    assert there(world) == []
    assert "planter" not in str(world.fetch(SCHEMA))
    world.execute("DROP FUNCTION extensions.planted(int)")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    assert there(world) == ["citext"]


async def test_what_is_not_ours_to_make_is_said_once_and_is_no_loop(world: TenantWorld) -> None:
    await world.provision("acme")
    ready, said = await ask(world, "nowhere", "dblink", "citext", settings=None)
    assert ready == ("False", "ExtensionUnavailable")
    assert "the server has no extension nowhere" in said
    assert there(world) == ["citext"]
    assert (await world.tenant("acme"))["status"]["binding"]["name"] == "acme-database"
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "ExtensionUnavailable")
    await world.settle()
    assert await world.swept() == set()
    ready, said = await ask(world, "dblink", "citext")
    # The administrator does what the message says.
    remedy = said.partition("in database app, ")[2]
    with world.postgres.connect("app") as connection:
        for statement in remedy.split(";"):
            connection.execute(statement)
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    assert there(world) == ["citext", "dblink"]


async def test_ones_own_database_has_what_is_asked_for_and_no_more(world: TenantWorld) -> None:
    spec = {"isolation": "Database"}
    world.counted.clear()
    await world.provision("acme", **asking("pgcrypto", "citext"), **spec)
    assert there(world, OWN) == ["citext", "pgcrypto"]
    assert there(world) == []
    secret = await world.secret("acme-database")
    with world.login(secret) as connection:
        assert connection.execute("SELECT extensions.digest('a', 'md5')").fetchone()
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things (name extensions.citext)")
    await world.settle()
    world.execute("DROP EXTENSION pgcrypto", database=OWN)
    assert await world.sweep() == {"acme"}
    assert there(world, OWN) == ["citext", "pgcrypto"]
    # An administrator makes one as we would, and it stays.
    world.execute(BY_OPERATOR, "CREATE EXTENSION hstore SCHEMA extensions", database=OWN)
    ready, said = await ask(world, **spec)
    assert ready == ("False", "ExtensionUnavailable")
    assert "citext is still used" in said
    assert there(world, OWN) == ["citext", "hstore"]
    with world.login(secret) as connection:
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("DROP TABLE things")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    assert there(world, OWN) == ["hstore"]
    # The schema goes with the last thing in it, and comes back.
    assert world.fetch(SCHEMA, database=OWN)
    world.execute("DROP EXTENSION hstore", "CREATE TABLE extensions.mine (id int)", database=OWN)
    await world.settle()
    assert world.fetch(SCHEMA, database=OWN)
    world.execute("DROP TABLE extensions.mine", database=OWN)
    await world.settle()
    assert world.fetch(SCHEMA, database=OWN) == []
    await ask(world, "citext", **spec)
    await world.settle()
    assert there(world, OWN) == ["citext"]
    await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == set()


async def test_a_pooled_customer_uses_them_too(world: TenantWorld) -> None:
    await world.provision("acme", isolation="Pooled", **asking("pgcrypto"))
    secret = await world.secret("acme-database")
    with world.postgres.connect("app", Login(secret["username"], secret["password"])) as connection:
        assert connection.execute("SELECT extensions.digest('a', 'md5')").fetchone()
    await world.settle()
    world.execute("DROP EXTENSION pgcrypto")
    assert await world.sweep() == {"acme"}
    assert there(world) == ["pgcrypto"]
