"""What stands beside a Postgres server: a streaming replica, and PgBouncer from Debian's package."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tenantry_cluster import packages
from tenantry_testing.postgres import (
    START_SECONDS,
    STOP_SECONDS,
    PostgresError,
    PostgresServer,
    as_server_user,
    free_port,
)

LOOKUP = """
CREATE SCHEMA IF NOT EXISTS pgbouncer;
CREATE OR REPLACE FUNCTION pgbouncer.verifier_of(wanted text) RETURNS TABLE (name text, verifier text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
AS 'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = wanted AND rolcanlogin AND NOT rolsuper';
REVOKE ALL ON FUNCTION pgbouncer.verifier_of(text) FROM PUBLIC;
DO $$ BEGIN
    IF to_regrole('pgbouncer') IS NULL THEN CREATE ROLE pgbouncer LOGIN PASSWORD 'lookup'; END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO pgbouncer', current_database());
END $$;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
GRANT EXECUTE ON FUNCTION pgbouncer.verifier_of(text) TO pgbouncer;
"""
"""What an administrator gives PgBouncer, so that tenants' logins come through by their own passwords."""

NO_LOOKUP = "DROP SCHEMA pgbouncer CASCADE; DROP OWNED BY pgbouncer; DROP ROLE pgbouncer"


@contextmanager
def replica_of(primary: PostgresServer) -> Iterator[int]:
    """Give the port of a replica that streams from the server, with its own certificate; it ends with the block."""
    access = primary.folder / "data" / "pg_hba.conf"
    access.write_text(f"hostssl replication all 127.0.0.1/32 scram-sha-256\n{access.read_text()}")
    with primary.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    with _folder("replica") as folder:
        port = free_port()
        login = {"PGPASSWORD": primary.superuser.password, "PGSSLMODE": "verify-full"}
        trust = {"PGSSLROOTCERT": str(primary.ca_file), "HOME": str(folder)}
        source = f"host={primary.host} port={primary.port} user={primary.superuser.user}"
        words = ["-d", source, "-D", f"{folder}/data", "-c", "fast", "-X", "stream", "-R", "--no-sync"]
        _run([f"{primary.bin_dir}/pg_basebackup", *words], os.environ | login | trust)
        # A replica must not have fewer connections than what it follows.
        options = [f"port={port}", f"unix_socket_directories={folder}", "max_connections=200", *primary.tls_settings()]
        words = [word for option in options for word in ("-c", option)]
        with _running([f"{primary.bin_dir}/postgres", "-D", f"{folder}/data", *words], folder) as process:
            _wait(process, folder, primary.url().replace(f":{primary.port}/", f":{port}/"))
            yield port


@contextmanager
def pgbouncer_before(server: PostgresServer, database: str) -> Iterator[int]:
    """Give the port of a PgBouncer in transaction mode before one database of the server; it ends with the block."""
    packages.ensure(["pgbouncer"])
    with server.connect(database) as connection:
        connection.execute(LOOKUP)
    with _folder("pooler") as folder:
        port = free_port()
        (folder / "users").write_text('"pgbouncer" "lookup"\n')
        (folder / "pgbouncer.ini").write_text(
            f"""[databases]
{database} = host={server.host} port={server.port}
[pgbouncer]
listen_addr = {server.host}
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
auth_type = scram-sha-256
auth_file = {folder / "users"}
auth_user = pgbouncer
auth_query = SELECT name, verifier FROM pgbouncer.verifier_of($1)
client_tls_sslmode = require
client_tls_cert_file = {server.folder / "server.crt"}
client_tls_key_file = {server.folder / "server.key"}
server_tls_sslmode = verify-full
server_tls_ca_file = {server.ca_file}
"""
        )
        try:
            program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
            with _running([program, str(folder / "pgbouncer.ini")], folder) as process:
                login = f"postgresql://pgbouncer:lookup@{server.host}:{port}/{database}"
                _wait(process, folder, f"{login}?sslmode=verify-full&sslrootcert={server.ca_file}")
                yield port
        finally:
            with server.connect(database) as connection:
                connection.execute(NO_LOOKUP)


@contextmanager
def _folder(what: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"tenantry-{what}-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(as_server_user(command), env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PostgresError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("ab") as log:
        # libpq looks for a certificate of its own at home, and stumbles over that of somebody else.
        process = subprocess.Popen(
            as_server_user(command), stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _wait(process: subprocess.Popen[bytes], folder: Path, url: str) -> None:
    """Wait until it lets somebody in."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise PostgresError(f"it does not answer:\n{(folder / 'log').read_text()[-2000:]}")
