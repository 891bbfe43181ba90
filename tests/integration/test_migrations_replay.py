"""The histories, replayed on a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import AsyncConnection, sql
from sqlalchemy import create_engine, text

from tenantry_migrations import (
    REGISTRY,
    TENANT,
    History,
    NothingReleased,
    Step,
    UnknownRevision,
    released_revision,
    render,
    render_each,
    upgrade_registry,
    version_query,
)
from tenantry_migrations.scripts import REGISTRY_SCRIPTS, TENANT_SCRIPTS, history_of
from tenantry_testing.postgres import PostgresServer

ROLES = {"accounts": "replay_accounts"}
Connection = AsyncConnection[Any]

SECOND = """
from alembic import op

revision = "t0002"
down_revision = "t0001"
phase = "expand"
grants = {"users": {"accounts": "SELECT UPDATE"}, "notes": {"accounts": "INSERT"}}

def upgrade():
    op.execute("CREATE TABLE notes (words text CHECK (words LIKE '100%'))")
"""

CATALOGUE: LiteralString = """
    SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
           coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = %(schema)s::text::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
    FROM pg_constraint WHERE connamespace = %(schema)s::text::regnamespace
    UNION ALL
    SELECT 'index', '', indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = %(schema)s::text
    ORDER BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> PostgresServer:
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE replay_accounts NOLOGIN")
        connection.execute("CREATE ROLE replay_owner NOLOGIN")
    return postgres


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    name = "replay"
    server.make_database(name, owner="postgres")
    yield name
    with server.connect() as connection:
        connection.execute("DROP DATABASE replay WITH (FORCE)")


@pytest.fixture
async def connection(server: PostgresServer, database: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(server.url(database), autocommit=True) as opened:
        yield opened


@pytest.fixture
def two_revisions(tmp_path: Path) -> History:
    versions = tmp_path / "versions"
    versions.mkdir()
    first = TENANT_SCRIPTS / "versions" / "t0001_users.py"
    (versions / first.name).write_text(first.read_text())
    (versions / "t0002_notes.py").write_text(SECOND)
    return history_of(tmp_path)


async def replay(connection: Connection, schema: str, *steps: Step) -> None:
    async with connection.transaction():
        await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        await connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
        for step in steps:
            await connection.execute(render(step, roles=ROLES, schema=schema))


async def version(connection: Connection, schema: str) -> str:
    row = await (await connection.execute(version_query(schema))).fetchone()
    assert row is not None
    return str(row[0])


async def catalogue(connection: Connection, schema: str) -> list[str]:
    rows = await (await connection.execute(CATALOGUE, {"schema": schema})).fetchall()
    # What is left to differ is the schema's own name and our version table.
    return [str(row).replace(schema, "S") for row in rows if "schema_version" not in str(row)]


async def granted(connection: Connection, schema: str) -> set[tuple[str, str, str]]:
    rows = await (
        await connection.execute(
            "SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants"
            " WHERE table_schema = %s AND grantee <> 'postgres'",
            (schema,),
        )
    ).fetchall()
    return {(row[0], row[1], row[2]) for row in rows}


def run_alembic(scripts: Path, *, url: str, schema: str) -> None:
    """Run the scripts as Alembic itself does, over its own connection."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        connection.execute(text(f'SET LOCAL search_path = "{schema}"'))
        with Operations.context(MigrationContext.configure(connection)):
            for script in reversed(list(ScriptDirectory(scripts).walk_revisions())):
                script.module.upgrade()
    engine.dispose()


async def test_the_replayed_catalogue_is_the_one_that_alembic_makes(
    connection: Connection, server: PostgresServer, database: str
) -> None:
    await asyncio.to_thread(run_alembic, TENANT_SCRIPTS, url=server.url(database), schema="by_alembic")
    await replay(connection, "by_replay", *TENANT.steps(None, TENANT.head))
    found = await catalogue(connection, "by_replay")
    assert found == await catalogue(connection, "by_alembic")
    assert any("users_email_key" in line for line in found)


async def test_the_registrys_catalogue_is_the_one_that_alembic_makes(
    connection: Connection, server: PostgresServer, database: str
) -> None:
    await asyncio.to_thread(run_alembic, REGISTRY_SCRIPTS, url=server.url(database), schema="tenantry")
    by_alembic = await catalogue(connection, "tenantry")
    await connection.execute("DROP SCHEMA tenantry CASCADE")
    await upgrade_registry(connection)
    assert await catalogue(connection, "tenantry") == by_alembic


async def test_grants_on_the_server_are_the_declared_privileges(connection: Connection, two_revisions: History) -> None:
    for start, to in ((None, "t0001"), ("t0001", "t0002")):
        await replay(connection, "s", *two_revisions.steps(start, to))
        declared = {(p.table, ROLES[p.service], word) for p in two_revisions.privileges(to) for word in p.privileges}
        assert await granted(connection, "s") == declared
        assert await version(connection, "s") == to


async def test_everything_belongs_to_the_role_of_the_transaction(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("CREATE SCHEMA s AUTHORIZATION replay_owner")
        await connection.execute("SET LOCAL ROLE replay_owner")
        await connection.execute("SET LOCAL search_path = s")
        for step in TENANT.steps(None, TENANT.head):
            await connection.execute(render(step, roles=ROLES, schema="s"))
    rows = await (
        await connection.execute("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 's'")
    ).fetchall()
    assert set(rows) == {("users", "replay_owner"), ("schema_version", "replay_owner")}


async def test_a_step_is_refused_where_it_has_run_already(connection: Connection) -> None:
    await replay(connection, "s", *TENANT.steps(None, TENANT.head))
    with pytest.raises(psycopg.errors.DuplicateTable):
        await replay(connection, "s", *TENANT.steps(None, TENANT.head))


async def test_a_step_is_refused_where_another_revision_is_there(
    connection: Connection, two_revisions: History
) -> None:
    await replay(connection, "s", *TENANT.steps(None, "t0001"))
    await connection.execute("UPDATE s.schema_version SET version = 't0000'")
    with pytest.raises(psycopg.DataError, match="t0002 follows t0001, but the schema is at t0000"):
        await replay(connection, "s", *two_revisions.steps("t0001", "t0002"))
    await connection.execute("DELETE FROM s.schema_version")
    with pytest.raises(psycopg.DataError, match="but the schema is at nothing"):
        await replay(connection, "s", *two_revisions.steps("t0001", "t0002"))
    assert "notes" not in str(await catalogue(connection, "s"))


async def test_statements_one_at_a_time_run_in_a_pipeline(connection: Connection) -> None:
    await connection.execute("CREATE SCHEMA s")
    async with connection.pipeline(), connection.transaction():
        await connection.execute("SET LOCAL search_path = s")
        for step in TENANT.steps(None, TENANT.head):
            for statement in render_each(step, roles=ROLES, schema="s"):
                await connection.execute(statement)
    assert await version(connection, "s") == TENANT.head


async def test_an_address_is_one_users_however_it_is_capitalised(connection: Connection) -> None:
    await replay(connection, "s", *TENANT.steps(None, TENANT.head))
    insert: LiteralString = "INSERT INTO s.users (id, tenant_id, email) VALUES (gen_random_uuid(), %s, %s)"
    tenant, other = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
    await connection.execute(insert, (tenant, "a@example.org"))
    await connection.execute(insert, (other, "a@example.org"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.execute(insert, (tenant, "A@Example.org"))


async def test_the_registry_is_upgraded_once_by_many_at_once(
    connection: Connection, server: PostgresServer, database: str
) -> None:
    async def upgrade() -> str:
        async with await AsyncConnection.connect(server.url(database), autocommit=True) as own:
            return await upgrade_registry(own)

    assert await asyncio.gather(*(upgrade() for _ in range(4))) == [REGISTRY.head] * 4
    assert await released_revision(connection) == TENANT.head
    assert await version(connection, "tenantry") == REGISTRY.head


async def test_a_later_upgrade_leaves_the_released_revision(connection: Connection) -> None:
    await upgrade_registry(connection)
    await connection.execute("UPDATE tenantry.released SET revision = 't0000'")
    await upgrade_registry(connection)
    assert await released_revision(connection) == "t0000"


async def test_a_registry_that_is_newer_is_left_alone(connection: Connection) -> None:
    await upgrade_registry(connection)
    await connection.execute("UPDATE tenantry.schema_version SET version = 'r9999'")
    with pytest.raises(UnknownRevision, match="r9999"):
        await upgrade_registry(connection)


OLDER_WRITE: LiteralString = """
INSERT INTO tenantry.tenants (id, name, uid, server, database, schema, isolation, service_login, state, version)
VALUES (%(id)s, 'acme', gen_random_uuid(), 'p', 'app', 's_acme', 'Schema', 'l', %(state)s, 't0001')
ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, state = excluded.state, version = excluded.version,
    service_login = excluded.service_login, updated_at = now()
"""
"""What an operator of the first revision writes."""
OLDER_READ: LiteralString = "SELECT name, server, database, schema, state FROM tenantry.tenants"


async def test_an_older_operator_and_the_services_go_on_while_the_registry_is_upgraded(connection: Connection) -> None:
    await replay(connection, "tenantry", *REGISTRY.steps(None, "r0001"))
    acme = "00000000-0000-7000-8000-000000000001"
    read: list[tuple[Any, ...]] = []
    for state in ("provisioning", "active", "released"):
        await connection.execute(OLDER_WRITE, {"id": acme, "state": state})
        read += await (await connection.execute(OLDER_READ)).fetchall()
        await upgrade_registry(connection)
    assert [row[-1] for row in read] == ["provisioning", "active", "released"]
    assert await version(connection, "tenantry") == REGISTRY.head
    rows = await (await connection.execute("SELECT applied FROM tenantry.tenants")).fetchall()
    assert rows == [(None,)]


async def test_nothing_is_released_before_the_first_upgrade(connection: Connection) -> None:
    with pytest.raises(NothingReleased):
        await released_revision(connection)


async def test_a_deleted_tenants_name_is_free_again_and_a_living_ones_is_not(connection: Connection) -> None:
    await upgrade_registry(connection)
    insert: LiteralString = (
        "INSERT INTO tenantry.tenants (id, name, uid, server, database, schema, isolation, service_login, state)"
        " VALUES (gen_random_uuid(), 'acme', gen_random_uuid(), 'p', 'app', 's_acme', 'Schema', 'l', %s)"
    )
    await connection.execute(insert, ("deleted",))
    await connection.execute(insert, ("active",))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.execute(insert, ("provisioning",))
