"""``tenantry tenant suspend|archive|resume`` against a real API server and a real Postgres."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.cli.app import application
from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.tenant_world import TenantWorld

VERBS = {"suspend": "Suspended", "archive": "Archived", "resume": "Active"}
PATIENT = ("--timeout", "90")

Tenantry = Callable[..., Awaitable[Result]]


@pytest.fixture
def tenantry(world: TenantWorld, control_plane: ControlPlane) -> Tenantry:
    place = ["--kubeconfig", str(control_plane.kubeconfig), "--namespace", world.settings.namespace]

    async def run(*words: str) -> Result:
        """Run the command in a thread, for it has an event loop of its own."""
        return await asyncio.to_thread(CliRunner().invoke, application(), ["tenant", *words, *place])

    return run


async def until(world: TenantWorld, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Wait for the command's write. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while not holds(await world.tenant("acme")):  # noqa: ASYNC110  another process changes it
            await asyncio.sleep(0.05)


async def during(world: TenantWorld, tenantry: Tenantry, verb: str, then: Callable[[], Awaitable[Any]]) -> Result:
    """Run the command, and something else once it has asked and waits; return how the command ended."""
    waiting = asyncio.create_task(tenantry(verb, "acme", *PATIENT))
    await until(world, lambda tenant: tenant["spec"].get("lifecycle") == VERBS[verb])
    await then()
    return await waiting


async def carried_out(world: TenantWorld, tenantry: Tenantry, verb: str) -> Result:
    """Run the command while the operator does its part."""
    return await during(world, tenantry, verb, lambda: world.reconcile("acme"))


async def test_a_tenant_goes_there_and_back(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")
    secret = await world.secret("acme-database")

    suspended = await carried_out(world, tenantry, "suspend")
    assert suspended.exit_code == 0, suspended.output
    assert suspended.stdout.startswith("acme is Suspended: suspended: nobody logs in")
    with pytest.raises(psycopg.OperationalError):
        world.login(secret)

    resumed = await carried_out(world, tenantry, "resume")
    assert (resumed.exit_code, resumed.stdout) == (
        0,
        "acme is Active: schemas, roles and credentials are in place\n",
    )
    world.login(secret).close()

    archived = await carried_out(world, tenantry, "archive")
    assert archived.exit_code == 0, archived.output
    assert await world.secret("acme-database") == {}

    resumed = await carried_out(world, tenantry, "resume")
    assert resumed.exit_code == 0, resumed.output
    world.login(await world.secret("acme-database")).close()


@pytest.mark.parametrize("verb", VERBS)
async def test_what_is_so_already_is_not_waited_for(world: TenantWorld, tenantry: Tenantry, verb: str) -> None:
    await world.apply_tenant("acme", lifecycle=VERBS[verb])
    await world.reconcile("acme")
    before = await world.tenant("acme")
    result = await tenantry(verb, "acme", "--timeout", "0")
    assert (result.exit_code, result.stderr) == (0, "")
    assert await world.tenant("acme") == before


async def test_one_may_only_ask_for_it(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")
    result = await tenantry("suspend", "acme", "--no-wait")
    assert (result.exit_code, result.output) == (0, "acme: spec.lifecycle is Suspended\n")
    assert (await world.tenant("acme"))["spec"]["lifecycle"] == "Suspended"


async def test_the_way_there_is_shown_and_what_is_late_is_told_apart(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")
    late = await tenantry("suspend", "acme", "--timeout", "0.1", "-o", "json")
    assert late.exit_code == 3
    assert json.loads(late.stdout)["spec"]["lifecycle"] == "Suspended"
    assert late.stderr.splitlines() == [
        "acme: the operator has not looked at it yet",
        "tenantry: not so after 0.1 s; the operator goes on with it",
    ]
    await world.reconcile("acme")
    done = await tenantry("suspend", "acme", "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)["summary"]["phase"]) == (0, "Suspended")


async def test_it_is_done_though_the_tenant_has_another_trouble(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")
    world.execute("ALTER SCHEMA s_acme RENAME TO gone")
    suspended = await carried_out(world, tenantry, "suspend")
    assert suspended.exit_code == 0, suspended.output
    assert suspended.stdout.startswith("acme is Suspended, and not Ready: DataMissing: ")
    # The login cannot be given back, and says so instead of waiting for it.
    resumed = await carried_out(world, tenantry, "resume")
    assert (resumed.exit_code, resumed.stdout) == (1, "")
    assert "tenantry: acme: DataMissing: schema s_acme should be in database app" in resumed.stderr
    assert resumed.stderr.endswith("`tenantry explain DataMissing` says what to do\n")


async def test_a_tenant_that_is_not_there_is_told_with_those_like_it(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")
    for verb in VERBS:
        result = await tenantry(verb, "acmee")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "there is no Tenant acmee; did you mean acme?" in result.stderr


async def test_a_tenant_that_leaves_is_left_alone(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")
    await world.leave("acme", "Delete", protection="Enabled")
    result = await tenantry("suspend", "acme")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Tenant acme is being deleted" in result.stderr
    assert "lifecycle" not in (await world.tenant("acme"))["spec"]


async def test_a_wait_ends_when_the_tenant_goes(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")
    result = await during(world, tenantry, "suspend", lambda: world.leave("acme", "Delete"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Tenant acme was deleted meanwhile" in result.stderr or "Tenant acme is being deleted" in result.stderr


async def test_a_wait_ends_when_somebody_else_wants_another_thing(world: TenantWorld, tenantry: Tenantry) -> None:
    await world.provision("acme")

    async def somebody_else() -> None:
        await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": None}})

    result = await during(world, tenantry, "suspend", somebody_else)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "somebody else set spec.lifecycle of acme to Active meanwhile" in result.stderr
