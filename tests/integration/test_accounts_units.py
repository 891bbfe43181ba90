"""The unit of work on a real Postgres: what it sets, how it ends, and what it leaves behind."""

import asyncio
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
from sqlalchemy import text

from tenantry_kit.problems import DATABASE_UNAVAILABLE, Problem
from tenantry_kit.tenancy import NotCommitted

STATE = text(
    "SELECT current_user, session_user, current_setting('search_path'), current_setting('app.tenant', true),"
    " current_setting('statement_timeout'), pg_backend_pid()"
)


async def test_it_sets_role_path_tenant_and_timeout_for_its_own_duration(accounts_world):
    tenant = accounts_world.add_tenant()
    scope = accounts_world.scope_of(tenant)
    async with accounts_world.service(pool_size=1) as service:
        async with service.components.units.begin(scope) as session:
            inside = tuple((await session.orm.execute(STATE)).one())
        async with service.components.databases.connection(scope.server) as connection:
            outside = tuple((await connection.execute(STATE)).one())
    login = accounts_world.login.user
    assert inside[:5] == (scope.role, login, f"{scope.schema}, pg_temp", str(scope.tenant_id), "10s")
    assert outside[:5] == (login, login, '"$user", public', "", "0")
    assert inside[5] == outside[5], "the connection is used again"


async def test_it_rolls_back_when_the_block_raises(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service(pool_size=1) as service:
        units = service.components.units

        async def write_and_fail():
            async with units.begin(accounts_world.scope_of(tenant)) as session:
                await session.orm.execute(
                    text("INSERT INTO users (id, tenant_id, email) VALUES (gen_random_uuid(), :id, 'a@b.c')"),
                    {"id": tenant.id},
                )
                raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError, match="on purpose"):
            await write_and_fail()
        async with units.begin(accounts_world.scope_of(tenant)) as session:
            assert (await session.orm.execute(text("SELECT count(*) FROM users"))).scalar_one() == 0


@pytest.mark.parametrize(
    "leak", ["SET search_path TO public", "SET app.tenant TO 'x'", "SET ROLE {role}", "SET SESSION search_path TO x"]
)
async def test_a_connection_that_something_stays_on_is_closed(accounts_world, leak):
    scope = accounts_world.scope_of(accounts_world.add_tenant())
    async with accounts_world.service(pool_size=1) as service:
        units = service.components.units
        async with units.begin(scope) as session:
            first = (await session.orm.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await session.orm.execute(text(leak.format(role=scope.role)))
        async with units.begin(scope) as session:
            second = tuple((await session.orm.execute(STATE)).one())
        killed = service.components.metrics.connections_killed._value.get()
        assert service.logged("connection_leaked")
    assert second[5] != first
    assert second[2] == f"{scope.schema}, pg_temp"
    assert killed == 1


async def test_a_failure_that_nobody_minded_is_no_success(accounts_world):
    """Postgres answers COMMIT with ROLLBACK then, and no error."""
    scope = accounts_world.scope_of(accounts_world.add_tenant())
    async with accounts_world.service() as service:

        async def fail_and_go_on():
            async with service.components.units.begin(scope) as session:
                connection = await session.orm.connection()
                driver = (await connection.get_raw_connection()).driver_connection
                with suppress(psycopg.errors.DivisionByZero):
                    await driver.execute("SELECT 1/0")

        with pytest.raises(NotCommitted):
            await fail_and_go_on()


async def test_a_commit_that_fails_is_answered_as_a_failure(accounts_world):
    """The transaction ends before the response begins."""
    tenant = accounts_world.add_tenant()
    with accounts_world.app() as database:
        database.execute(
            f"CREATE FUNCTION {tenant.schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'refused at commit'; END $$"
        )
        database.execute(
            f"CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {tenant.schema}.users DEFERRABLE INITIALLY DEFERRED"
            f" FOR EACH ROW EXECUTE FUNCTION {tenant.schema}.refuse()"
        )
    async with accounts_world.service() as service:
        answer = await service.client.post("/v1/users", json={"email": "a@example.com"}, headers=tenant.headers)
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal")
    assert accounts_world.users_of(tenant) == []


@pytest.mark.parametrize("moment", ["before COMMIT", "before a statement"])
async def test_a_session_that_is_ended_in_the_middle_is_the_databases_problem(accounts_world, moment):
    scope = accounts_world.scope_of(accounts_world.add_tenant())
    async with accounts_world.service(pool_size=1) as service:

        async def work():
            async with service.components.units.begin(scope) as session:
                process = (await session.orm.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                with accounts_world.postgres.connect() as admin:
                    admin.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))
                if moment == "before a statement":
                    await session.orm.execute(text("SELECT 1"))

        with pytest.raises(Problem) as caught:
            await work()
        assert caught.value.type is DATABASE_UNAVAILABLE
        async with service.components.units.begin(scope) as session:
            assert (await session.orm.execute(text("SELECT 1"))).scalar_one() == 1


@asynccontextmanager
async def _turns_counted(port):
    """Stand between client and server; give the proxy's port and a list with one entry each time the client speaks
    after the server did."""
    turns, tasks, writers = [], [], []

    async def relay(reader, writer, speaker, last):
        while chunk := await reader.read(65536):
            if speaker == "client" and last[0] == "server":
                turns.append(len(chunk))
            last[0] = speaker
            writer.write(chunk)
        writer.close()

    async def serve(reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        last = ["client"]
        writers.extend((writer, upstream_writer))
        pair = (relay(reader, upstream_writer, "client", last), relay(upstream_reader, writer, "server", last))
        tasks.extend(asyncio.ensure_future(one) for one in pair)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], turns
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_it_begins_and_ends_in_one_round_trip_each(accounts_world, tmp_path):
    """Counted on the wire, through TLS."""
    tenant = accounts_world.add_tenant()
    scope = accounts_world.scope_of(tenant)
    async with _turns_counted(accounts_world.postgres.port) as (port, turns):
        accounts_world.mount(tmp_path, port=str(port))
        async with accounts_world.service(databases_dir=tmp_path, pool_size=1) as service:
            async with service.components.units.begin(scope):
                pass
            before = len(turns)
            async with service.components.units.begin(scope):
                assert len(turns) - before == 1
            assert len(turns) - before == 2

            await service.client.get("/v1/users", headers=tenant.headers)
            before = len(turns)
            await service.client.get("/v1/users", headers=tenant.headers)
            assert len(turns) - before == 3, "a list is: begin, select, commit"
