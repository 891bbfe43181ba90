"""``tenantry tenant create-key`` against a real registry."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_kit.keys import parse_key
from tenantry_operator.cli.app import application
from tenantry_testing.tenant_world import TenantWorld


async def create_key(*words: str) -> Result:
    """Run the command in a thread, for it has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, application(), ["tenant", "create-key", *words])


def by_cluster(control_plane: ControlPlane, world: TenantWorld) -> list[str]:
    return ["--kubeconfig", str(control_plane.kubeconfig), "--namespace", world.settings.namespace]


def by_url(world: TenantWorld) -> list[str]:
    return ["--postgres-url", world.postgres.url("tenantry", world.operator)]


@pytest.mark.parametrize("way", ["cluster", "url"])
async def test_a_key_is_printed_once_and_only_its_hash_is_stored(
    world: TenantWorld, control_plane: ControlPlane, way: str
) -> None:
    tenant = await world.provision("acme")
    place = by_url(world) if way == "url" else by_cluster(control_plane, world)
    result = await create_key("acme", "--environment", "live", *place)
    assert result.exit_code == 0, result.output
    key = parse_key(result.stdout.strip())
    assert key.environment == "live"
    assert key.secret not in result.stderr
    rows = world.fetch(
        "SELECT tenant_id::text, kind, secret_hash, scopes, expires_at FROM tenantry.api_keys WHERE public_id = %s",
        key.public_id,
        database="tenantry",
    )
    assert rows == [(tenant["status"]["id"], "tenant", key.secret_hash, ["*"], None)]


async def test_a_key_may_be_narrow_and_short_lived(world: TenantWorld) -> None:
    await world.provision("acme")
    options = ["--scope", "users:read", "--scope", "users:write", "--expires-in", "12h"]
    result = await create_key("acme", *options, *by_url(world))
    ((scopes, expires),) = world.fetch(
        "SELECT scopes, expires_at FROM tenantry.api_keys WHERE public_id = %s",
        parse_key(result.stdout.strip()).public_id,
        database="tenantry",
    )
    assert scopes == ["users:read", "users:write"]
    assert abs(expires - datetime.now(UTC) - timedelta(hours=12)) < timedelta(minutes=1)


async def test_a_tenant_that_is_not_there_gets_no_key(world: TenantWorld) -> None:
    await world.provision("acme")
    result = await create_key("globex", *by_url(world))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "there is no tenant globex" in result.stderr
    assert world.fetch("SELECT count(*) FROM tenantry.api_keys", database="tenantry") == [(0,)]


async def test_a_server_that_is_not_there_is_named(world: TenantWorld, control_plane: ControlPlane) -> None:
    result = await create_key("acme", "--registry-server", "none-such", *by_cluster(control_plane, world))
    assert result.exit_code == 1
    assert "there is no DatabaseServer none-such" in result.stderr


@pytest.mark.parametrize(("lifecycle", "state"), [("Suspended", "suspended"), ("Archived", "archived")])
async def test_a_closed_tenant_gets_no_key(world: TenantWorld, lifecycle: str, state: str) -> None:
    await world.apply_tenant("acme", lifecycle=lifecycle)
    await world.reconcile("acme")
    result = await create_key("acme", *by_url(world))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"tenant acme is {state}" in result.stderr
    assert world.fetch("SELECT count(*) FROM tenantry.api_keys", database="tenantry") == [(0,)]
