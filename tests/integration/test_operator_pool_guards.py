"""The guards of the pool: what a hand takes away is put back, and what a tenant or a service tries is refused."""

import asyncio
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenantry_migrations import TENANT, move_statements
from tenantry_operator.model.pool import POOL_ROLES
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.pool_world import POOL_ROLE, pooled, seen_by, service_login
from tenantry_testing.tenant_world import TenantWorld

EDITS = (
    "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE tenantry_pool.users NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY pool_customers ON tenantry_pool.users",
    "DROP POLICY pool_accounts ON tenantry_pool.users",
    "DROP POLICY pool_owner ON tenantry_pool.users",
    "CREATE POLICY open ON tenantry_pool.users USING (true)",
    "ALTER POLICY pool_customers ON tenantry_pool.users USING (true)",
    "ALTER POLICY pool_accounts ON tenantry_pool.users TO PUBLIC",
    "ALTER POLICY pool_accounts ON tenantry_pool.users WITH CHECK (true)",
    "GRANT SELECT ON tenantry_pool.users TO PUBLIC",
    "GRANT INSERT ON tenantry_pool.users TO tenantry_pool_customers",
    "GRANT UPDATE (email) ON tenantry_pool.users TO tenantry_pool_customers",
    "REVOKE SELECT ON tenantry_pool.users FROM tenantry_pool_customers",
    "GRANT SELECT ON tenantry_pool.schema_version TO tenantry_pool_customers",
    "GRANT ALL ON tenantry.pooled TO PUBLIC",
    "GRANT CREATE ON SCHEMA tenantry_pool TO tenantry_pool_customers",
    "GRANT USAGE ON SCHEMA tenantry TO PUBLIC",
    "REVOKE USAGE ON SCHEMA tenantry FROM tenantry_pool_customers",
    "GRANT EXECUTE ON FUNCTION tenantry.chosen_tenant() TO PUBLIC",
    "REVOKE EXECUTE ON FUNCTION tenantry.tenant_of(name) FROM tenantry_pool_customers",
    "ALTER FUNCTION tenantry.tenant_of(name) RESET search_path",
    "ALTER FUNCTION tenantry.tenant_of(name) SECURITY INVOKER",
    "CREATE OR REPLACE FUNCTION tenantry.chosen_tenant() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
    "GRANT tenantry_pool_accounts TO t_beta_owner",
    "GRANT tenantry_pool_customers TO tenantry_svc_accounts_1",
    "REVOKE tenantry_pool_accounts FROM tenantry_svc_accounts_1",
    "ALTER ROLE tenantry_pool_accounts LOGIN",
)

MEMBERSHIPS = ("GRANT tenantry_pool", "REVOKE tenantry_pool")

DUMP = """
SELECT 'relation' AS kind, c.oid::regclass::text AS name, pg_get_userbyid(relowner)::text AS one,
    relrowsecurity::text AS two, relforcerowsecurity::text AS three
    FROM pg_class c WHERE relnamespace IN ('tenantry'::regnamespace, 'tenantry_pool'::regnamespace)
UNION ALL SELECT 'grant', kind || name, grantee::text, privilege_type, is_grantable::text FROM (
    SELECT 'relation ' AS kind, oid::regclass::text AS name, relowner AS owner, relacl AS acl FROM pg_class
        WHERE relnamespace IN ('tenantry'::regnamespace, 'tenantry_pool'::regnamespace)
    UNION ALL SELECT 'column ', attrelid::regclass || attname::text, 0, attacl FROM pg_attribute
    UNION ALL SELECT 'schema ', nspname, nspowner, nspacl FROM pg_namespace WHERE nspname ~ '^tenantry'
    UNION ALL SELECT 'function ', proname, proowner, proacl FROM pg_proc WHERE pronamespace = 'tenantry'::regnamespace
) AS held CROSS JOIN LATERAL aclexplode(acl) WHERE grantee <> owner OR kind = 'column '
UNION ALL SELECT 'policy', polname, polrelid::regclass::text || polroles::regrole[]::text,
    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy
UNION ALL SELECT 'function', proname, pg_get_functiondef(oid), '', '' FROM pg_proc
    WHERE pronamespace = 'tenantry'::regnamespace
UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text, '', '' FROM pg_auth_members
    WHERE roleid::regrole::text ~ 'pool' OR member::regrole::text ~ 'pool'
UNION ALL SELECT 'role', rolname, rolcanlogin::text, '', '' FROM pg_roles WHERE rolname ~ 'pool'
ORDER BY 1, 2, 3, 4
"""


async def test_a_guard_that_a_hand_takes_away_is_put_back_and_told(world: TenantWorld) -> None:
    await pooled(world, "acme", "beta")
    await world.reconcile_server()
    before = world.fetch(DUMP)
    assert before
    for edit in EDITS:
        told = len(await world.events("primary"))
        # Since Postgres 16 only a superuser takes a membership back that a superuser gave.
        given = edit.startswith(MEMBERSHIPS)
        world.execute(f"SET ROLE {world.operator.user}" if given else "SELECT 1", edit)
        await world.reconcile_server()
        # Whether a membership was given to a tenant's role is the Tenant's pass to see.
        await world.settle()
        assert world.fetch(DUMP) == before, edit
        assert (await world.events("primary"))[told:][0][0] == "Repaired", edit
    told = len(await world.events("primary"))
    await world.reconcile_server()
    assert len(await world.events("primary")) == told
    assert await seen_by(world, "acme") == ["ada@acme"]


async def test_a_hole_that_only_an_administrator_can_close_is_told_by_the_server(world: TenantWorld) -> None:
    await pooled(world, "acme")
    world.execute("CREATE ROLE stranger", "ALTER TABLE tenantry_pool.users OWNER TO postgres")
    await world.reconcile_server()
    server = await world.server()
    assert world.condition(server, "Ready") == ("False", "PrivilegesMissing")
    assert "tenantry_pool.users belongs to postgres" in world.message(server)
    world.execute("ALTER TABLE tenantry_pool.users OWNER TO tenantry_owner", "DROP ROLE stranger")
    await world.reconcile_server()
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")


SHIPPED = TENANT.head
HELD = "SELECT FROM pg_locks WHERE relation = 'pg_policy'::regclass AND NOT granted"


async def test_a_pool_that_is_moved_while_it_is_looked_at_is_not_put_back(world: TenantWorld, tmp_path: Path) -> None:
    """The version is read before the move and the guards after it: those of the new table look like a stranger's."""
    await pooled(world, "acme")
    with tenant_history(write_history(tmp_path)), world.administrator() as connection:
        await world.reconcile_server()
        told = await world.events("primary")
        await move_under_a_pass(world, connection)
        assert await world.events("primary") == told
        assert world.condition(await world.server(), "Ready") == ("True", "Connected")
        guarded = world.fetch(DUMP)
        assert ("policy", "pool_accounts") in {row[:2] for row in guarded if "notes" in str(row[2])}
        await world.reconcile_server()
        assert world.fetch(DUMP) == guarded
        assert await world.events("primary") == told


async def move_under_a_pass(world: TenantWorld, connection: psycopg.Connection[Any]) -> None:
    """Begin a pass over the server, and move the pool when the pass has read the version and waits for the rest."""
    with connection.transaction():
        connection.execute("LOCK TABLE pg_policy")
        passing = asyncio.create_task(world.reconcile_server(passes=1))
        for _ in range(600):
            if connection.execute(HELD).rowcount:
                break
            await asyncio.sleep(0.05)
        for statement in move_statements(SHIPPED, EXPAND, roles=POOL_ROLES):
            connection.execute(statement)
        assert not passing.done()
    await passing


async def test_a_membership_that_a_superuser_gave_is_taken_back_or_told(world: TenantWorld) -> None:
    await pooled(world, "acme")
    await world.reconcile_server()
    before = world.fetch(DUMP)
    world.execute("CREATE ROLE stranger", "GRANT tenantry_pool_accounts TO stranger")
    await world.reconcile_server()
    if int(world.postgres.version().partition(".")[0]) >= 16:
        for _ in range(2):
            server = await world.server()
            assert world.condition(server, "Ready") == ("False", "PrivilegesMissing")
            statement = 'REVOKE "tenantry_pool_accounts" FROM "stranger" GRANTED BY "postgres" CASCADE'
            assert statement in world.message(server)
            await world.reconcile_server()
        assert "Repaired" not in {reason for reason, _ in await world.events("primary")}
        world.execute(statement)
        await world.reconcile_server()
    assert world.fetch(DUMP) == before
    assert world.condition(await world.server(), "Ready") == ("True", "Connected")
    world.execute("DROP ROLE stranger")


NOTHING = (
    "SELECT email FROM users WHERE email LIKE '%beta'",
    "SELECT email FROM users WHERE tenant_id = '{beta}'",
    "SELECT email FROM users WHERE tenant_id <> tenantry.tenant_of(current_user)",
    "SELECT email FROM tenantry_pool.users, (SELECT set_config('app.tenant', '{beta}', true)) s WHERE email ~ 'beta'",
    "WITH chosen AS MATERIALIZED (SELECT set_config('app.tenant', '{beta}', true)) SELECT email FROM users, chosen"
    " WHERE tenant_id = '{beta}'",
    "SELECT u.email FROM users u RIGHT JOIN users v ON true WHERE v.tenant_id = '{beta}'",
    "SELECT 1 FROM users WHERE 1 / (CASE WHEN email ~ 'beta' THEN 0 ELSE 1 END) = 2",
    "SELECT 1 FROM users TABLESAMPLE SYSTEM (100) WHERE email ~ 'beta'",
    "SELECT tenantry.tenant_of('t_beta_login_a') WHERE tenantry.tenant_of('t_beta_login_a') IS NOT NULL",
    "SELECT most_common_vals FROM pg_stats WHERE schemaname = 'tenantry_pool' AND most_common_vals::text ~ 'beta'",
    "SELECT query FROM pg_stat_activity WHERE query ~ 'beta' AND usename <> current_user",
)
"""What a customer may ask, and gets no row for."""

REFUSED = (
    "INSERT INTO users (id, tenant_id, email) VALUES (gen_random_uuid(), '{beta}', 'eve@beta')",
    "INSERT INTO users (id, tenant_id, email) VALUES (gen_random_uuid(), '{acme}', 'eve@acme')",
    "UPDATE users SET tenant_id = '{acme}' WHERE tenant_id = '{beta}'",
    "DELETE FROM users",
    "SELECT email FROM users WHERE tenant_id = '{beta}' FOR KEY SHARE",
    "TRUNCATE users",
    "COPY users FROM STDIN",
    "LOCK TABLE users IN ACCESS EXCLUSIVE MODE",
    "DROP TABLE users",
    "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY pool_customers ON users",
    "ALTER POLICY pool_customers ON users USING (true)",
    "CREATE POLICY mine ON users USING (true)",
    "CREATE INDEX ON users (email)",
    "CREATE RULE mine AS ON SELECT TO users DO INSTEAD SELECT 1",
    "CREATE TRIGGER mine BEFORE UPDATE ON users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE VIEW tenantry_pool.mine AS SELECT * FROM users",
    "CREATE TABLE tenantry_pool.mine (id int)",
    "CREATE FUNCTION tenantry_pool.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE TEMPORARY TABLE users (id int)",
    "SELECT * FROM tenantry.pooled",
    "INSERT INTO tenantry.pooled VALUES (gen_random_uuid(), 'x', 't_acme_login_a', 'y', true)",
    "UPDATE tenantry.pooled SET login_b = 't_acme_login_a'",
    "SELECT tenantry.chosen_tenant()",
    "CREATE OR REPLACE FUNCTION tenantry.tenant_of(role name) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
    "ALTER FUNCTION tenantry.tenant_of(name) SECURITY INVOKER",
    "SELECT * FROM tenantry_pool.schema_version",
    "SET ROLE tenantry_pool_accounts",
    "SET ROLE tenantry_owner",
    "SET ROLE t_acme_owner",
    "SET ROLE t_beta_owner",
    "SET ROLE t_beta_login_a",
    "SET ROLE tenantry_svc_accounts_1",
    "SET SESSION AUTHORIZATION t_beta_login_a",
    "SET SESSION AUTHORIZATION tenantry_pool_accounts",
    "ALTER ROLE t_beta_login_a RENAME TO mine",
    "ALTER ROLE t_acme_login_a BYPASSRLS",
    "ALTER ROLE t_beta_login_a PASSWORD 'x'",
    "GRANT tenantry_pool_accounts TO t_acme_login_a",
    "ALTER TABLE users OWNER TO t_acme_login_a",
    "COMMENT ON ROLE t_acme_owner IS 'mine'",
    "ALTER DATABASE app SET row_security = off",
    "CREATE PUBLICATION mine FOR TABLE users",
    "SELECT rolpassword FROM pg_authid",
)
"""What a customer may not do."""


BEFORE = ("SELECT 1", "SET LOCAL app.tenant = '{beta}'", "SET LOCAL ROLE tenantry_pool_customers")


async def test_a_pooled_tenants_login_reaches_nothing_of_another(world: TenantWorld) -> None:
    ids = await pooled(world, "acme", "beta")
    world.execute("ANALYZE tenantry_pool.users")
    assert len(NOTHING) + len(REFUSED) >= 30
    with world.login(await world.secret("acme-database")) as connection:
        for first, attempt in product(BEFORE, NOTHING):
            with connection.transaction(force_rollback=True):
                connection.execute(first.format(**ids))  # type: ignore[call-overload]  # text of the tests
                found = connection.execute(attempt.format(**ids)).fetchall()  # type: ignore[call-overload]
            assert found == [], (first, attempt)
        assert [attempt for attempt in REFUSED if not _refused(connection, attempt.format(**ids))] == []
        connection.execute("SET row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT email FROM users")


def _refused(connection: psycopg.Connection, attempt: str) -> bool:  # type: ignore[type-arg]
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(attempt)  # type: ignore[call-overload]  # text of the tests
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.UndefinedTable,
        psycopg.errors.WrongObjectType,
        psycopg.errors.ObjectNotInPrerequisiteState,
    ):
        return True
    return False


async def test_the_attempts_succeed_where_the_walls_are_down(world: TenantWorld) -> None:
    """So that none of them finds nothing, or is refused, for another reason than the wall."""
    ids = await pooled(world, "acme", "beta")
    world.execute(
        "ANALYZE tenantry_pool.users",
        "ALTER POLICY pool_customers ON tenantry_pool.users USING (true)",
        "GRANT ALL ON tenantry_pool.users, tenantry.pooled TO t_acme_login_a",
        "GRANT tenantry_owner, t_acme_owner, t_beta_owner, tenantry_pool_accounts, t_beta_login_a TO t_acme_login_a",
        "GRANT CREATE ON DATABASE app TO t_acme_login_a",
    )
    with world.login(await world.secret("acme-database")) as connection:
        found = []
        for attempt in NOTHING[:9]:
            with connection.transaction(force_rollback=True):
                try:
                    found.append(bool(connection.execute(attempt.format(**ids)).fetchall()))  # type: ignore[arg-type]
                except psycopg.errors.DivisionByZero:
                    found.append(True)
        tried = [one for one in REFUSED if not one.startswith(NEVER)]
        refused = [one for one in tried if _refused(connection, one.format(**ids))]
    assert all(found)
    assert refused == []


NEVER = (
    "COPY",
    "CREATE TEMPORARY",
    "CREATE RULE",
    "CREATE PUBLICATION",
    "SET ROLE tenantry_svc",
    "SET SESSION",
    "ALTER ROLE",
    "ALTER DATABASE",
    "GRANT tenantry_pool",
    "COMMENT",
    "SELECT rolpassword",
    "INSERT",
    "UPDATE",
    "DELETE",
    "SELECT email",
    "SELECT tenantry.chosen",
)
"""What other walls refuse too: of the server, or of the policies that are for writing."""


SERVICE_REFUSED = (
    "SELECT * FROM tenantry.pooled",
    "UPDATE tenantry_pool.users SET tenant_id = '{beta}'",
    "INSERT INTO tenantry_pool.users (id, tenant_id, email) VALUES (gen_random_uuid(), '{beta}', 'eve@beta')",
    "TRUNCATE tenantry_pool.users",
    "DROP TABLE tenantry_pool.users",
    "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
    "CREATE TABLE tenantry_pool.mine (id int)",
    "SELECT tenantry.tenant_of('t_beta_login_a')",
    "SET ROLE tenantry_owner",
    "SET ROLE t_beta_owner",
    "SET ROLE tenantry_pool_customers",
    "GRANT tenantry_pool_accounts TO t_acme_owner",
)


async def test_a_service_that_chose_one_tenant_reaches_no_other_and_no_guard(world: TenantWorld) -> None:
    ids = await pooled(world, "acme", "beta")
    with await service_login(world) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(POOL_ROLE)))
        connection.execute("SELECT set_config('app.tenant', %s, false)", (ids["acme"],))
        assert connection.execute("SELECT email FROM tenantry_pool.users").fetchall() == [("ada@acme",)]
        assert connection.execute("DELETE FROM tenantry_pool.users WHERE email ~ 'beta'").rowcount == 0
        assert [one for one in SERVICE_REFUSED if not _refused(connection, one.format(**ids))] == []
        connection.execute("SELECT set_config('app.tenant', '', false)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no open tenant"):
            connection.execute("SELECT email FROM tenantry_pool.users")
