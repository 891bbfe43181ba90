"""``tenantry db`` on real servers: made ready, emptied, and run on this machine."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from click.testing import Result
from psycopg import conninfo, sql
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.cli.app import application
from tenantry_testing.postgres import SUPERUSER, Login, PostgresServer, find_binaries, free_port
from tenantry_testing.tenant_world import TenantWorld, tenant_world

ROLE = "tenantry_operator"

EVERYTHING = {
    "roles": "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolpassword FROM pg_authid ORDER BY 1",
    "members": "SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members ORDER BY 1, 2",
    "databases": "SELECT datname, datdba::regrole::text FROM pg_database ORDER BY 1",
}
OURS = """
SELECT rolname FROM pg_roles WHERE rolname ~ '^(t|s|tenantry)_'
UNION ALL SELECT datname FROM pg_database WHERE datname ~ '^t_'
UNION ALL SELECT nspname FROM pg_namespace WHERE nspname ~ '^(t_|s_|tenantry|extensions)' ORDER BY 1
"""


def db(*words: str, **more: Any) -> Result:
    return CliRunner().invoke(application(), ["db", *words], **more)


@pytest.fixture(scope="module")
def the_server() -> Iterator[PostgresServer]:
    with PostgresServer() as one:
        yield one


@pytest.fixture
def server(the_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server with nothing on it; what the test made is removed afterwards."""
    yield the_server
    with the_server.connect() as connection:
        for database in ("app", "tenantry", "t_theirs"):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        made = connection.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)' ORDER BY oid DESC")
        for (role,) in made.fetchall():
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def administrator(server: PostgresServer) -> str:
    """The URL of one who is no superuser, as a provider of Postgres gives."""
    with server.connect() as connection:
        connection.execute("CREATE ROLE admin LOGIN CREATEROLE CREATEDB PASSWORD 'admin'")
        connection.execute("GRANT pg_signal_backend TO admin WITH ADMIN OPTION")
    return server.url(login=Login("admin", "admin"))


def standing(server: PostgresServer) -> dict[str, list[Any]]:
    with server.connect() as connection:
        return {what: connection.execute(query).fetchall() for what, query in EVERYTHING.items()}


def credentials(file: Path) -> Login:
    secret = yaml.safe_load(file.read_text())
    assert secret["metadata"] == {"name": "primary-credentials", "namespace": "tenantry-system"}
    return Login(secret["stringData"]["username"], secret["stringData"]["password"])


async def test_a_server_is_made_ready_used_and_emptied(
    server: PostgresServer, administrator: str, control_plane: ControlPlane, tmp_path: Path
) -> None:
    file = tmp_path / "credentials.yaml"
    untouched = standing(server)
    printed = db("init", administrator, "--print")
    assert printed.exit_code == 0, printed.output
    assert "CREATE ROLE" in printed.stdout
    assert standing(server) == untouched

    made = db("init", administrator, "--secret-out", str(file))
    assert made.exit_code == 0, made.output
    operator = credentials(file)
    assert operator.password not in made.output
    assert file.stat().st_mode & 0o077 == 0
    after = standing(server)
    again = db("init", administrator, "--secret-out", str(file))
    assert again.exit_code == 0, again.output
    assert "done" not in again.output
    assert (standing(server), credentials(file)) == (after, operator)

    async with tenant_world(control_plane, server, operator=operator, namespace="tenants-db") as world:
        await world.apply_server()
        assert world.condition(await world.server(), "Ready") == ("True", "Connected")
        await world.provision("acme", database={"extensions": [{"name": "citext"}]})
        await world.provision("globex-two", isolation="Pooled")
        await world.provision("own", isolation="Database")
        await _reset(world, administrator)


async def _reset(world: TenantWorld, administrator: str) -> None:
    """What is not ours: a schema, a role and a database by names as ours, and what lies with the services' logins."""
    world.execute("CREATE SCHEMA t_theirs", "CREATE TABLE t_theirs.kept AS SELECT 1", "CREATE ROLE t_theirs_owner")
    world.execute("CREATE TABLE public.kept AS SELECT 1", "ALTER TABLE public.kept OWNER TO tenantry_owner")
    with world.postgres.connect() as connection:
        connection.execute("CREATE DATABASE t_theirs")
    before = world.fetch(OURS)
    running = await asyncio.to_thread(db, "reset", administrator, "--yes-drop-tenants", "3")
    assert running.exit_code == 1
    assert "an operator is connected" in running.stderr
    await world.fence.close()
    await world.servers.close()
    for words in ((), ("--yes-drop-tenants", "2")):
        refused = await asyncio.to_thread(db, "reset", administrator, *words)
        assert refused.exit_code == 1
        assert "there are 3 tenants" in refused.stderr
    shown = await asyncio.to_thread(db, "reset", administrator, "--print")
    assert shown.exit_code == 0
    assert "database t_own" in shown.stdout
    assert world.fetch(OURS) == before

    done = await asyncio.to_thread(db, "reset", administrator, "--yes-drop-tenants", "3")
    assert done.exit_code == 0, done.output
    assert "delete secret tenantry-accounts-database-primary" in done.stdout
    left = [name for (name,) in world.fetch(OURS)]
    assert left == ["t_theirs", "t_theirs", "t_theirs_owner", ROLE]
    assert world.fetch("SELECT to_regclass('public.kept') IS NOT NULL, to_regclass('t_theirs.kept') IS NOT NULL") == [
        (True, True)
    ]
    assert world.fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'tenantry'", database="tenantry") == []
    empty = await asyncio.to_thread(db, "reset", administrator)
    assert empty.exit_code == 0
    assert "nothing of tenantry" in empty.stdout


def test_a_server_that_is_not_to_be_made_ready_is_left_alone(
    server: PostgresServer, administrator: str, tmp_path: Path
) -> None:
    server.make_database("app", owner=SUPERUSER)
    with server.connect() as connection:
        connection.execute("CREATE ROLE weak LOGIN PASSWORD 'weak'")
        connection.execute("CREATE ROLE mighty SUPERUSER")
    before = standing(server)
    out = ("--secret-out", str(tmp_path / "credentials.yaml"))
    weak = server.url(login=Login("weak", "weak"))
    for url, words, said in (
        (weak, out, "lacks CREATEROLE"),
        (administrator, out, "app (postgres's)"),
        (administrator, ("--database", "other"), "say where the new password goes"),
        (administrator, ("--database", "tenantry", *out), "may not reach the registry"),
        (administrator, ("--operator-role", "mighty", *out), "is a superuser"),
        (administrator, ("--operator-role", "admin", *out), "must be an administrator's"),
        (server.url(login=Login("weak", "wrong")), out, "cannot connect"),
    ):
        result = db("init", url, *words)
        assert result.exit_code == 1, result.output
        assert said in result.stderr
    assert standing(server) == before
    assert [*tmp_path.iterdir()] == []


def test_a_password_is_taken_changed_and_never_shown(server: PostgresServer, administrator: str) -> None:
    given = db("init", administrator, "--password-file", "-", input="first\n")
    assert given.exit_code == 0, given.output
    server.connect("app", Login(ROLE, "first")).close()
    kept = db("init", administrator)
    assert "done" not in kept.output
    unknown = db("init", administrator, "--secret-out", "-")
    assert unknown.exit_code == 1
    assert "its password is not known here" in unknown.stderr
    server.connect("app", Login(ROLE, "first")).close()
    fresh = db("init", administrator, "--new-password", "--secret-out", "-")
    assert fresh.exit_code == 0, fresh.output
    secret = yaml.safe_load(fresh.stdout)["stringData"]
    server.connect("app", Login(ROLE, secret["password"])).close()
    assert secret["password"] not in fresh.stderr


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user reaches, whoever runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="tenantry-local-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("PATH", f"{find_binaries()}:{os.environ['PATH']}")
    words = ["--data", str(folder / "server")]
    if os.geteuid() == 0:
        words += ["--run-as", SUPERUSER]
    yield words
    db("stop", *words)


def test_a_server_on_this_machine_starts_and_stops(here: list[str], folder: Path) -> None:
    assert db("status", *here).exit_code == 1
    port = free_port()
    started = db("start", *here, "--port", str(port))
    assert started.exit_code == 0, started.output
    operator = credentials(folder / "server" / "credentials.yaml")
    url = conninfo.make_conninfo(host="127.0.0.1", port=port, user=operator.user, password=operator.password)
    with psycopg.connect(url, dbname="app", autocommit=True) as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 1")
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url, dbname="app", password="wrong")
    password = (folder / "server" / "password").read_text().strip()
    administrator = conninfo.make_conninfo(url, dbname="postgres", user=SUPERUSER, password=password)
    assert "nothing of tenantry" in db("reset", administrator).stdout
    again = db("start", *here, "--port", str(free_port()))
    assert f"runs already on 127.0.0.1:{port}" in again.stdout
    assert f"127.0.0.1:{port}" in db("status", *here).stdout
    for _ in range(2):
        assert db("stop", *here).exit_code == 0
    assert db("status", *here).exit_code == 1
    taken = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        refused = db("start", *here, "--port", str(other.getsockname()[1]))
        assert refused.exit_code == 1
        assert "does not start" in refused.stderr
    assert db("start", *here, "--port", str(taken)).exit_code == 0
    with psycopg.connect(url, dbname="app", port=taken) as connection:
        assert connection.execute(sql.SQL("SELECT count(*) FROM public.kept")).fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_told_what_to_do(folder: Path) -> None:
    refused = db("start", "--data", str(folder / "server"))
    assert refused.exit_code == 1
    assert "--run-as" in refused.stderr
    assert not (folder / "server").exists()
