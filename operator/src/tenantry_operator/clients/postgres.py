"""Connections to database servers: few, reused, and with an error that says what is wrong.

psycopg_pool is not used: it reports every failed connection as a time-out.
"""

import asyncio
import hashlib
import logging
import select
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from tenantry_operator.clients.sqlstate import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseError,
    DatabaseMissing,
    Failure,
    FailureKind,
    ServerUnreachable,
    TlsFailed,
    connect_error,
)
from tenantry_operator.model.endpoints import Endpoints

__all__ = [
    "ONE_MOMENT",
    "AuthenticationFailed",
    "Connection",
    "ConnectionRefused",
    "DatabaseError",
    "DatabaseMissing",
    "ServerAddress",
    "ServerUnreachable",
    "Servers",
    "TlsFailed",
]

logger = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[TupleRow]
Greeting = Callable[[Connection], Awaitable[object]]

ONE_MOMENT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off"
"""Begins a look at the catalogue. Compiling such a query takes longer than running it."""

CONNECT_TIMEOUT = 5
"""Seconds for one attempt to connect."""

WAIT_LIMIT = 30.0
"""Seconds to wait for one of the server's connections to come free."""

IDLE_LIMIT = 60.0
"""Seconds after which an idle connection is closed rather than reused."""

APPLICATION_NAME_LIMIT = 63


@dataclass(frozen=True)
class ServerAddress:
    """Everything that is needed to log in to one database server."""

    name: str
    """The DatabaseServer; also the name under which `Servers.forget` knows it."""
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str = "verify-full"
    ca_pem: str | None = field(default=None, repr=False)
    max_connections: int = 8
    host_address: str | None = None
    """An IP address to connect to in the place of the host's; the certificate is still checked for the host."""
    endpoints: Endpoints = field(default_factory=Endpoints)
    """Where tenants reach the server; nobody logs in there from here."""


@dataclass
class _Idle:
    connection: Connection
    database: str
    since: float


class _Pool:
    """The connections to one server, over all of its databases."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self.free = asyncio.Semaphore(address.max_connections)
        self.visits = asyncio.Semaphore(max(1, address.max_connections // 2))
        self.idle: list[_Idle] = []
        self.busy = 0
        self.closed = False
        self.greeting = asyncio.Lock()
        self.greeted = False


class Servers:
    """Connections to all database servers, at most `ServerAddress.max_connections` each, over all databases.

    At most half of them go to other databases than the address names, and these are not kept: a tenant may have one of
    its own, and an idle session would keep it from being renamed or copied.

    A changed address (a new password, another host) starts a new pool; connections in use finish their work first.
    ``guard`` is called before each lending and may raise to prevent it. ``greet`` is run once on the first connection
    to a server, before that server is used.
    """

    def __init__(
        self, application_name: str, *, guard: Callable[[], None] | None = None, greet: Greeting | None = None
    ) -> None:
        self._application_name = application_name[:APPLICATION_NAME_LIMIT]
        self._guard = guard
        self._greet = greet
        self.lost: Callable[[ServerAddress], None] = lambda _address: None
        """Told when no connection could be had, for a reason that may pass."""
        self._pools: dict[str, _Pool] = {}
        self._certificates: tempfile.TemporaryDirectory[str] | None = None

    @asynccontextmanager
    async def connection(self, address: ServerAddress, *, database: str | None = None) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode; group statements by ``connection.transaction()``.

        What is still open at the end is rolled back. Raises DatabaseError when no connection can be had; errors of
        statements are psycopg's own, see `sqlstate.classify`.
        """
        name = database or address.database
        async with self._place(address, visits=name != address.database) as pool:
            connection = await self._open(pool, name)
            try:
                yield connection
            finally:
                await self._give_back(pool, connection, database=name)

    @asynccontextmanager
    async def dedicated(self, address: ServerAddress, *, database: str | None = None) -> AsyncIterator[Connection]:
        """Lend a connection that is made for this use and closed after it. Raises DatabaseError."""
        async with self._place(address) as pool:
            connection = await self._connect(address, database or address.database)
            try:
                await self._greeted(pool, connection)
                yield connection
            finally:
                await connection.close()

    @asynccontextmanager
    async def visit(self, address: ServerAddress, who: ServerAddress) -> AsyncIterator[Connection]:
        """Lend a connection of another login, which takes one of the server's places. Raises DatabaseError."""
        async with self._place(address):
            connection = await self._connect(who, who.database)
            try:
                yield connection
            finally:
                await connection.close()

    async def forget(self, name: str) -> None:
        """Close what is idle to a server that is no longer wanted."""
        pool = self._pools.pop(name, None)
        if pool is not None:
            await _retire(pool)

    async def close(self) -> None:
        for name in list(self._pools):
            await self.forget(name)
        if self._certificates is not None:
            self._certificates.cleanup()
            self._certificates = None

    def busy(self) -> int:
        """Return how many connections are lent out."""
        return sum(pool.busy for pool in self._pools.values())

    def _pool(self, address: ServerAddress) -> _Pool:
        pool = self._pools.get(address.name)
        if pool is not None and _same_server(pool.address, address):
            return pool
        if pool is not None:
            pool.closed = True
            _close_now(pool.idle)
        self._pools[address.name] = _Pool(address)
        return self._pools[address.name]

    @asynccontextmanager
    async def _place(self, address: ServerAddress, *, visits: bool = False) -> AsyncIterator[_Pool]:
        """Hold one of the server's places; who visits another database than the address names waits for his turn."""
        if self._guard is not None:
            self._guard()
        pool = self._pool(address)
        turns = (pool.visits, pool.free) if visits else (pool.free,)
        async with AsyncExitStack() as held:
            for turn in turns:
                await _acquire(pool, turn)
                held.callback(turn.release)
            pool.busy += 1
            try:
                yield pool
            finally:
                pool.busy -= 1

    async def _open(self, pool: _Pool, database: str) -> Connection:
        connection = _reusable(pool, database)
        if connection is None:
            _make_room(pool)
            connection = await self._connect(pool.address, database)
        await self._greeted(pool, connection)
        return connection

    async def _greeted(self, pool: _Pool, connection: Connection) -> None:
        if self._greet is None or pool.greeted:
            return
        try:
            async with pool.greeting:
                if not pool.greeted:
                    await self._greet(connection)
                    pool.greeted = True
        except psycopg.Error as error:
            await connection.close()
            raise connect_error(error, where=pool.address.name) from error
        except BaseException:
            await connection.close()
            raise

    async def _give_back(self, pool: _Pool, connection: Connection, *, database: str) -> None:
        with suppress(psycopg.Error):
            if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                await connection.rollback()
        healthy = connection.info.transaction_status is TransactionStatus.IDLE and not connection.closed
        if healthy and not pool.closed and database == pool.address.database:
            pool.idle.append(_Idle(connection, database, asyncio.get_running_loop().time()))
        else:
            await connection.close()

    async def _connect(self, address: ServerAddress, database: str) -> Connection:
        parameters: dict[str, Any] = {
            "host": address.host,
            "hostaddr": address.host_address,
            "port": address.port,
            "dbname": database,
            "user": address.user,
            "password": address.password,
            "sslmode": address.sslmode,
            "application_name": self._application_name,
            "connect_timeout": CONNECT_TIMEOUT,
            "gssencmode": "disable",
            "client_encoding": "UTF8",
            # Functions and operators that somebody left in `public` would be run as us.
            "options": "-c search_path=pg_catalog",
            # A server that vanished without a word is noticed in about ten seconds.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            **self._trust(address),
        }
        try:
            return await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
        except (psycopg.Error, OSError) as error:
            where = f"{address.host}:{address.port}, database {database}"
            failed = connect_error(error, where=where)
            if failed.failure.transient:
                self.lost(address)
            raise failed from error

    def _trust(self, address: ServerAddress) -> dict[str, str]:
        if address.sslmode == "disable":
            return {}
        if address.ca_pem is not None:
            return {"sslrootcert": str(self._certificate_file(address.ca_pem))}
        if address.sslmode == "verify-full":
            return {"sslrootcert": ssl.get_default_verify_paths().cafile or "system"}
        return {}

    def _certificate_file(self, pem: str) -> Path:
        if self._certificates is None:
            self._certificates = tempfile.TemporaryDirectory(prefix="tenantry-ca-")
        path = Path(self._certificates.name) / f"{hashlib.sha256(pem.encode()).hexdigest()}.crt"
        if not path.exists():
            path.write_text(pem)
        return path


def _same_server(one: ServerAddress, other: ServerAddress) -> bool:
    """Say whether both log in to the same server in the same way; the registry is another database of it."""
    return replace(one, database="", endpoints=Endpoints()) == replace(other, database="", endpoints=Endpoints())


async def _acquire(pool: _Pool, turn: asyncio.Semaphore) -> None:
    try:
        async with asyncio.timeout(WAIT_LIMIT):
            await turn.acquire()
    except TimeoutError as error:
        message = f"all {pool.address.max_connections} connections to {pool.address.name} are in use"
        raise ServerUnreachable(Failure(FailureKind.TRANSIENT, "ConnectionsInUse", message)) from error


def _reusable(pool: _Pool, database: str) -> Connection | None:
    now = asyncio.get_running_loop().time()
    for idle in reversed(pool.idle.copy()):
        if idle.database != database:
            continue
        pool.idle.remove(idle)
        if now - idle.since < IDLE_LIMIT and _alive(idle.connection):
            return idle.connection
        _close_now([idle])
    return None


def _make_room(pool: _Pool) -> None:
    """Close the connection that is idle for longest when another one would break the server's limit."""
    while pool.idle and len(pool.idle) + pool.busy > pool.address.max_connections:
        _close_now([pool.idle.pop(0)])


def _alive(connection: Connection) -> bool:
    """Say whether the server still holds its end. Costs no round trip.

    An idle server says nothing, but its farewell; that and a closed socket read as ready.
    """
    poller = select.poll()
    try:
        poller.register(connection.pgconn.socket, select.POLLIN)
        return not poller.poll(0)
    except (psycopg.Error, OSError):
        return False


def _close_now(idle: list[_Idle]) -> None:
    """Close without waiting; finishing an idle connection sends one packet and blocks on nothing."""
    for item in idle:
        item.connection.pgconn.finish()
    idle.clear()


async def _retire(pool: _Pool) -> None:
    pool.closed = True
    for idle in pool.idle:
        await idle.connection.close()
    pool.idle.clear()
