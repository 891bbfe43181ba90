"""A Tenant leaves with BackupThenDelete, on a real API server and a real Postgres, and its data comes back.

There is no kubelet: `JobRunner` runs the program of the Job as a process, with what the Job gives it.
"""

import asyncio
import json
from typing import Any

import psycopg
import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.backup.scratch import scratch_name
from tenantry_operator.clients.kube import JOBS, TENANTS
from tenantry_testing.crd_examples import BACKUP
from tenantry_testing.job_runner import JobRunner
from tenantry_testing.restoring import TRAPS, Tenantry, carried_out, leave, leftovers, tenantry_command
from tenantry_testing.tenant_world import TenantWorld

READS = {"readOnlyRole": "Enabled"}

CUSTOMERS = (
    "SET ROLE t_acme_owner",
    "CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, at timestamptz)",
    "INSERT INTO things (name, at) SELECT 'thing ' || i, '2026-01-02T03:04:05Z' FROM generate_series(1, 500) i",
    "CREATE VIEW seen AS SELECT name FROM things",
    "CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT 2 * a'",
    "GRANT REFERENCES ON things TO t_acme_app",
    "CREATE TABLE parts (id int) PARTITION BY LIST (id)",
    "CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)",
    "INSERT INTO parts VALUES (1)",
    *TRAPS,
)


@pytest.fixture
async def tenantry(world: TenantWorld, control_plane: ControlPlane) -> Tenantry:
    return await tenantry_command(world, control_plane)


async def with_data(world: TenantWorld) -> dict[str, Any]:
    """Provision a tenant with what a customer makes, with large objects, and with a user of the services."""
    tenant = await world.provision("acme", backup=BACKUP, database=READS)
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT lo_from_bytea(0, decode(repeat('ab', 3000000), 'hex'))")
        connection.execute("SELECT lo_create(0)")
        for statement in CUSTOMERS:
            connection.execute(statement)
    world.execute(
        f"INSERT INTO s_acme.users (id, tenant_id, email) VALUES (gen_random_uuid(), '{tenant['status']['id']}', 'a@b')"
    )
    return tenant


def everything(world: TenantWorld) -> list[tuple[Any, ...]]:
    """Return all that must be the same after a backup and a restore."""
    return [
        *world.fetch("SELECT * FROM t_acme.things ORDER BY id"),
        *world.fetch("SELECT * FROM t_acme.parts"),
        *world.fetch("SELECT id, tenant_id, email FROM s_acme.users"),
        *world.fetch("SELECT name FROM t_acme.seen ORDER BY name LIMIT 1"),
        *world.fetch("SELECT t_acme.twice(21), last_value FROM t_acme.things_id_seq"),
        *world.fetch("SELECT oid::bigint, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid"),
        *world.fetch("SELECT has_table_privilege('t_acme_ro', 't_acme.things', 'SELECT')"),
        *world.fetch("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('things', 'users')"),
    ]


def said(tenant: dict[str, Any], world: TenantWorld) -> tuple[str, str] | None:
    return world.condition(tenant, "Deleting")


async def test_nothing_is_dropped_before_the_backup_is_verified_and_then_all(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry
) -> None:
    before = await with_data(world)
    whole = everything(world)
    secret = await world.secret("acme-database")
    await leave(world)
    tenant = await world.tenant("acme")
    assert said(tenant, world) == ("True", "BackingUp"), tenant["status"]
    assert everything(world)[:500] == whole[:500]
    with pytest.raises(psycopg.OperationalError):
        world.login(secret)
    [job] = await runner.jobs()
    printed = await runner.run_next()
    assert "the same content" in printed, printed
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()
    assert await runner.jobs() == []
    assert leftovers(world) == []
    events = dict(await world.events("acme"))
    assert {"BackedUp", "Deleted"} <= set(events)
    [manifest] = runner.claim("backups").glob("acme/*/*/manifest.json")
    kept = json.loads(manifest.read_text())
    assert (kept["id"], kept["revision"]) == (before["status"]["id"], before["status"]["migration"]["current"])
    assert [part["schema"] for part in kept["parts"]] == ["t_acme"]
    assert [table["table"] for table in kept["tables"]] == ["users"]
    assert kept["parts"][0]["file"]["sha256"] in events["BackedUp"]
    assert kept["large_objects"]["count"] == 2

    place = f"volume://backups/{manifest.parent.relative_to(runner.claim('backups'))}"
    assert place in events["BackedUp"]
    restored = await carried_out(runner, tenantry, "restore", "acme", "--from", place)
    assert restored.exit_code == 0, restored.output
    assert before["status"]["id"] in restored.output
    after = await world.provision("acme", database=READS)
    assert after["status"]["id"] == before["status"]["id"]
    assert sorted(map(str, everything(world))) == sorted(map(str, whole))
    with world.login(await world.secret("acme-database")) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (500,)
        connection.execute("INSERT INTO things (name) VALUES ('next')")
        assert connection.execute("SELECT max(id) FROM things").fetchone() == (501,)
    assert await world.reconcile_once("acme")
    assert job["metadata"]["labels"]["tenantry.dev/tenant"] == "acme"


async def test_a_backup_that_fails_is_told_and_nothing_is_dropped(world: TenantWorld, runner: JobRunner) -> None:
    await with_data(world)
    there = world.names_on_server("acme")
    in_the_way = runner.claim("backups") / "acme"
    in_the_way.write_text("a file where a folder is to be made")
    await leave(world)
    await runner.run_next()
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert said(tenant, world) == ("True", "BackupFailed")
    assert "the volume cannot be written to" in world.message(tenant, "Deleting")
    assert world.names_on_server("acme") == there - {"t_acme_login_a"}
    in_the_way.unlink()
    [job] = await runner.jobs()
    trial = scratch_name(tenant["metadata"]["uid"])
    world.execute(f"CREATE DATABASE {trial}")
    await world.kube.delete(JOBS, job["metadata"]["name"], namespace=world.settings.namespace)
    await world.reconcile("acme")
    assert "does not bear the mark" in await runner.run_next()
    assert world.fetch("SELECT count(*) FROM pg_database WHERE datname = %s", trial) == [(1,)]
    world.execute(f"DROP DATABASE {trial}")
    world.execute("SELECT lo_create(4711)", "ALTER LARGE OBJECT 4711 OWNER TO t_acme_app")
    [job] = await runner.jobs()
    await world.kube.delete(JOBS, job["metadata"]["name"], namespace=world.settings.namespace)
    await world.reconcile("acme")
    assert "t_acme_app own large objects" in await runner.run_next()
    world.execute("ALTER LARGE OBJECT 4711 OWNER TO t_acme_owner")
    # As a person who does not want to wait.
    [job] = await runner.jobs()
    await world.kube.delete(JOBS, job["metadata"]["name"], namespace=world.settings.namespace)
    await world.reconcile("acme")
    await runner.run_next()
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert len([*runner.claim("backups").glob("acme/*/*/manifest.json")]) == 1


KILLED_AT = ("dumped t_acme", "made the database", "the same content")


async def test_a_pod_and_the_operator_may_be_killed_anywhere(world: TenantWorld, runner: JobRunner) -> None:
    await with_data(world)
    await leave(world)
    for where in KILLED_AT:
        printed = await runner.run_next(kill_at=where, ends=False)
        assert where in printed, printed
        assert [*runner.claim("backups").glob("acme/*/*/manifest.json")] == []
        await world.restart()
        await world.reconcile("acme")
        assert said(await world.tenant("acme"), world) is not None
    await runner.run_next()
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert len([*runner.claim("backups").glob("acme/*/*")]) == 1
    assert leftovers(world) == []


async def test_who_writes_is_waited_for_and_what_he_wrote_is_in_the_backup(
    world: TenantWorld, runner: JobRunner
) -> None:
    await with_data(world)
    await leave(world)
    with world.administrator() as writer:
        writer.autocommit = False
        # As a service's unit of work that began before access was taken.
        writer.execute(
            "INSERT INTO s_acme.users (id, tenant_id, email) VALUES (gen_random_uuid(), gen_random_uuid(), 'late@b')"
        )
        running = asyncio.create_task(runner.run_next())
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareLock' AND relation IS NOT NULL"
        async with asyncio.timeout(60):
            while world.fetch(waiting) == [(0,)]:  # noqa: ASYNC110  another process waits
                await asyncio.sleep(0.05)
        writer.commit()
    await running
    [manifest] = runner.claim("backups").glob("acme/*/*/manifest.json")
    [users] = json.loads(manifest.read_text())["tables"]
    assert users["content"].startswith("2 "), users


async def test_a_restore_writes_over_nothing_and_may_be_killed(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry
) -> None:
    before = await with_data(world)
    there = everything(world)
    refused = await tenantry("restore", "acme", "--from", "volume://backups")
    assert refused.exit_code == 1
    assert "never writes over one" in refused.output
    await leave(world)
    await runner.run_next()
    await world.reconcile("acme")

    foretold = await tenantry("restore", "acme", "--from", "volume://backups", "--dry-run")
    assert (foretold.exit_code, await runner.jobs()) == (0, [])
    assert "t_acme_owner" in foretold.output

    [dump] = runner.claim("backups").glob("acme/*/*/t_acme.dump")
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups")
    assert damaged.exit_code == 1
    assert "checksum differs" in damaged.output
    assert world.names_on_server("acme") == set()
    dump.write_bytes(whole)

    # As another installation, or this one after its registry was lost.
    world.execute("DELETE FROM tenantry.backups", database="tenantry")
    unknown = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups")
    assert (unknown.exit_code, "restore it with --unrecorded" in unknown.output) == (1, True), unknown.output
    assert world.names_on_server("acme") == set()

    under_way = await tenantry("restore", "acme", "--from", "volume://backups", "--unrecorded", "--no-wait")
    assert under_way.exit_code == 0, under_way.output
    assert "made the roles" in await runner.run_next(kill_at="made the roles", ends=False)
    assert "what it left is dropped" in await runner.run_next()
    await world.kube.delete(JOBS, (await runner.jobs())[0]["metadata"]["name"], namespace=world.settings.namespace)
    again = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups", "--unrecorded")
    assert again.exit_code == 0, again.output
    after = await world.provision("acme", database=READS)
    assert after["status"]["id"] == before["status"]["id"]
    assert sorted(map(str, everything(world))) == sorted(map(str, there))
    assert leftovers(world) == []
