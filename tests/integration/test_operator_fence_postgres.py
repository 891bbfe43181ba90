"""Connections and fences on a real Postgres: few, reused, typed errors, and no work by a leader of yesterday."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from tenantry_operator.clients.postgres import (
    AuthenticationFailed,
    DatabaseError,
    DatabaseMissing,
    ServerAddress,
    Servers,
    ServerUnreachable,
    TlsFailed,
)
from tenantry_operator.clients.sqlstate import FailureKind, classify
from tenantry_operator.engine.fence import Fence, FenceError, application_name, end_earlier_sessions
from tenantry_testing.postgres import Login, PostgresServer

OPERATOR = "fence_operator"
DATABASE = "fence_app"


@pytest.fixture(scope="module")
def login(postgres: PostgresServer) -> Login:
    return postgres.make_operator(OPERATOR, databases=(DATABASE, "fence_other"))


@pytest.fixture
def address(postgres: PostgresServer, login: Login) -> ServerAddress:
    return ServerAddress(
        name="primary",
        host=postgres.host,
        port=postgres.port,
        database=DATABASE,
        user=login.user,
        password=login.password,
        ca_pem=postgres.ca_file.read_text(),
        max_connections=3,
    )


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    servers = Servers(application_name("pod-a", 1))
    yield servers
    await servers.close()


@pytest.fixture
async def sessions(postgres: PostgresServer) -> AsyncIterator[Callable[[], list[str]]]:
    """The application names of the operator's sessions, as the server sees them.

    There are none at first: the server ends those that an earlier test closed when it gets to it.
    """
    with postgres.connect() as connection:

        def names() -> list[str]:
            rows = connection.execute(
                "SELECT application_name FROM pg_stat_activity WHERE usename = %s ORDER BY 1", [OPERATOR]
            )
            return [row[0] for row in rows.fetchall()]

        await until(lambda: not names())
        yield names


async def until(condition: Callable[[], bool], limit: float = 10.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def backend(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> object:
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return row[0]


async def test_a_connection_is_used_again(servers: Servers, address: ServerAddress) -> None:
    async with servers.connection(address) as connection:
        first = await backend(connection)
    async with servers.connection(address) as connection:
        assert await backend(connection) == first


async def test_a_server_never_gets_more_connections_than_it_allows(
    servers: Servers, address: ServerAddress, sessions: Callable[[], list[str]]
) -> None:
    most = 0

    def within_its_limit() -> bool:
        nonlocal most
        count = len(sessions())
        if count <= address.max_connections:
            most = max(most, count)
        return count <= address.max_connections

    async def use(number: int) -> None:
        database = (DATABASE, "fence_other")[number % 2]
        async with servers.connection(address, database=database) as connection:
            await connection.execute("SELECT pg_sleep(0.02)")
            # A session that was closed to make room goes by itself; one too many stays, for all that are open do.
            await until(within_its_limit)

    await asyncio.gather(*(use(number) for number in range(20)))
    assert most > 1


async def test_a_session_that_the_server_ended_is_not_lent_again(
    servers: Servers, address: ServerAddress, postgres: PostgresServer, sessions: Callable[[], list[str]]
) -> None:
    async with servers.connection(address) as connection:
        first = await backend(connection)
    with postgres.connect() as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
    await until(lambda: not sessions())
    async with servers.connection(address) as connection:
        assert await backend(connection) != first


async def test_what_a_pass_left_open_is_rolled_back(servers: Servers, address: ServerAddress) -> None:
    async with servers.connection(address) as connection:
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE public.left_open (x int)")
    async with servers.connection(address) as connection:
        row = await (await connection.execute("SELECT to_regclass('public.left_open')")).fetchone()
    assert row == (None,)


async def test_a_cancelled_pass_leaves_a_pool_that_works(servers: Servers, address: ServerAddress) -> None:
    async def hang() -> None:
        async with servers.connection(address) as connection:
            await connection.execute("SELECT pg_sleep(60)")

    for _ in range(address.max_connections + 1):
        task = asyncio.create_task(hang())
        await asyncio.sleep(0.1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert servers.busy() == 0
    async with servers.connection(address) as connection:
        assert await backend(connection)


async def test_a_changed_password_starts_a_new_pool(servers: Servers, address: ServerAddress) -> None:
    async with servers.connection(address):
        pass
    with pytest.raises(AuthenticationFailed):
        async with servers.connection(replace(address, password="wrong")):
            pass
    async with servers.connection(address) as connection:
        assert await backend(connection)


@pytest.mark.parametrize(
    ("change", "expected", "reason", "words"),
    [
        ({"password": "wrong"}, AuthenticationFailed, "AuthenticationFailed", "refuses the operator's login"),
        ({"user": "nobody_here"}, AuthenticationFailed, "AuthenticationFailed", "refuses the operator's login"),
        ({"database": "none_such"}, DatabaseMissing, "DatabaseMissing", "no such database"),
        ({"port": 1}, ServerUnreachable, "NotReachable", "nothing listens there"),
        ({"host": "none.invalid"}, ServerUnreachable, "NotReachable", "host name is not known"),
        ({"ca_pem": None}, TlsFailed, "TlsFailed", "trusted TLS connection"),
        ({"sslmode": "disable"}, AuthenticationFailed, "AuthenticationFailed", "refuses the operator's login"),
    ],
)
async def test_each_way_not_to_connect_is_told_from_the_others(  # noqa: PLR0917
    servers: Servers,
    address: ServerAddress,
    change: dict[str, object],
    expected: type[DatabaseError],
    reason: str,
    words: str,
) -> None:
    wrong = replace(address, **change)
    with pytest.raises(expected, match=words) as caught:
        async with servers.connection(wrong):
            pass
    assert caught.value.failure.reason == reason
    assert address.password not in str(caught.value)


def test_a_password_is_not_shown(address: ServerAddress) -> None:
    assert address.password not in repr(address)
    assert "PRIVATE" not in repr(address)


async def test_statements_that_fail_are_told_apart(servers: Servers, address: ServerAddress) -> None:
    found: dict[str, FailureKind] = {}
    for name, statement in {
        "missing": "SELECT 1 FROM public.none_such",
        "privilege": "CREATE ROLE x SUPERUSER",
        "exists": f"CREATE ROLE {OPERATOR}",
        "syntax": "SELEKT",
    }.items():
        async with servers.connection(address) as connection:
            with pytest.raises(psycopg.Error) as caught:
                await connection.execute(statement)
        found[name] = classify(caught.value).kind
    assert found == {
        "missing": FailureKind.MISSING,
        "privilege": FailureKind.PRIVILEGE,
        "exists": FailureKind.TRANSIENT,
        "syntax": FailureKind.PERMANENT,
    }


async def test_a_new_leader_ends_the_sessions_of_earlier_ones_before_it_works(
    address: ServerAddress, sessions: Callable[[], list[str]]
) -> None:
    earlier = Servers(application_name("pod-a", 1))
    later = Servers(application_name("pod-b", 2), greet=lambda connection: end_earlier_sessions(connection, 2))
    try:
        async with earlier.connection(address) as stopped:
            await stopped.execute("BEGIN")
            async with later.connection(address):
                assert sessions() == ["tenantry:pod-b:2"]
            with pytest.raises(psycopg.OperationalError):
                await stopped.execute("SELECT 1")
    finally:
        await earlier.close()
        await later.close()


async def test_a_leader_of_yesterday_does_not_end_the_sessions_of_todays(
    address: ServerAddress, sessions: Callable[[], list[str]]
) -> None:
    today = Servers(application_name("pod-b", 2))
    yesterday = Servers(application_name("pod-a", 1), greet=lambda connection: end_earlier_sessions(connection, 1))
    try:
        async with today.connection(address) as connection, yesterday.connection(address):
            assert sorted(sessions()) == ["tenantry:pod-a:1", "tenantry:pod-b:2"]
            assert await backend(connection)
    finally:
        await today.close()
        await yesterday.close()


async def test_a_guard_prevents_a_connection(address: ServerAddress) -> None:
    class NotNow(Exception):
        pass

    def guard() -> None:
        raise NotNow

    servers = Servers("tenantry:pod:1", guard=guard)
    with pytest.raises(NotNow):
        async with servers.connection(address):
            pass
    await servers.close()


@pytest.fixture
async def fence(servers: Servers, address: ServerAddress) -> AsyncIterator[Fence]:
    fence = fence_of(servers, address)
    yield fence
    await fence.close()


def fence_of(servers: Servers, address: ServerAddress) -> Fence:
    async def registry() -> ServerAddress:
        return address

    return Fence(servers, registry)


async def test_a_lock_is_held_by_one_process_at_a_time(fence: Fence, address: ServerAddress) -> None:
    others = Servers(application_name("pod-b", 2))
    other = fence_of(others, address)
    try:
        async with fence.hold("acme"):
            with pytest.raises(FenceError, match="held by another"):
                async with other.hold("acme"):
                    pass
            async with other.hold("globex"):
                pass
        async with other.hold("acme"):
            pass
    finally:
        await other.close()
        await others.close()


async def test_losing_the_lock_ends_the_pass(
    fence: Fence, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantry_operator.engine.fence.PULSE", 0.05)
    begun = asyncio.Event()

    async def run() -> None:
        async with fence.hold("acme"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await begun.wait()
    with postgres.connect() as administrator:
        administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [OPERATOR])
    # No waiting with a time limit around the task itself: that would cancel it, which is what is to be shown.
    done, _ = await asyncio.wait({task}, timeout=10)
    assert done, "the pass is ended"
    with pytest.raises(FenceError, match="was lost"):
        await task
    async with fence.hold("acme"):
        pass


async def test_a_pass_that_is_cancelled_by_others_stays_cancelled(fence: Fence) -> None:
    begun = asyncio.Event()

    async def run() -> None:
        async with fence.hold("acme"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with fence.hold("acme"):
        pass


async def test_the_fence_takes_one_of_the_servers_places(
    servers: Servers, fence: Fence, address: ServerAddress, sessions: Callable[[], list[str]]
) -> None:
    async with fence.hold("acme"):
        most = 0

        async def use() -> None:
            nonlocal most
            async with servers.connection(address) as connection:
                await connection.execute("SELECT pg_sleep(0.02)")
                most = max(most, len(sessions()))

        await asyncio.gather(*(use() for _ in range(10)))
    assert most == address.max_connections
