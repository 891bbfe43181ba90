"""Sessions with a server, and the environment by which Postgres' own programs have theirs."""

import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from tenantry_operator.backup.orders import BackupError, Server
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.model.names import OWNER

Connection = psycopg.Connection[Any]
Say = Callable[[str], None]

APPLICATION_NAME: Final = "tenantry-backup"
LOCK_SPACE: Final = 0x74627570
CONNECT_SECONDS: Final = 10


@dataclass(frozen=True)
class Login:
    """The mounted Secrets of one server: `username`, `password`, and `ca.crt` where there is one."""

    folder: Path

    def variables(self, server: Server, database: str) -> dict[str, str]:
        """Return libpq's variables. Everybody on a machine sees a command line, nobody an environment."""
        try:
            user, password = ((self.folder / name).read_text() for name in ("username", "password"))
        except OSError as error:
            raise BackupError(f"the Secret of DatabaseServer {server.name} cannot be read: {error}") from error
        variables = {
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGDATABASE": database,
            "PGUSER": user,
            "PGPASSWORD": password,
            "PGSSLMODE": server.sslmode,
            "PGAPPNAME": APPLICATION_NAME,
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            # However the login is set: a dump takes as long as it takes, and hides no row.
            # And nothing that somebody put into another schema stands for what is Postgres' own.
            "PGOPTIONS": "-c search_path=pg_catalog,pg_temp "
            "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=60s "
            # The lock of a pod whose node died is free within two minutes, and not within two hours.
            "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=6",
        }
        authority = self.folder / "ca.crt"
        if authority.exists():
            variables["PGSSLROOTCERT"] = str(authority)
        elif server.sslmode == "verify-full":
            variables["PGSSLROOTCERT"] = ssl.get_default_verify_paths().cafile or "system"
        return variables


@dataclass(frozen=True)
class Reach:
    """A server and how one logs in to it."""

    server: Server
    login: Login

    def environment(self, database: str) -> Mapping[str, str]:
        """Return the environment of a program: ours without any PG variable, and the server's."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return ours | self.login.variables(self.server, database)

    @contextmanager
    def session(self, database: str | None = None, *, autocommit: bool = True) -> Iterator[Connection]:
        """Connect. Raises BackupError with what the server said."""
        name = database or self.server.database
        variables = self.login.variables(self.server, name)
        given = {
            "host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD",
            "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "application_name": "PGAPPNAME",
            "connect_timeout": "PGCONNECT_TIMEOUT", "options": "PGOPTIONS",
        }  # fmt: skip
        words = {word: variables[name] for word, name in given.items() if name in variables}
        try:
            connection = psycopg.connect(autocommit=autocommit, **words)  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise BackupError(f"DatabaseServer {self.server.name}, database {name}: {told_of(error)}") from error
        with connection:
            yield connection


def lock_number(uid: str) -> int:
    return crc32(uid.encode()) - 2**31


@contextmanager
def only_one(connection: Connection, number: int) -> Iterator[None]:
    """Hold a lock that this session's end frees; two pods of one Job may run at once. Raises BackupError."""
    try:
        # The session of a pod that was killed may last a moment longer.
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_SPACE, number))
    except psycopg.errors.LockNotAvailable as error:
        raise BackupError("another pod is at work for this Tenant; this one makes room") from error
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK_SPACE, number))


@contextmanager
def borrowed(connection: Connection, roles: Iterable[str]) -> Iterator[None]:
    """Be a member of the roles for a while: each session reads every membership at each change of a role.

    What an attempt that was killed left borrowed is given back with the rest.
    """
    wanted = [sql.Identifier(role) for role in sorted({*roles} - {OWNER})]
    for role in wanted:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    try:
        yield
    finally:
        if not connection.closed and connection.info.transaction_status is not TransactionStatus.INERROR:
            for role in wanted:
                connection.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(role))


def marker_of(connection: Connection, owner: str) -> str | None:
    """Return the comment on the owner role; None when there is neither."""
    query = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    row = connection.execute(query, (owner,)).fetchone()
    return None if row is None else row[0]
