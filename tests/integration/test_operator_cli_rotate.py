"""``tenantry tenant rotate`` against a real API server and a real Postgres."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_crds import names
from tenantry_operator.cli.app import application
from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.tenant_world import TenantWorld

PATIENT = ("--timeout", "90")

Rotate = Callable[..., Awaitable[Result]]


@pytest.fixture
def rotate(world: TenantWorld, control_plane: ControlPlane) -> Rotate:
    place = ["--kubeconfig", str(control_plane.kubeconfig), "--namespace", world.settings.namespace]

    async def run(name: str, *words: str) -> Result:
        """Run the command in a thread, for it has an event loop of its own."""
        return await asyncio.to_thread(CliRunner().invoke, application(), ["tenant", "rotate", name, *words, *place])

    return run


def asked(tenant: dict[str, Any]) -> str | None:
    value: str | None = (tenant["metadata"].get("annotations") or {}).get(names.ANNOTATION_ROTATE)
    return value


async def during(world: TenantWorld, rotate: Rotate, then: Callable[[], Awaitable[Any]], *words: str) -> Result:
    """Run the command, and something else once it has asked and waits; return how the command ended."""
    before = asked(await world.tenant("acme"))
    waiting = asyncio.create_task(rotate("acme", *PATIENT, *words))
    async with asyncio.timeout(60):
        while asked(await world.tenant("acme")) == before:  # noqa: ASYNC110  another process changes it
            await asyncio.sleep(0.05)
    await then()
    return await waiting


async def test_it_waits_until_the_secret_carries_new_credentials_that_let_in(
    world: TenantWorld, rotate: Rotate
) -> None:
    await world.provision("acme")
    first = await world.secret("acme-database")
    result = await during(world, rotate, lambda: world.reconcile("acme"))
    assert result.exit_code == 0, result.output
    assert "/acme-database carries the new credentials of acme; the old ones work until " in result.stdout
    second = await world.secret("acme-database")
    assert second["username"] != first["username"]
    world.login(second).close()
    world.login(first).close()


async def test_what_is_late_is_told_apart_and_told_to_programs(world: TenantWorld, rotate: Rotate) -> None:
    """While the old login of the rotation before works, the next one waits, and says so."""
    await world.provision("acme")
    done = await during(world, rotate, lambda: world.reconcile("acme"), "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)["rotation"]["done"]) == (0, True), done.output
    late = await rotate("acme", "--timeout", "0.1", "-o", "json")
    assert late.exit_code == 3
    value = json.loads(late.stdout)
    assert (value["rotation"]["done"], value["rotation"]["asked"]) == (False, asked(await world.tenant("acme")))
    assert late.stderr.endswith("tenantry: not so after 0.1 s; the operator goes on with it\n")
    await world.reconcile("acme")
    again = await rotate("acme", "--timeout", "0")
    assert again.exit_code == 3
    assert "another rotation is asked for, and begins when the old login is gone" in again.stderr


async def test_one_may_only_ask_for_it(world: TenantWorld, rotate: Rotate) -> None:
    await world.provision("acme")
    result = await rotate("acme", "--no-wait")
    value = asked(await world.tenant("acme"))
    assert value is not None
    assert (result.exit_code, result.output) == (0, f"acme: asked to rotate, {names.ANNOTATION_ROTATE} is {value}\n")


async def test_a_tenant_that_nobody_gets_at_is_not_asked(world: TenantWorld, rotate: Rotate) -> None:
    await world.provision("acme")
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": "Suspended"}})
    refused = await rotate("acme")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "`tenantry tenant resume acme` first" in refused.stderr
    assert asked(await world.tenant("acme")) is None
    assert (await rotate("acme", "--no-wait")).exit_code == 0, "it is done when the Tenant is Active again"


async def test_a_wait_ends_when_somebody_else_asks(world: TenantWorld, rotate: Rotate) -> None:
    await world.provision("acme")

    async def somebody_else() -> None:
        changes = {"metadata": {"annotations": {names.ANNOTATION_ROTATE: "theirs"}}}
        await world.kube.merge_patch(TENANTS, "acme", changes)

    result = await during(world, rotate, somebody_else)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "somebody else asked for another rotation of acme meanwhile" in result.stderr


async def test_a_tenant_that_is_not_there_or_leaves(world: TenantWorld, rotate: Rotate) -> None:
    await world.provision("acme")
    missing = await rotate("acmee")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "there is no Tenant acmee; did you mean acme?" in missing.stderr
    await world.leave("acme", "Delete", protection="Enabled")
    leaving = await rotate("acme")
    assert (leaving.exit_code, leaving.stdout) == (1, "")
    assert "Tenant acme is being deleted" in leaving.stderr
