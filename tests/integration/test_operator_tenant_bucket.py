"""A Tenant leaves with BackupThenDelete into a bucket of a real server of S3, and its data comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.clients.kube import JOBS, SECRETS, TENANTS
from tenantry_testing.bucket import BUCKET, GUEST, OWNER, BucketServer
from tenantry_testing.job_runner import JobRunner
from tenantry_testing.restoring import carried_out, tenantry_command
from tenantry_testing.tenant_world import TenantWorld

PLACE = f"s3://{BUCKET}/tenants/eu"
ROWS = "SELECT id, body FROM t_acme.things ORDER BY id"


@pytest.fixture(scope="module")
def bucket() -> Iterator[BucketServer]:
    with BucketServer() as server:
        yield server


async def give_keys(world: TenantWorld, bucket: BucketServer, keys: tuple[str, str]) -> None:
    namespace = world.settings.namespace
    await world.kube.delete(SECRETS, "bucket", namespace=namespace)
    metadata = {"name": "bucket", "namespace": namespace}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": bucket.secret(keys)}
    await world.kube.create(SECRETS, body)


def destination(bucket: BucketServer) -> dict[str, Any]:
    named = {"name": "bucket"}
    s3 = {"endpoint": bucket.endpoint, "bucket": BUCKET, "prefix": "tenants/eu", "credentialsSecretRef": named}
    return {"destination": {"s3": {**s3, "caSecretRef": named}}}


async def again(world: TenantWorld, runner: JobRunner) -> None:
    """Remove the Job, as a person who does not want to wait."""
    [job] = await runner.jobs()
    await world.kube.delete(JOBS, job["metadata"]["name"], namespace=world.settings.namespace)
    await world.reconcile("acme")


async def everything_said(world: TenantWorld, runner: JobRunner, printed: list[str]) -> str:
    tenant = await world.kube.get(TENANTS, "acme")
    return "\n".join(map(str, [*printed, *await world.events("acme"), tenant, *await runner.jobs()]))


async def test_a_tenant_goes_into_a_bucket_and_comes_back(
    world: TenantWorld, control_plane: ControlPlane, runner: JobRunner, bucket: BucketServer
) -> None:
    tenantry = await tenantry_command(world, control_plane)
    before = await world.provision("acme", backup=destination(bucket))
    assert before["status"]["effective"]["backup"] == {"region": "us-east-1"}
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things (id int PRIMARY KEY, body text)")
        connection.execute("INSERT INTO things SELECT i, md5(random()::text) FROM generate_series(1, 500) i")
    rows = world.fetch(ROWS)
    await world.leave("acme", "BackupThenDelete")
    await give_keys(world, bucket, GUEST)
    await world.reconcile("acme")
    printed = [await runner.run_next()]
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "BackupFailed")
    assert "access is denied" in world.message(tenant, "Deleting")
    assert world.fetch(ROWS) == rows
    assert bucket.objects == []

    await give_keys(world, bucket, OWNER)
    await again(world, runner)
    # Killed when the first file is there: what is there is no backup, and the next attempt removes it.
    printed.append(await runner.run_next(kill_at="dumped t_acme", ends=False))
    assert any(name.endswith("/t_acme.dump") for name in bucket.objects)
    await world.reconcile("acme")
    assert world.fetch(ROWS) == rows
    printed.append(await runner.run_next())
    assert "removed 1 backups that had not come to their end" in printed[-1]
    said = await everything_said(world, runner, printed)
    assert f"the backup goes to {PLACE}" in said
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()
    events = dict(await world.events("acme"))
    uid = before["metadata"]["uid"]
    assert f"{PLACE}/acme/{uid}/" in events["BackedUp"]
    folder = str(Path(bucket.objects[0]).parent)
    assert bucket.objects == [f"{folder}/{name}" for name in ("manifest.json", "t_acme.dump", "users.copy.gz")]

    reached = ("--endpoint", bucket.endpoint, "--credentials-secret", "bucket", "--ca-secret", "bucket")
    foretold = await tenantry("restore", "acme", "--from", PLACE, *reached, "--dry-run")
    assert foretold.exit_code == 0, foretold.output
    assert f"from      {PLACE}/acme/… (the newest)" in foretold.output
    wrong = await carried_out(runner, tenantry, "restore", "acme", "--from", f"s3://{BUCKET}/else", *reached)
    assert (wrong.exit_code, f"there is no backup of acme in s3://{BUCKET}/else" in wrong.output) == (1, True)
    restored = await carried_out(runner, tenantry, "restore", "acme", "--from", f"s3://{BUCKET}/{folder}", *reached)
    assert restored.exit_code == 0, restored.output
    after = await world.provision("acme")
    assert after["status"]["id"] == before["status"]["id"]
    assert world.fetch(ROWS) == rows
    said += await everything_said(world, runner, [foretold.output, wrong.output, restored.output])
    assert not any(secret in said for secret in (OWNER[1], GUEST[1], OWNER[0]))
