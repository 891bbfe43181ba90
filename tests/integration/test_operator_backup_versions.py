"""A backup that is made on one version of Postgres comes back on a later one, and reaches the login with room there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.clients.kube import TENANTS
from tenantry_operator.plan import capacity
from tenantry_testing.crd_examples import BACKUP
from tenantry_testing.job_runner import JobRunner
from tenantry_testing.more_servers import OtherServer, other_server
from tenantry_testing.pool_world import add_user
from tenantry_testing.postgres import Login
from tenantry_testing.restoring import carried_out, leave, tenantry_command
from tenantry_testing.tenant_world import TenantWorld

LATEST = 18
FIRST, SECOND = (f"tenantry_svc_accounts_{number}" for number in (1, 2))
MADE = (
    "SET ROLE t_acme_owner",
    "CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, at timestamptz, "
    "twice int GENERATED ALWAYS AS (id * 2) STORED, CHECK (name <> ''))",
    "INSERT INTO things (name, at) SELECT 'thing ' || i, '2026-01-02T03:04:05Z' FROM generate_series(1, 50) i",
    "CREATE VIEW seen AS SELECT name FROM things",
    "CREATE TYPE colour AS ENUM ('red', 'blue')",
    "CREATE TABLE parts (id int NOT NULL, of colour) PARTITION BY LIST (id)",
    "CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)",
    "INSERT INTO parts VALUES (1, 'blue')",
)
LOGINS = "SELECT name, service_login FROM tenantry.tenants WHERE server = 'later' AND state <> 'deleted' ORDER BY 1"


@pytest.fixture(scope="module")
def later() -> Iterator[OtherServer]:
    with other_server("later", major=LATEST) as server:
        yield server


@pytest.fixture
async def two(world: TenantWorld, later: OtherServer, monkeypatch: pytest.MonkeyPatch) -> TenantWorld:
    """A world with a server of a later version, of which the first login is full, and which has a pool."""
    monkeypatch.setattr(capacity, "tenants_per_login", lambda _version: 2)
    await later.join(world)
    for name in ("seed", "sown"):
        await world.provision(name, databaseServer="later", isolation="Pooled")
    await world.reconcile_server("later")
    return world


@pytest.mark.parametrize("isolation", ["Schema", "Database", "Pooled"])
async def test_a_backup_comes_back_on_a_later_version(
    two: TenantWorld, later: OtherServer, control_plane: ControlPlane, tmp_path: Path, isolation: str
) -> None:
    world, runner = two, JobRunner(two.kube, two.settings.namespace, tmp_path)
    tenantry = await tenantry_command(world, control_plane)
    try:
        tenant = await world.provision("acme", isolation=isolation, databaseServer="primary", backup=BACKUP)
        schema, database = (
            ("tenantry_pool", "app") if isolation == "Pooled" else ("s_acme", tenant["status"]["database"])
        )
        if isolation == "Pooled":
            add_user(world, tenant["status"]["id"], "ada@acme")
        else:
            with world.login(await world.secret("acme-database")) as connection:
                for statement in MADE:
                    connection.execute(statement)
        users = f"SELECT * FROM {schema}.users ORDER BY id"
        before = world.fetch(users, database=database)
        await leave(world)
        assert "the same content" in await runner.run_next()
        await world.reconcile("acme")
        assert await world.kube.get(TENANTS, "acme") is None
        [manifest] = runner.claim("backups").glob("acme/*/*/manifest.json")
        kept = json.loads(manifest.read_text())
        assert kept["server_version"] < LATEST * 10000
        again = "restore", "acme", "--from", "volume://backups", "--server", "later"
        restored = await carried_out(runner, tenantry, *again)
        assert restored.exit_code == 0, restored.output
        with later.postgres.connect(database) as connection:
            assert connection.execute(users).fetchall() == before
        assert world.fetch(LOGINS, database="tenantry") == [
            ("acme", SECOND),
            ("seed", FIRST),
            ("sown", FIRST),
        ]
        after = await world.provision("acme", isolation=isolation, databaseServer="later")
        assert after["status"]["id"] == tenant["status"]["id"]
        secret = await world.secret("acme-database")
        if isolation != "Pooled":
            who = Login(secret["username"], secret["password"])
            with later.postgres.connect(secret["database"], who) as connection:
                assert connection.execute("SELECT count(*), sum(twice), max(at)::text FROM things").fetchone()[:2] == (
                    50, 2550,
                )  # fmt: skip
                assert connection.execute("SELECT of::text FROM parts").fetchone() == ("blue",)
    finally:
        await later.clean(world)
