"""The proxies pass everything on as it is, and cut exactly where they are told to."""

import asyncio
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import AsyncConnection

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.waiting import wait_until
from tenantry_testing.faults.api_faults import ApiFault, Harm
from tenantry_testing.faults.api_proxy import ApiProxy
from tenantry_testing.faults.effects import Effects, Moment
from tenantry_testing.faults.loop import LoopThread
from tenantry_testing.faults.postgres_proxy import PostgresProxy
from tenantry_testing.postgres import PostgresServer

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    with LoopThread() as loop:
        yield loop


@pytest.fixture
def effects() -> Effects:
    return Effects()


@pytest.fixture
def database(postgres: PostgresServer, effects: Effects, loop: LoopThread) -> Iterator[PostgresProxy]:
    with PostgresProxy(postgres, effects, loop) as proxy:
        yield proxy


@pytest.fixture
def api(control_plane: ControlPlane, effects: Effects, loop: LoopThread, tmp_path: Path) -> Iterator[ApiProxy]:
    with ApiProxy(control_plane, effects, loop, folder=tmp_path) as proxy:
        yield proxy


def url(postgres: PostgresServer, proxy: PostgresProxy) -> str:
    return postgres.url().replace(f":{postgres.port}/", f":{proxy.port}/") + "&channel_binding=require"


def client(api: ApiProxy) -> httpx.Client:
    address = next(line.split()[-1] for line in api.kubeconfig.read_text().splitlines() if "server:" in line)
    return httpx.Client(base_url=address, trust_env=False)


def config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def table() -> str:
    return f"proxied_{uuid4().hex[:8]}"


def exists(postgres: PostgresServer, name: str) -> bool:
    with postgres.connect() as connection:
        return connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone() == (True,)


def test_a_session_is_as_without_the_proxy(postgres: PostgresServer, database: PostgresProxy, effects: Effects) -> None:
    name = table()
    with psycopg.connect(url(postgres, database), autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {name} (a int, b text)")
        with connection.transaction():
            for number in range(8):  # psycopg prepares a statement that it sees so often
                connection.execute(f"INSERT INTO {name} VALUES (%s, %s)", [number, "x" * 100_000])
        assert connection.execute(f"SELECT count(*), max(a) FROM {name}").fetchone() == (8, 7)
        with connection.cursor() as cursor, cursor.copy(f"COPY {name} TO STDOUT") as copy:
            assert sum(map(len, copy)) > 800_000
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        connection.execute(f"DROP TABLE {name}")
    words = [label.split()[1] for label in effects.labels()]
    assert words == ["CREATE", *["INSERT"] * 8, "COMMIT", "COPY", "DROP"]


async def test_a_statement_can_be_cancelled(postgres: PostgresServer, database: PostgresProxy) -> None:
    async with asyncio.timeout(60), await AsyncConnection.connect(url(postgres, database), autocommit=True) as asked:
        # Not by libpq's own waits: they keep the interpreter's lock, and the proxy is a thread of this process.
        statement = asyncio.create_task(asked.execute("SELECT pg_sleep(50)"))
        # A cancellation that comes before its statement cancels nothing.
        begun = partial(runs, postgres, asked.info.backend_pid)
        await asyncio.to_thread(wait_until, begun, seconds=30, what="the statement does not begin")
        await asked.cancel_safe(timeout=10)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await statement


def runs(postgres: PostgresServer, pid: int) -> bool:
    """Whether the session is in the midst of the statement."""
    with postgres.connect() as connection:
        query = "SELECT true FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        return connection.execute(query, [pid]).fetchone() is not None


@pytest.mark.parametrize("moment", Moment)
def test_postgres_hears_of_what_it_was_cut_after(
    postgres: PostgresServer, database: PostgresProxy, effects: Effects, moment: Moment
) -> None:
    name, killed = table(), []
    effects.arm(1, moment, lambda: killed.append(exists(postgres, name)))
    with psycopg.connect(url(postgres, database), autocommit=True) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            connection.execute(f"CREATE TABLE {name} ()")
    assert killed == [moment is Moment.AFTER]
    assert exists(postgres, name) is (moment is Moment.AFTER)


def test_a_transaction_that_is_cut_before_its_commit_was_none(
    postgres: PostgresServer, database: PostgresProxy, effects: Effects
) -> None:
    name = table()
    effects.arm(2, Moment.BEFORE, lambda: None)
    connection = psycopg.connect(url(postgres, database))
    connection.execute(f"CREATE TABLE {name} ()")
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    connection.close()
    assert effects.labels()[1] == "SQL COMMIT"
    assert not exists(postgres, name)


def test_new_connections_can_be_refused(postgres: PostgresServer, database: PostgresProxy) -> None:
    database.refusing = True
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url(postgres, database))
    database.refusing = False
    psycopg.connect(url(postgres, database)).close()


@pytest.mark.parametrize("moment", Moment)
def test_the_api_server_hears_of_what_it_was_cut_after(
    api: ApiProxy, effects: Effects, control_plane: ControlPlane, moment: Moment
) -> None:
    name = f"cut-{moment}"
    effects.arm(1, moment, lambda: None)
    with client(api) as asked:
        assert asked.get(MAPS).status_code == 200
        with pytest.raises(httpx.TransportError):
            asked.post(MAPS, json=config_map(name))
        found = asked.get(f"{MAPS}/{name}").status_code
        asked.delete(f"{MAPS}/{name}")
    assert effects.labels() == (f"POST {MAPS}", f"DELETE {MAPS}/{name}")
    assert found == (200 if moment is Moment.AFTER else 404)


def test_a_watch_streams_and_expires(api: ApiProxy) -> None:
    with client(api) as asked:
        query = {"watch": "true", "timeoutSeconds": "30"}
        with asked.stream("GET", MAPS, params=query) as stream:
            lines = stream.iter_lines()
            asked.post(MAPS, json=config_map("watched"))
            assert any('"watched"' in line for line in lines if line)
            assert api.expire_watches() == 1
            assert '"code": 410' in next(lines)
            assert list(lines) == []
        asked.delete(f"{MAPS}/watched")


def test_requests_can_be_harmed(api: ApiProxy) -> None:
    api.faults += [
        ApiFault(Harm.REFUSE, path=MAPS, status=429, reason="TooManyRequests", retry_after=7),
        ApiFault(Harm.RESET, path=MAPS),
        ApiFault(Harm.TRUNCATE, path=MAPS),
    ]
    with client(api) as asked:
        refused = asked.get(MAPS)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
        with pytest.raises(httpx.TransportError):
            asked.get(MAPS)
        with pytest.raises(ValueError, match="line 1"):
            asked.get(MAPS).json()
        assert asked.get(MAPS).json()["kind"] == "ConfigMapList"


def test_without_tls_there_is_no_session(postgres: PostgresServer, database: PostgresProxy) -> None:
    """Nobody can be fooled by the proxy: it shows the certificate of the server, and speaks nothing but TLS."""
    context = ssl.create_default_context(cafile=str(postgres.ca_file))
    assert context.verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url(postgres, database).replace("sslmode=verify-full", "sslmode=disable"))
