"""A real Postgres server for tests: a folder of its own, a loopback port, TLS.

The programs are Debian's, or those of the major version that `TENANTRY_TEST_POSTGRES` names.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from tenantry_cluster.certificates import Authority
from tenantry_operator.cli.db_preparation import Wanted, prepare, verifier_of
from tenantry_testing.postgres_versions import programs_of

SUPERUSER = "postgres"
VERSION = "TENANTRY_TEST_POSTGRES"
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class PostgresError(Exception):
    """The server could not be had; the message says what to do, or ends with the server's log."""


@dataclass(frozen=True)
class Login:
    """A role that may log in."""

    user: str
    password: str = field(repr=False)


class PostgresServer:
    """One server, from construction to `close`; a context manager. `stop` and `start` play an outage.

    It has TLS with a certificate for `localhost` and 127.0.0.1 from the CA in `ca_file`, 200 connections, and no
    fsync. When the tests run as root the server runs as the user `postgres`.
    """

    host = "127.0.0.1"

    def __init__(self, *, settings: Sequence[str] = (), major: int | None = None) -> None:
        self.bin_dir = _binaries_of(major) if major else find_binaries()
        self.port = free_port()
        self.superuser = Login(SUPERUSER, secrets.token_urlsafe(16))
        self.folder = Path(tempfile.mkdtemp(prefix="tenantry-postgres-"))
        self.ca_file = self.folder / "ca.crt"
        self.log_file = self.folder / "log"
        self._settings = tuple(settings)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and wait until it answers; nothing when it runs. Raises PostgresError with its log."""
        if self._process is not None:
            return
        command = [f"{self.bin_dir}/postgres", "-D", f"{self._data}", "-p", f"{self.port}", *self._options()]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(as_server_user(command), stdout=log, stderr=log)
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server as `pg_ctl stop -m fast` does: sessions are ended, nothing is lost."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres", login: Login | None = None) -> str:
        """Return a URL with verified TLS; without a login, the superuser's."""
        who = login or self.superuser
        user = f"{quote(who.user)}:{quote(who.password)}"
        return f"postgresql://{user}@{self.host}:{self.port}/{database}?sslmode=verify-full&sslrootcert={self.ca_file}"

    def connect(self, database: str = "postgres", login: Login | None = None) -> psycopg.Connection[Any]:
        """Open a session in autocommit mode; without a login, the superuser's. The caller closes it."""
        return psycopg.connect(self.url(database, login), autocommit=True)

    def version(self) -> str:
        """What the server says it is, as 15.18."""
        with self.connect() as connection:
            return (connection.info.parameter_status("server_version") or "").partition(" ")[0]

    def make_operator(
        self, name: str = "tenantry_operator", *, databases: Sequence[str] = ("app", "tenantry")
    ) -> Login:
        """Make the login that the operator is given in production, and the databases that it owns; not twice.

        It may make roles and databases and end sessions, and is no superuser. PUBLIC's rights are left as Postgres
        ships them: closing them is the operator's work.
        """
        login = Login(name, secrets.token_urlsafe(16))
        with self.connect() as connection:
            verifier = verifier_of(connection, name, login.password)
            prepare(connection, Wanted(name, tuple(databases)), verifier=verifier)
        return login

    def make_database(self, name: str, *, owner: str) -> None:
        """Make an empty database."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
        with self.connect() as connection:
            connection.execute(statement)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self.superuser.password)
        Authority.in_folder(self.folder).issue("server", SUPERUSER, hosts=("localhost", self.host))
        self._give_to_server_user()
        command = [f"{self.bin_dir}/initdb", "-D", f"{self._data}", "-U", SUPERUSER, f"--pwfile={password_file}"]
        options = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]
        made = subprocess.run(as_server_user([*command, *options]), capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise PostgresError(f"initdb failed: {made.stderr.strip()}")
        # Only TLS comes in over the network, as on a server that deserves tenants.
        (self._data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")

    def _options(self) -> list[str]:
        settings = (
            f"listen_addresses={self.host}",
            f"unix_socket_directories={self.folder}",
            "max_connections=200",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            *self.tls_settings(),
            *self._settings,
        )
        return [word for setting in settings for word in ("-c", setting)]

    def tls_settings(self) -> tuple[str, ...]:
        """Return the settings that give a server this one's certificate."""
        return "ssl=on", f"ssl_cert_file={self.folder / 'server.crt'}", f"ssl_key_file={self.folder / 'server.key'}"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            process = self._process
            if process is None or process.poll() is not None:
                self._process = None
                raise PostgresError(f"the server ended at once:\n{self.log_file.read_text()[-2000:]}")
            try:
                self.connect().close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresError(f"no answer in {START_SECONDS:.0f} s:\n{self.log_file.read_text()}") from error
                time.sleep(0.05)
            else:
                return

    def _give_to_server_user(self) -> None:
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, SUPERUSER, SUPERUSER)


def as_server_user(command: Sequence[str]) -> list[str]:
    """Return the command so that it ends when the tests do, and is not run as root, which Postgres refuses."""
    drop = ("--reuid", SUPERUSER, "--regid", SUPERUSER, "--clear-groups") if os.geteuid() == 0 else ()
    return ["setpriv", "--pdeathsig", "QUIT", *drop, "--", *command]


def find_binaries() -> Path:
    """Return the folder of the programs of the version asked for, or else of Debian's newest; install its package."""
    if version := os.environ.get(VERSION):
        return _binaries_of(int(version))
    if (found := _newest_binaries()) is None:
        from tenantry_cluster import packages  # noqa: PLC0415  (only where something is missing)

        packages.ensure(["postgresql"])
        found = _newest_binaries()
    if found is None:
        raise PostgresError("no Postgres server under /usr/lib/postgresql: install the Debian package postgresql")
    return found


def _binaries_of(major: int) -> Path:
    debians = Path(f"/usr/lib/postgresql/{major}/bin")
    return debians if (debians / "postgres").exists() else programs_of(major)


def _newest_binaries() -> Path | None:
    programs = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    versions = {int(path.parts[-3]): path.parent for path in programs if path.parts[-3].isdigit()}
    return versions[max(versions)] if versions else None


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((PostgresServer.host, 0))
        port: int = probe.getsockname()[1]
        return port
