"""Many Tenants are deleted at once: a few go, the rest is held until somebody says so."""

import asyncio

import pytest
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.cli.app import application
from tenantry_operator.clients.kube import CONFIGMAPS, TENANTS
from tenantry_operator.engine.breaker import KEY, NAME
from tenantry_testing.tenant_crash import until_it_dies
from tenantry_testing.tenant_world import TenantWorld

NAMES = [f"t{number}" for number in range(8)]
SPEC = {"deletionPolicy": "Delete", "deletionProtection": "Disabled"}


async def delete_all(world: TenantWorld, names: list[str]) -> None:
    """Delete Tenants all at once, and let the workers run."""
    for name in names:
        await world.kube.delete(TENANTS, name)
    await world.reconcile_at_once(names)


async def left(world: TenantWorld, names: list[str]) -> list[str]:
    return [name for name in names if await world.kube.get(TENANTS, name) is not None]


async def provision(world: TenantWorld, names: list[str], **spec: str) -> None:
    for name in names:
        await world.provision(name, **{**SPEC, **spec})


async def age(world: TenantWorld) -> None:
    """Let the minute pass, for what was begun."""
    body = await world.kube.get(CONFIGMAPS, NAME, namespace=world.settings.namespace)
    assert body is not None
    state = body["data"][KEY].replace('"202', '"200')
    await world.kube.merge_patch(CONFIGMAPS, NAME, {"data": {KEY: state}}, namespace=world.settings.namespace)


def run(control_plane: ControlPlane, world: TenantWorld, *words: str, answer: str = "") -> str:
    options = ["--kubeconfig", str(control_plane.kubeconfig), "--namespace", world.settings.namespace]
    result = CliRunner().invoke(application(), ["breaker", *words, *options], input=answer)
    return f"{result.exit_code} {result.output}"


async def command(control_plane: ControlPlane, world: TenantWorld, *words: str, answer: str = "") -> str:
    return await asyncio.to_thread(run, control_plane, world, *words, answer=answer)


async def test_five_go_and_the_others_are_held_until_somebody_says_so(
    world: TenantWorld, control_plane: ControlPlane
) -> None:
    await provision(world, NAMES)
    assert (await command(control_plane, world, "status")).startswith("0 The breaker is closed")
    await delete_all(world, NAMES)
    held = await left(world, NAMES)
    assert len(held) == 3
    for name in held:
        tenant = await world.tenant(name)
        assert world.condition(tenant, "Deleting") == ("True", "BreakerOpen")
        assert world.condition(tenant, "Ready") == ("True", "Provisioned")
        assert "tenantry breaker reset" in world.message(tenant, "Deleting")
        assert [reason for reason, _ in await world.events(name)].count("BreakerOpen") == 1
        with world.login(await world.secret(f"{name}-database")) as connection:
            connection.execute("SELECT 1")
    assert world.metrics.registry.get_sample_value("tenantry_breaker_open") == 1
    said = await command(control_plane, world, "status")
    assert "OPEN" in said
    assert all(name in said for name in held)
    # Neither a restart nor time closes it.
    await age(world)
    await world.restart()
    await world.settle()
    assert await left(world, NAMES) == held
    assert world.metrics.registry.get_sample_value("tenantry_breaker_open") == 1
    assert (await command(control_plane, world, "reset")).startswith("0 The breaker is closed")
    assert set(await world.swept()) >= set(held)
    await world.reconcile_at_once(held)
    assert await left(world, NAMES) == []


async def test_a_held_tenant_costs_nothing_until_the_reset(world: TenantWorld) -> None:
    await provision(world, NAMES)
    await delete_all(world, NAMES)
    await world.settle()
    world.counted.clear()
    assert await world.swept() == set()
    assert world.writes() == []


async def test_those_who_wait_are_approved_by_typing_their_number(
    world: TenantWorld, control_plane: ControlPlane
) -> None:
    names = [f"t{number}" for number in range(12)]
    await provision(world, names)
    await delete_all(world, names)
    assert len(await left(world, names)) == 7
    assert "nothing was changed" in await command(control_plane, world, "reset", "--approve", answer="8\n")
    assert "OPEN" in await command(control_plane, world, "status")
    assert (await command(control_plane, world, "reset", "--approve", answer="7\n")).startswith("0")
    await world.sweep()
    assert await left(world, names) == []


async def test_retained_data_does_not_count(world: TenantWorld) -> None:
    await provision(world, NAMES, deletionPolicy="Retain")
    await delete_all(world, NAMES)
    assert await left(world, NAMES) == []
    assert await world.kube.get(CONFIGMAPS, NAME, namespace=world.settings.namespace) is None


async def test_a_state_that_nobody_can_read_holds_everything(world: TenantWorld, control_plane: ControlPlane) -> None:
    await provision(world, NAMES[:2])
    await delete_all(world, NAMES[:1])
    await world.kube.merge_patch(CONFIGMAPS, NAME, {"data": {KEY: "mine"}}, namespace=world.settings.namespace)
    await delete_all(world, NAMES[1:2])
    assert world.condition(await world.tenant(NAMES[1]), "Deleting") == ("True", "BreakerOpen")
    await command(control_plane, world, "reset")
    await world.sweep()
    assert await left(world, NAMES) == []


@pytest.mark.parametrize("calls", [5, 8, 11])
async def test_processes_that_die_drop_no_more_than_is_allowed(
    world: TenantWorld, control_plane: ControlPlane, calls: int
) -> None:
    """Each Tenant's pass dies somewhere, and is made again by another process."""
    await provision(world, NAMES)
    for name in NAMES:
        await world.kube.delete(TENANTS, name)
    for name in NAMES:
        await until_it_dies(world, name, calls)
        await world.restart()
    for _ in range(2):
        for name in NAMES:
            await world.reconcile(name)
    held = await left(world, NAMES)
    assert len(held) >= 3
    for name in held:
        # One whose drop was begun is held as well, but does not serve any more.
        begun = world.fetch("SELECT state FROM tenantry.tenants WHERE name = %s", name, database="tenantry")[0][0]
        tenant = await world.tenant(name)
        assert world.condition(tenant, "Deleting") == ("True", "BreakerOpen")
        assert (world.condition(tenant, "Ready") == ("True", "Provisioned")) == (begun == "active")
    await age(world)
    await command(control_plane, world, "reset", "--approve", "--yes")
    await world.sweep()
    assert await left(world, NAMES) == []
    assert not [name for name in NAMES if world.names_on_server(name)]
