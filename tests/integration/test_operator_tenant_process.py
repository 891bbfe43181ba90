"""The operator as a process: killed in the middle of fifty Tenants, it leaves nothing half done and nothing over."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.clients.kube import SECRETS, TENANTS
from tenantry_operator.model.names import TenantNames
from tenantry_testing.operator_process import OperatorProcess
from tenantry_testing.tenant_world import INSTALLATION, SERVER, TenantWorld

NAMES = [f"tenant-{number:02}" for number in range(50)]
PATIENCE = 90.0


async def wait_until(reached: Callable[[int], bool], world: TenantWorld) -> None:
    """Wait until enough Tenants are Ready."""
    deadline = time.monotonic() + PATIENCE
    while not reached(ready := await ready_tenants(world)):
        assert time.monotonic() < deadline, f"{ready} of {len(NAMES)} are Ready after {PATIENCE:.0f} s"
        await asyncio.sleep(0.05)


async def ready_tenants(world: TenantWorld) -> int:
    return sum(world.condition(one, "Ready") == ("True", "Provisioned") for one in await world.kube.list(TENANTS))


async def test_a_killed_operator_leaves_no_orphan(
    world: TenantWorld, control_plane: ControlPlane, tmp_path: Path
) -> None:
    env = {
        "TENANTRY_NAMESPACE": world.settings.namespace,
        "TENANTRY_REGISTRY_SERVER": SERVER,
        "TENANTRY_INSTALLATION_ID": INSTALLATION,
        "TENANTRY_LOG_LEVEL": "info",
        "TENANTRY_SWEEP_INTERVAL": "2",
    }
    with OperatorProcess(control_plane.kubeconfig, tmp_path / "operator.log", env=env) as operator:
        for name in NAMES:
            await world.apply_tenant(name)
        await wait_until(lambda ready: ready >= 10, world)
        operator.kill()
        assert await ready_tenants(world) < len(NAMES), "it was killed too late to mean anything"
        operator.start()
        await wait_until(lambda ready: ready == len(NAMES), world)
    expected = {one for name in NAMES for one in (*TenantNames(name).roles, *TenantNames(name).schemas)}
    found = world.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname ~ '^[ts]_' UNION ALL"
        " SELECT nspname FROM pg_namespace WHERE nspname ~ '^[ts]_'"
    )
    assert sorted(str(row[0]) for row in found) == sorted(expected)
    secrets = await world.kube.list(SECRETS, namespace=world.settings.namespace, labels="tenantry.dev/tenant")
    assert sorted(one["metadata"]["name"] for one in secrets) == [f"{name}-database" for name in NAMES]
    states = world.fetch("SELECT state, count(*) FROM tenantry.tenants GROUP BY state", database="tenantry")
    assert states == [("active", len(NAMES))]
    for name in NAMES[:: len(NAMES) // 5]:
        world.login(await world.secret(f"{name}-database")).close()
