"""Tenants of isolation Database and Pooled leave with a backup and come back, on a real API server and Postgres."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.apply import pool as apply_pool
from tenantry_operator.backup.store import digest
from tenantry_operator.clients.kube import JOBS, TENANTS
from tenantry_testing.crd_examples import BACKUP
from tenantry_testing.job_runner import JobRunner
from tenantry_testing.pool_world import add_user, all_emails, entries, pooled, seen_by, seen_by_service, service_login
from tenantry_testing.restoring import TRAPS, Tenantry, carried_out, leave, leftovers, tenantry_command
from tenantry_testing.tenant_crash import Killed
from tenantry_testing.tenant_world import TenantWorld

OWN = "t_acme"
FORGED = "restore", "acme", "--from", "volume://backups", "--unrecorded"
EXTENDED = {"extensions": [{"name": "citext"}]}
REGISTERED = (
    "SELECT id::text, database, schema, isolation, state, service_login FROM tenantry.tenants WHERE name = 'acme'"
)

ENTERED_BY = """
SELECT DISTINCT a.grantee::regrole::text FROM pg_database CROSS JOIN LATERAL aclexplode(datacl) a
WHERE datname = 't_acme' AND a.privilege_type = 'CONNECT'
"""

CUSTOMERS = (
    "SET ROLE t_acme_owner",
    "CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name extensions.citext NOT NULL)",
    "INSERT INTO things (name) SELECT 'Thing ' || i FROM generate_series(1, 300) i",
    "GRANT REFERENCES ON things TO t_acme_app",
    *TRAPS,
)


@pytest.fixture
async def tenantry(world: TenantWorld, control_plane: ControlPlane) -> Tenantry:
    return await tenantry_command(world, control_plane)


async def apart(world: TenantWorld) -> dict[str, Any]:
    """Provision a tenant with a database of its own, an extension, what a customer makes, and a services' user."""
    tenant = await world.provision("acme", isolation="Database", backup=BACKUP, database=EXTENDED)
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT lo_from_bytea(4711, 'abc')")
        for statement in CUSTOMERS:
            connection.execute(statement)
    add = (
        f"INSERT INTO s_acme.users (id, tenant_id, email) VALUES (gen_random_uuid(), '{tenant['status']['id']}', 'a@b')"
    )
    world.execute(add, database=OWN)
    return tenant


def everything(world: TenantWorld) -> list[tuple[Any, ...]]:
    def fetch(query: str) -> list[tuple[Any, ...]]:
        return world.fetch(query, database=OWN)

    return [
        *fetch("SELECT * FROM t_acme.things ORDER BY id"),
        *fetch("SELECT * FROM t_acme.traps"),
        *fetch("SELECT id, tenant_id, email FROM s_acme.users"),
        *fetch("SELECT version FROM s_acme.schema_version"),
        *fetch("SELECT last_value FROM t_acme.things_id_seq"),
        *fetch("SELECT oid::bigint, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid"),
        *fetch("SELECT has_table_privilege('t_acme_app', 't_acme.things', 'REFERENCES')"),
        *fetch("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('things', 'users') ORDER BY 1"),
    ]


def manifests(runner: JobRunner) -> list[Path]:
    return [*runner.claim("backups").glob("acme/*/*/manifest.json")]


async def remove_job(world: TenantWorld, runner: JobRunner) -> None:
    [job] = await runner.jobs()
    await world.kube.delete(JOBS, job["metadata"]["name"], namespace=world.settings.namespace)


async def test_a_database_of_its_own_is_backed_up_dropped_and_made_again(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry
) -> None:
    before = await apart(world)
    whole = everything(world)
    world.execute("CREATE TABLE public.stray (id int)", database=OWN)
    await leave(world)
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "BackingUp")
    assert "public.stray" in await runner.run_next()
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "BackupFailed")
    world.execute("DROP TABLE public.stray", database=OWN)
    await remove_job(world, runner)
    await world.reconcile("acme")
    assert "the same content" in await runner.run_next()
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()
    assert leftovers(world) == []
    [manifest] = manifests(runner)
    kept = json.loads(manifest.read_text())
    assert (kept["isolation"], kept["extensions"], kept["large_objects"]["count"]) == (
        "Database", [["citext", "extensions"]], 1,
    )  # fmt: skip

    world.execute("CREATE DATABASE t_acme")
    taken = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups")
    assert "database t_acme exists" in taken.output
    world.execute("DROP DATABASE t_acme")
    await remove_job(world, runner)

    for where in ("made the database", "the content is the backup's"):
        await tenantry("restore", "acme", "--from", "volume://backups", "--no-wait")
        assert where in await runner.run_next(kill_at=where, ends=False)
        assert world.fetch(ENTERED_BY) == [("tenantry_owner",)]
        await remove_job(world, runner)
    restored = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups")
    assert restored.exit_code == 0, restored.output
    assert sorted(map(str, everything(world))) == sorted(map(str, whole))
    assert leftovers(world) == []
    assert world.fetch(REGISTERED, database="tenantry")[-1] == (
        before["status"]["id"], OWN, "s_acme", "Database", "released", "tenantry_svc_accounts_1",
    )  # fmt: skip
    after = await world.provision("acme", isolation="Database", database=EXTENDED)
    assert after["status"]["id"] == before["status"]["id"]
    with world.login(await world.secret("acme-database")) as connection:
        assert connection.execute(
            "SELECT name OPERATOR(extensions.=) 'THING 7' FROM things WHERE id = 7"
        ).fetchone() == (True,)
        connection.execute("INSERT INTO things (name) VALUES ('next')")
    await world.settle()


async def test_the_rows_of_a_pooled_tenant_are_backed_up_deleted_and_put_back(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry
) -> None:
    ids = await pooled(world, "acme", "beta", backup=BACKUP)
    for number in range(20):
        add_user(world, ids["acme"], f"{number}@acme")
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT lo_from_bytea(4711, 'abc')")
    rows = "SELECT * FROM tenantry_pool.users WHERE email ~ 'acme' ORDER BY id"
    whole = world.fetch(rows)
    late = "INSERT INTO users (id, tenant_id, email) VALUES (gen_random_uuid(), %s, 'late@acme')"
    with await service_login(world) as service:
        # A unit of work of a service that began before access was taken.
        service.autocommit = False
        service.execute("SET LOCAL ROLE tenantry_pool_accounts")
        service.execute("SELECT set_config('app.tenant', %s, true)", (ids["acme"],))
        service.execute("SET LOCAL search_path TO tenantry_pool")
        service.execute(late, (ids["acme"],))
        await leave(world)
        assert entries(world) == [("acme", False), ("beta", True)]
        running = asyncio.create_task(runner.run_next())
        asking = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tenantry-backup' AND query ~ 'pg_locks'"
        )
        async with asyncio.timeout(60):
            while world.fetch(asking) == [(0,)]:  # noqa: ASYNC110  another process waits
                await asyncio.sleep(0.05)
        assert not running.done()
        service.commit()
    assert "the same content" in await running
    assert await seen_by_service(world, ids["beta"]) == ["ada@beta"]
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert all_emails(world) == ["ada@beta"]
    assert leftovers(world) == []
    [manifest] = manifests(runner)
    kept = json.loads(manifest.read_text())
    assert (kept["isolation"], kept["parts"], kept["id"]) == ("Pooled", [], ids["acme"])
    assert [(one["table"], one["content"].split()[0]) for one in kept["tables"]] == [("users", "22")]
    assert kept["large_objects"]["count"] == 1

    await tenantry("restore", "acme", "--from", "volume://backups", "--no-wait")
    where = "the content is the backup's"
    assert where in await runner.run_next(kill_at=where, ends=False)
    await remove_job(world, runner)
    restored = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups")
    assert restored.exit_code == 0, restored.output
    assert [row for row in world.fetch(rows) if row in whole] == whole
    assert len(world.fetch(rows)) == 22
    assert world.fetch(REGISTERED, database="tenantry")[-1][:5] == (
        ids["acme"], "app", "tenantry_pool", "Pooled", "released",
    )  # fmt: skip
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await seen_by_service(world, ids["acme"])
    after = await world.provision("acme", isolation="Pooled")
    assert after["status"]["id"] == ids["acme"]
    assert len(await seen_by(world, "acme")) == 22
    assert len(await seen_by_service(world, ids["acme"])) == 22
    assert await seen_by(world, "beta") == ["ada@beta"]
    assert leftovers(world) == []
    await world.settle()


async def test_a_pool_of_another_revision_or_with_such_rows_takes_none(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry
) -> None:
    ids = await pooled(world, "acme", "beta", backup=BACKUP)
    await leave(world)
    await runner.run_next()
    await world.reconcile("acme")
    add_user(world, ids["acme"], "there@acme")
    for _ in range(3):
        refused = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups")
        assert (refused.exit_code, "has rows of the tenant id" in refused.output) == (1, True), refused.output
        assert all_emails(world) == ["ada@beta", "there@acme"]
    world.execute("DELETE FROM tenantry_pool.users WHERE email = 'there@acme'")
    [manifest] = manifests(runner)
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"revision": "t', '"revision": "x'))
    refused = await carried_out(runner, tenantry, *FORGED)
    assert (refused.exit_code, "does not know the revision" in refused.output) == (1, True), refused.output
    # A row of another tenant among those of this one, in a file that is as its manifest says.
    file = manifest.parent / "users.copy.gz"
    file.write_bytes(
        gzip.compress(gzip.decompress(file.read_bytes()).replace(ids["acme"].encode(), ids["beta"].encode()))
    )
    told = json.loads(whole)
    told["tables"][0]["file"] |= {"size": file.stat().st_size, "sha256": digest(file)}
    manifest.write_text(json.dumps(told))
    refused = await carried_out(runner, tenantry, *FORGED)
    assert (refused.exit_code, "row-level security" in refused.output) == (1, True), refused.output
    assert all_emails(world) == ["ada@beta"]


async def test_a_backup_with_the_id_of_another_tenant_is_refused(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry
) -> None:
    ids = await pooled(world, "acme", "beta", backup=BACKUP)
    await leave(world)
    await runner.run_next()
    await world.reconcile("acme")
    [manifest] = manifests(runner)
    whole = manifest.read_text()
    manifest.write_text(whole.replace("t_acme_owner", "t_beta_owner"))
    refused = await carried_out(runner, tenantry, *FORGED)
    assert (refused.exit_code, "names t_beta_owner as its owner" in refused.output) == (1, True), refused.output
    told = json.loads(whole.replace(ids["acme"], ids["beta"]))
    manifest.write_text(json.dumps({**told, "tables": []}))
    registered = "SELECT t::text FROM tenantry.tenants t ORDER BY id"
    before = world.fetch(registered, database="tenantry")
    for _ in range(2):
        refused = await carried_out(runner, tenantry, *FORGED)
        assert (refused.exit_code, f"{ids['beta']} for beta: active" in refused.output) == (1, True), refused.output
    assert world.fetch(registered, database="tenantry") == before
    assert (world.names_on_server("acme"), all_emails(world)) == (set(), ["ada@beta"])


async def test_a_drop_that_has_begun_goes_on_and_backs_up_nothing_of_the_rest(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await pooled(world, "acme", backup=BACKUP)
    for number in range(5):
        add_user(world, ids["acme"], f"{number}@acme")
    await leave(world)
    await runner.run_next()

    count, counted = apply_pool._count, []

    async def dying(*arguments: Any) -> int:
        if counted:
            raise Killed
        counted.append(await count(*arguments))
        return counted[0]

    with monkeypatch.context() as patched:
        patched.setattr(apply_pool, "ROWS_AT_ONCE", 2)
        patched.setattr(apply_pool, "_count", dying)
        with pytest.raises(Killed):
            await world.reconcile("acme")
    assert len(all_emails(world)) == 4
    [manifest] = manifests(runner)
    marker = "SELECT shobj_description('t_acme_owner'::regrole, 'pg_authid')::json ->> %s"
    place = f"volume://backups/{manifest.parent.relative_to(runner.claim('backups'))}"
    assert [world.fetch(marker, key)[0][0] for key in ("state", "backup")] == ["dropping", place]
    # As hands that mean well: the Job goes, and the next backup is to go elsewhere.
    await remove_job(world, runner)
    elsewhere = {"backup": {"destination": {"volume": {"claimName": "elsewhere"}}}}
    await world.kube.merge_patch(TENANTS, "acme", {"spec": elsewhere})
    await world.restart()
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert (await runner.jobs(), len(manifests(runner)), all_emails(world)) == ([], 1, [])
    assert place in dict(await world.events("acme"))["BackedUp"]
    restored = await carried_out(runner, tenantry, "restore", "acme", "--from", "volume://backups")
    assert restored.exit_code == 0, restored.output
    assert len(all_emails(world)) == 6


async def test_a_later_life_is_not_taken_for_the_backup(
    world: TenantWorld, runner: JobRunner, tenantry: Tenantry
) -> None:
    ids = await pooled(world, "acme", backup=BACKUP)
    await leave(world)
    await runner.run_next()
    await world.reconcile("acme")
    again = "restore", "acme", "--from", "volume://backups"
    for said in ("restored 1 rows", "it is restored already"):
        assert (await tenantry(*again, "--no-wait")).exit_code == 0
        assert said in await runner.run_next()
    await world.provision("acme", isolation="Pooled")
    add_user(world, ids["acme"], "later@acme")
    await world.leave("acme", "Retain")
    refused = await carried_out(runner, tenantry, *again)
    assert (refused.exit_code, "never writes over one" in refused.output) == (1, True), refused.output
    assert all_emails(world) == ["ada@acme", "later@acme"]
