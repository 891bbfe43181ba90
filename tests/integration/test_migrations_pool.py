"""The pool on a real server: the tenant history's columns, and rows that only their tenant reaches."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from tenantry_migrations import (
    CUSTOMERS,
    OWNER,
    POOL,
    POOL_SCHEMA,
    TENANT,
    guard_statements,
    make_pool,
    move_statements,
    pool_version,
    render,
)
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.postgres import Login, PostgresServer

Connection = AsyncConnection[Any]
ROLES = {"accounts": "poolt_accounts", OWNER: "poolt_owner", CUSTOMERS: "poolt_customers"}
OPERATOR = Login("poolt_operator", "operator")
ACME, BETA = UUID(int=1), UUID(int=2)

COLUMNS: LiteralString = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = %s::text::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
    UNION ALL
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), true, '' FROM pg_constraint
    WHERE connamespace = %s::text::regnamespace AND contype = 'c'
    ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> PostgresServer:
    with postgres.connect() as connection:
        for role in ROLES.values():
            connection.execute(f"CREATE ROLE {role} NOLOGIN")
        connection.execute(f"CREATE ROLE {OPERATOR.user} LOGIN CREATEROLE PASSWORD '{OPERATOR.password}'")
        connection.execute(f"GRANT poolt_owner TO {OPERATOR.user}")
        for login in ("poolt_service", "poolt_acme", "poolt_beta"):
            connection.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'x'")
        connection.execute("ALTER ROLE poolt_service NOINHERIT")
        connection.execute("GRANT poolt_accounts TO poolt_service")
        connection.execute("GRANT poolt_customers TO poolt_acme, poolt_beta")
    return postgres


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    server.make_database("poolt", owner=OPERATOR.user)
    yield "poolt"
    with server.connect() as connection:
        connection.execute("DROP DATABASE poolt WITH (FORCE)")


@pytest.fixture
async def operator(server: PostgresServer, database: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(server.url(database, OPERATOR), autocommit=True) as opened:
        yield opened


@pytest.fixture
async def pool(operator: Connection, server: PostgresServer, database: str) -> PostgresServer:
    """A pool with a row of acme and one of beta, and both tenants in the directory."""
    async with operator.transaction():
        await make_pool(operator, TENANT.head, roles=ROLES)
    with server.connect(database) as administrator:
        for tenant, name in ((ACME, "acme"), (BETA, "beta")):
            administrator.execute(
                "INSERT INTO tenantry.pooled VALUES (%s, %s, %s, %s, true)",
                (tenant, name, f"poolt_{name}", f"poolt_{name}_b"),
            )
            administrator.execute(
                "INSERT INTO tenantry_pool.users (id, tenant_id, email) VALUES (%s, %s, %s)",
                (UUID(int=7), tenant, f"ada@{name}"),
            )
    return server


async def move(operator: Connection, start: str, to: str) -> None:
    async with operator.transaction():
        for statement in move_statements(start, to, roles=ROLES):
            await operator.execute(statement)


def seen(server: PostgresServer, user: str, *first: str, table: str = "users") -> list[str]:
    """Return the addresses that a login reads, after the statements given, in one transaction."""
    login = server.superuser if user == "postgres" else Login(user, OPERATOR.password if "operator" in user else "x")
    with server.connect("poolt", login) as connection, connection.transaction():
        for statement in first:
            connection.execute(statement)
        query = sql.SQL("SELECT email FROM tenantry_pool.{} ORDER BY 1").format(sql.Identifier(table))
        return [row[0] for row in connection.execute(query)]


def choose(tenant: UUID | str) -> str:
    return f"SELECT set_config('app.tenant', '{tenant}', true)"


SERVICE = "SET LOCAL ROLE poolt_accounts"


@pytest.mark.parametrize("revision", [*TENANT.revisions])
async def test_the_columns_are_those_of_a_schema_of_ones_own(operator: Connection, revision: str) -> None:
    async with operator.transaction():
        await make_pool(operator, revision, roles=ROLES)
        await operator.execute("CREATE SCHEMA alone")
        await operator.execute("SET LOCAL search_path TO alone")
        for step in TENANT.steps(None, revision):
            await operator.execute(render(step, roles=ROLES, schema="alone"))
    found = [await (await operator.execute(COLUMNS, (one, one))).fetchall() for one in (POOL_SCHEMA, "alone")]
    pooled, alone = (
        sorted(tuple(str(part).replace(f"{schema}.", "") for part in row) for row in rows)
        for schema, rows in zip((POOL_SCHEMA, "alone"), found, strict=True)
    )
    assert pooled == alone
    assert {row[0] for row in pooled} == {*POOL.shape(revision).tables, "schema_version"}


async def test_the_pool_is_made_once_by_many_at_once(server: PostgresServer, database: str) -> None:
    async def make() -> bool:
        # Without autocommit all of it is one transaction.
        async with await AsyncConnection.connect(server.url(database, OPERATOR)) as own:
            return await make_pool(own, TENANT.head, roles=ROLES)

    assert sorted(await asyncio.gather(*(make() for _ in range(4)))) == [False, False, False, True]


async def test_a_service_reaches_the_tenant_that_it_chose_and_no_other(pool: PostgresServer) -> None:
    assert seen(pool, "poolt_service", SERVICE, choose(ACME)) == ["ada@acme"]
    assert seen(pool, "poolt_service", SERVICE, choose(BETA)) == ["ada@beta"]
    write = f"INSERT INTO tenantry_pool.users (id, tenant_id, email) VALUES (gen_random_uuid(), '{BETA}', 'eve@beta')"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seen(pool, "poolt_service", SERVICE, choose(ACME), write)
    move_away = f"UPDATE tenantry_pool.users SET tenant_id = '{BETA}'"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seen(pool, "poolt_service", SERVICE, choose(ACME), move_away)


@pytest.mark.parametrize("chosen", ["", str(UUID(int=9))])
async def test_a_service_that_chose_nobody_is_told_so(pool: PostgresServer, chosen: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no open tenant"):
        seen(pool, "poolt_service", SERVICE, choose(chosen))


async def test_a_closed_tenant_is_out_of_reach_and_not_empty(pool: PostgresServer) -> None:
    with pool.connect("poolt") as administrator:
        administrator.execute("UPDATE tenantry.pooled SET open = false WHERE name = 'acme'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no open tenant"):
        seen(pool, "poolt_service", SERVICE, choose(ACME))
    assert seen(pool, "poolt_acme") == []
    assert seen(pool, "poolt_service", SERVICE, choose(BETA)) == ["ada@beta"]


@pytest.mark.parametrize("first", [(), (choose(BETA),), ("SET LOCAL app.tenant = 'x'",)])
async def test_a_customer_reads_its_own_rows_whatever_it_chooses(pool: PostgresServer, first: tuple[str, ...]) -> None:
    assert seen(pool, "poolt_acme", *first) == ["ada@acme"]
    assert seen(pool, "poolt_beta", *first) == ["ada@beta"]


async def test_a_customer_that_takes_the_groups_role_is_nobody(pool: PostgresServer) -> None:
    assert seen(pool, "poolt_acme", "SET LOCAL ROLE poolt_customers") == []


async def test_a_customer_learns_no_other_tenants_id(pool: PostgresServer) -> None:
    with pool.connect("poolt", Login("poolt_acme", "x")) as acme:
        asked = acme.execute("SELECT tenantry.tenant_of('poolt_acme'), tenantry.tenant_of('poolt_beta')").fetchone()
    assert asked == (ACME, None)


async def test_row_security_holds_for_the_owner_too(pool: PostgresServer) -> None:
    assert seen(pool, OPERATOR.user) == []
    assert seen(pool, OPERATOR.user, choose(ACME)) == ["ada@acme"]


async def test_the_same_id_and_address_are_free_for_each_tenant(pool: PostgresServer) -> None:
    """Else a refusal would say what another tenant has; the fixture has both rows under one id."""
    with pool.connect("poolt") as administrator, pytest.raises(psycopg.errors.UniqueViolation):
        administrator.execute(
            "INSERT INTO tenantry_pool.users (id, tenant_id, email) VALUES (%s, %s, 'b@acme')", (UUID(int=7), ACME)
        )


async def test_a_move_changes_the_rows_of_all_and_leaves_every_table_guarded(
    pool: PostgresServer, operator: Connection, tmp_path: Path
) -> None:
    folder = write_history(tmp_path)
    script = folder / "versions" / f"{EXPAND}_test.py"
    script.write_text(script.read_text() + "    op.execute(\"UPDATE users SET locale = 'en'\")\n")
    with tenant_history(folder):
        await move(operator, await pool_version(operator) or "", EXPAND)
        assert await pool_version(operator) == EXPAND
        tables = POOL.shape(EXPAND).tables
    with pool.connect("poolt") as administrator:
        locales = administrator.execute("SELECT DISTINCT locale FROM tenantry_pool.users").fetchall()
        guarded = administrator.execute(
            "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity"
            " AND relnamespace = 'tenantry_pool'::regnamespace AND relkind = 'r'"
        ).fetchall()
    assert locales == [("en",)]
    assert {row[0] for row in guarded} == {*tables} == {"users", "notes"}
    assert seen(pool, OPERATOR.user) == []


BREACHES = {
    "row security is off": ("ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY", "poolt_acme", ()),
    "row security is not forced": (
        "ALTER TABLE tenantry_pool.users NO FORCE ROW LEVEL SECURITY",
        OPERATOR.user,
        ("SET LOCAL ROLE poolt_owner",),
    ),
    "the customers' policy lets all rows through": (
        "ALTER POLICY pool_customers ON tenantry_pool.users USING (true)",
        "poolt_acme",
        (),
    ),
    "the services' policy is everybody's": (
        "ALTER POLICY pool_accounts ON tenantry_pool.users TO PUBLIC; GRANT EXECUTE ON FUNCTION"
        " tenantry.chosen_tenant() TO PUBLIC",
        "poolt_acme",
        (choose(BETA),),
    ),
    "the services' policy lets all rows through": (
        "ALTER POLICY pool_accounts ON tenantry_pool.users USING (true)",
        "poolt_service",
        (SERVICE, choose(ACME)),
    ),
}


@pytest.mark.parametrize("breach", list(BREACHES))
async def test_without_a_guard_the_rows_leak_and_with_it_again_they_do_not(
    pool: PostgresServer, operator: Connection, breach: str
) -> None:
    statement, user, first = BREACHES[breach]
    before = seen(pool, user, *first)
    with pool.connect("poolt") as administrator:
        administrator.execute(statement)
    assert "ada@beta" in seen(pool, user, *first)
    async with operator.transaction():
        for one in guard_statements(TENANT.head, "users", roles=ROLES):
            await operator.execute(one)
    assert seen(pool, user, *first) == before
    assert "ada@beta" not in before
