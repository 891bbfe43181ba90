"""A database that goes away, credentials that change, and the end of the process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from psycopg import sql

from tenantry_testing.accounts_world import CURSOR_KEY, ENVIRONMENT, SERVER, AccountsWorld
from tenantry_testing.postgres import PostgresServer, free_port

SECONDS = 30.0


async def _eventually(ask, wanted):
    """Ask until the answer is the wanted one."""
    deadline = time.monotonic() + SECONDS
    while (answer := await ask()) != wanted:
        assert time.monotonic() < deadline, f"{answer} is not {wanted}"
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def own_server():
    """A server that these tests may stop."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def own_world(own_server, tmp_path):
    return AccountsWorld(own_server, tmp_path)


async def test_it_is_not_ready_while_the_database_is_gone_and_comes_back_by_itself(own_world, own_server):
    tenant = own_world.add_tenant()
    async with own_world.service() as service:
        client = service.client

        async def ready():
            return (await client.get("/readyz")).status_code

        async def listed():
            return (await client.get("/v1/users", headers=tenant.headers)).status_code

        assert (await ready(), await listed()) == (200, 200)
        own_server.stop()
        try:
            refused = await client.post("/v1/users", json={"email": "a@example.com"}, headers=tenant.headers)
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/database-unavailable")
            assert refused.headers["retry-after"] == "2"
            await _eventually(ready, 503)
            assert (await client.get("/livez")).status_code == 200, "a restart of the pod would not help"
        finally:
            own_server.start()
        assert await listed() == 200, "the first request after the outage, on connections that died in it"
        await _eventually(ready, 200)
    assert own_world.users_of(tenant) == []


async def test_sessions_that_were_ended_while_idle_fail_no_request(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        for _ in range(2):
            await service.client.get("/v1/users", headers=tenant.headers)
        with accounts_world.app() as database:
            database.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s",
                (accounts_world.login.user,),
            )
        service.components.registry.forget(tenant.key.public_id)
        made = await service.client.post("/v1/users", json={"email": "a@example.com"}, headers=tenant.headers)
    assert made.status_code == 201


async def test_a_replaced_secret_is_taken_up_without_a_restart(accounts_world, tmp_path):
    """As credentials rotate: another login, another password, and the old one is gone."""
    tenant = accounts_world.add_tenant()
    first, second = f"first_{accounts_world.suffix}", f"second_{accounts_world.suffix}"
    with accounts_world.app() as admin:
        for login in (first, second):
            admin.execute(
                sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD 'pw-of-{}'").format(
                    sql.Identifier(login), sql.SQL(login)
                )
            )
        accounts_world.mount(tmp_path, username=first, password=f"pw-of-{first}")
        async with accounts_world.service(databases_dir=tmp_path) as service:

            async def listed():
                return (await service.client.get("/v1/users", headers=tenant.headers)).status_code

            def sessions(login):
                query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
                return admin.execute(query, (login,)).fetchone()[0]

            assert await listed() == 200
            assert sessions(first) > 0
            accounts_world.mount(tmp_path, username=second, password=f"pw-of-{second}")

            async def old_sessions():
                assert await listed() == 200, "no request fails while it changes"
                return sessions(first)

            await _eventually(old_sessions, 0)
            assert sessions(second) > 0
            service.components.registry.forget(tenant.key.public_id)
            assert await listed() == 200


async def test_work_that_began_before_a_secret_was_replaced_ends_well(accounts_world, tmp_path):
    tenant = accounts_world.add_tenant()
    accounts_world.mount(tmp_path)
    async with accounts_world.service(databases_dir=tmp_path) as service:
        databases = service.components.databases
        async with databases.connection(SERVER) as old:
            accounts_world.mount(tmp_path, host="localhost")
            databases._mount(SERVER).read(now=True)
            async with databases.connection(SERVER) as new:
                assert (await new.exec_driver_sql("SELECT 1")).scalar_one() == 1
            assert (await old.exec_driver_sql("SELECT 2")).scalar_one() == 2
        assert (await service.client.get("/v1/users", headers=tenant.headers)).status_code == 200


async def test_a_full_pool_answers_that_it_is_busy(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service(pool_size=1, pool_timeout=0.2) as service:
        await service.client.get("/v1/users", headers=tenant.headers)
        async with service.components.databases.connection(SERVER):
            answer = await service.client.get("/v1/users", headers=tenant.headers)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/overloaded")


async def test_a_statement_that_takes_too_long_is_ended(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service(statement_timeout=200) as service:
        with accounts_world.app() as other, other.transaction():
            other.execute(f"LOCK TABLE {tenant.schema}.users")
            answer = await service.client.get("/v1/users", headers=tenant.headers)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-unavailable")


@contextmanager
def _process(world, **environment):
    """Start the service as its image does; yield it with its address."""
    port = free_port()
    settings = {
        "ENVIRONMENT": ENVIRONMENT,
        "DATABASES_DIR": str(world.folder),
        "REGISTRY_SERVER": SERVER,
        "CURSOR_KEY": CURSOR_KEY,
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tenantry_accounts"],
        env=os.environ | {f"TENANTRY_{name}": value for name, value in (settings | environment).items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def _wait_until_served(client):
    async def alive():
        try:
            return (await client.get("/livez")).status_code
        except httpx.TransportError:
            return None

    await _eventually(alive, 200)


async def test_sigterm_lets_the_request_in_flight_finish_and_exits_0(accounts_world):
    tenant = accounts_world.add_tenant()
    with _process(accounts_world) as (process, address):
        async with httpx.AsyncClient(base_url=address, timeout=SECONDS) as client:
            await _wait_until_served(client)
            with accounts_world.app() as holder, accounts_world.app() as watcher:
                with holder.transaction():
                    holder.execute(f"LOCK TABLE {tenant.schema}.users")
                    posting = asyncio.create_task(
                        client.post("/v1/users", json={"email": "a@example.com"}, headers=tenant.headers)
                    )
                    await _eventually(lambda: _waiting(watcher, tenant), 1)
                    process.send_signal(signal.SIGTERM)
                    await _eventually(lambda: _refuses(address), True)
                    assert process.poll() is None, "it waits for the request"
                answer = await posting
        assert answer.status_code == 201
        output, errors = await asyncio.to_thread(process.communicate, timeout=SECONDS)
    assert process.returncode == 0, errors
    assert [row["email"] for row in accounts_world.users_of(tenant)] == ["a@example.com"]
    lines = [json.loads(line) for line in output.splitlines()]
    assert {"request", "Shutting down", "Application shutdown complete."} <= {line["event"] for line in lines}
    assert all(line["timestamp"] and line["level"] for line in lines), "the server's own lines are JSON too"
    assert errors == ""


async def _waiting(watcher: psycopg.Connection, tenant):
    """Count the statements that wait for the tenant's table."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    return watcher.execute(query, (f"{tenant.schema}.users",)).fetchone()[0]


async def _refuses(address):
    try:
        async with httpx.AsyncClient() as client:
            await client.get(f"{address}/livez")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False  # it stopped listening in the midst of this request
    return False


async def test_the_log_level_changes_by_signal(accounts_world):
    with _process(accounts_world, LOG_LEVEL="warning") as (process, address):
        async with httpx.AsyncClient(base_url=address) as client:
            await _wait_until_served(client)
            process.send_signal(signal.SIGUSR1)
            lines = asyncio.to_thread(process.stdout.readline)
            assert json.loads(await lines)["event"] == "log_level_changed"
            await client.get("/livez", headers={"X-Request-ID": "seen"})
            line = {}
            # The last of the requests before may have had its answer, and not yet its line, when the level changed.
            while line.get("request_id") != "seen":
                line = json.loads(await asyncio.to_thread(process.stdout.readline))
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, SECONDS)
    assert (line["event"], line["request_id"], line["level"]) == ("request", "seen", "debug")


def test_a_wrong_setting_ends_the_process_with_its_name(accounts_world):
    with _process(accounts_world, CURSOR_KEY="short") as (process, _):
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "cursor_key" in errors
