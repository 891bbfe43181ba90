"""Connections to the databases that this service may reach, by the Secrets that are mounted for it.

One directory for each DatabaseServer holds the keys of a Service Binding: `host port username password database`, and
where they apply `sslmode`, `ca.crt` and `registry-database`. A server with many tenants has further logins, `username-2
password-2` and so on, and the registry says by which of them a tenant is reached. A Secret that is replaced is taken up
without a restart: new work gets connections by the new one, and work in flight ends on the old.

A tenant may have a database of its own, and there may be thousands: connections are kept to so many of them at once as
the limits say, and the one that was used least recently makes room for the next.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tenantry_kit.mounted import RECHECK_SECONDS, MountedDirectory, fingerprint
from tenantry_kit.problems import DATABASE_UNAVAILABLE, OVERLOADED, TENANT_UNAVAILABLE, Problem

NEEDED_KEYS = ("host", "port", "database")

# A failed attempt to connect carries no SQLSTATE, only the server's words.
_CLOSED = re.compile(r'permission denied for database|database ".*" (does not exist|is not currently accepting)')


class LoginMissing(Exception):
    """There is no complete Secret for a DatabaseServer: it is not mounted, or not filled yet."""


@dataclass(frozen=True)
class ServerLogin:
    """How this service logs in to one DatabaseServer."""

    server: str
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    database: str
    sslmode: str
    ca_file: Path | None
    registry_database: str | None


@dataclass(frozen=True)
class PoolLimits:
    """How many connections there are to one database, and how long to wait (seconds)."""

    size: int = 10
    wait: float = 5.0
    connect_timeout: int = 5
    apart: int = 16
    """To how many databases that are one tenant's alone there are connections at once."""
    apart_size: int = 2


def read_login(directory: Path, content: Mapping[str, str], number: int = 1) -> ServerLogin:
    """Return a login that a mounted Secret holds. Raises LoginMissing when it is incomplete, or has no such login."""
    values = {name: content[name].strip() for name in content if not name.startswith("password")}
    username, password = ("username", "password") if number == 1 else (f"username-{number}", f"password-{number}")
    missing = [name for name in (*NEEDED_KEYS, username, password) if not content.get(name)]
    if missing or not values["port"].isdigit():
        raise LoginMissing(f"the Secret for DatabaseServer {directory.name} lacks {', '.join(missing) or 'a port'}")
    return ServerLogin(
        server=directory.name,
        host=values["host"],
        port=int(values["port"]),
        username=values[username],
        password=content[password],
        database=values["database"],
        sslmode=values.get("sslmode", "verify-full"),
        ca_file=directory / "ca.crt" if content.get("ca.crt") else None,
        registry_database=values.get("registry-database"),
    )


@dataclass
class _Pool:
    """The connections to one database by one version of a Secret."""

    engine: AsyncEngine
    version: str
    apart: bool = False
    """Whether the database is one tenant's alone."""
    users: int = 0
    retired: bool = False


class Databases:
    """Engines by server, database and login, made at first use. Close it when the service ends."""

    def __init__(
        self,
        directory: Path,
        limits: PoolLimits,
        *,
        application_name: str,
        monotonic: Callable[[], float] = time.monotonic,
        recheck: float = RECHECK_SECONDS,
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._application_name = application_name
        self._monotonic = monotonic
        self._recheck = recheck
        self._mounts: dict[str, MountedDirectory] = {}
        self._pools: OrderedDict[tuple[str, str, int], _Pool] = OrderedDict()
        self._turns = asyncio.Semaphore(limits.apart)
        self._replaced: list[_Pool] = []

    def servers(self) -> tuple[str, ...]:
        """Return the names of the DatabaseServers that a Secret is mounted for."""
        if not self._directory.is_dir():
            return ()
        entries = (path for path in self._directory.iterdir() if path.is_dir() and not path.name.startswith("."))
        return tuple(sorted(path.name for path in entries))

    def login(self, server: str) -> ServerLogin:
        """Return the current login for a server. Raises LoginMissing."""
        return read_login(self._directory / server, self._mount(server).read())

    @asynccontextmanager
    async def connection(
        self, server: str, database: str | None = None, *, login: int = 1
    ) -> AsyncIterator[AsyncConnection]:
        """Give a connection in autocommit mode to a database of a server; without one, to the Secret's own.

        `login` is which of the service's logins is to be used, for tenants are members of one each.
        Raises Problem(DATABASE_UNAVAILABLE) or Problem(OVERLOADED) when there is none to be had, and
        Problem(TENANT_UNAVAILABLE) when a database that is one tenant's alone lets this service not in.
        """
        async with self._lent_pool(server, database, login) as pool:
            connection = await self._connect(pool, server)
            try:
                yield connection
            finally:
                if pool.retired:
                    await connection.invalidate()
                await connection.close()

    async def forget_idle(self, server: str, database: str | None = None, *, login: int = 1) -> None:
        """Close the idle connections to a database, after one of them turned out to be dead."""
        async with self._lent_pool(server, database, login) as pool:
            await pool.engine.dispose()

    async def close(self) -> None:
        """Close every connection."""
        pools, self._pools = list(self._pools.values()), OrderedDict()
        for pool in pools:
            await self._retire(pool)

    async def _connect(self, pool: _Pool, server: str) -> AsyncConnection:
        try:
            return await pool.engine.connect()
        except PoolTimeout as error:
            raise Problem(OVERLOADED) from error
        except DBAPIError as error:
            if pool.apart and _CLOSED.search(str(error.orig)):
                raise Problem(TENANT_UNAVAILABLE) from error
            if isinstance(error.orig, psycopg.OperationalError):
                # Perhaps the password was replaced a moment ago: the next attempt reads the Secret anew.
                self._mount(server).read(now=True)
            raise Problem(DATABASE_UNAVAILABLE) from error

    @asynccontextmanager
    async def _lent_pool(self, server: str, database: str | None, number: int) -> AsyncIterator[_Pool]:
        """Lend the pool of a database; one that is lent is not closed to make room."""
        login, version = self._read(server, number)
        key = (server, database or login.database, number)
        apart = key[1] not in (login.database, login.registry_database)
        async with self._turn(apart):
            pool = self._current_pool(key, login, version=version, apart=apart)
            pool.users += 1
            try:
                await self._make_room()
                yield pool
            finally:
                pool.users -= 1

    @asynccontextmanager
    async def _turn(self, apart: bool) -> AsyncIterator[None]:
        """Wait until one more database of a tenant's own may be in use. Raises Problem(OVERLOADED)."""
        if not apart:
            yield
            return
        try:
            async with asyncio.timeout(self._limits.wait):
                await self._turns.acquire()
        except TimeoutError as error:
            raise Problem(OVERLOADED) from error
        try:
            yield
        finally:
            self._turns.release()

    def _read(self, server: str, number: int) -> tuple[ServerLogin, str]:
        """Return the login of a server, and what is another text once its Secret is another one."""
        mount = self._mount(server)
        content = mount.read()
        try:
            return read_login(mount.directory, content, number), fingerprint(content)
        except LoginMissing as error:
            raise Problem(DATABASE_UNAVAILABLE) from error

    def _current_pool(self, key: tuple[str, str, int], login: ServerLogin, *, version: str, apart: bool) -> _Pool:
        pool = self._pools.get(key)
        if pool is None or pool.version != version:
            if pool is not None:
                self._replaced.append(pool)
            self._pools[key] = pool = _Pool(self._make_engine(login, key[1], apart=apart), version, apart)
        self._pools.move_to_end(key)
        return pool

    async def _make_room(self) -> None:
        """Retire what was replaced, and the databases of tenants that were used least recently beyond the limit."""
        apart = [key for key, pool in self._pools.items() if pool.apart]
        idle = [key for key in apart if not self._pools[key].users]
        # At most so many are lent as may be kept, so that enough of them are idle.
        leaving = [self._pools.pop(key) for key in idle[: max(0, len(apart) - self._limits.apart)]]
        replaced, self._replaced = self._replaced, []
        for pool in (*replaced, *leaving):
            await self._retire(pool)

    @staticmethod
    async def _retire(pool: _Pool) -> None:
        pool.retired = True
        await pool.engine.dispose()

    def _mount(self, server: str) -> MountedDirectory:
        if server not in self._mounts:
            self._mounts[server] = MountedDirectory(self._directory / server, self._monotonic, recheck=self._recheck)
        return self._mounts[server]

    def _make_engine(self, login: ServerLogin, database: str, *, apart: bool) -> AsyncEngine:
        url = URL.create(
            "postgresql+psycopg",
            username=login.username,
            password=login.password,
            host=login.host,
            port=login.port,
            database=database,
        )
        arguments: dict[str, object] = {
            "sslmode": login.sslmode,
            "connect_timeout": self._limits.connect_timeout,
            "application_name": self._application_name,
            # A statement prepared for one tenant would be kept for every tenant of the pool, and poolers refuse them.
            "prepare_threshold": None,
        }
        if login.ca_file is not None:
            arguments["sslrootcert"] = str(login.ca_file)
        return create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",  # a unit of work sends its own BEGIN, with what belongs to it
            pool_size=self._limits.apart_size if apart else self._limits.size,
            max_overflow=0,
            pool_timeout=self._limits.wait,
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args=arguments,
            use_native_hstore=False,
        )
