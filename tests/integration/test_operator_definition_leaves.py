"""The CRD of Tenants is deleted under them: everything is held, let go without an operator, and had back."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_cluster.waiting import wait_until
from tenantry_crds.names import TENANTS_CRD
from tenantry_operator.cli.app import application
from tenantry_operator.clients.kube import CUSTOMRESOURCEDEFINITIONS, LEASES, NAMESPACES, TENANTS
from tenantry_testing.kubectl import Kubectl
from tenantry_testing.manifests import apply_crds
from tenantry_testing.postgres import Login, PostgresServer
from tenantry_testing.tenant_world import TenantWorld, tenant_world

SPEC = {"deletionPolicy": "Delete", "deletionProtection": "Disabled"}
SECONDS = 90.0


@pytest.fixture(scope="module")
def plane_of_our_own() -> Iterator[ControlPlane]:
    """A control plane whose CRDs may be deleted."""
    layout = Layout.of_checkout()
    with ControlPlane.start(layout.bin) as plane:
        yield plane


def run(plane: ControlPlane, world: TenantWorld, *words: str, answer: str = "") -> tuple[int, str]:
    options = ["--kubeconfig", str(plane.kubeconfig), "--namespace", world.settings.namespace]
    result = CliRunner().invoke(application(), ["uninstall", *words, *options], input=answer)
    return result.exit_code, result.output


async def until(is_so: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, is_so, seconds=SECONDS, what=what)


async def test_a_deleted_definition_takes_nothing_along(
    plane_of_our_own: ControlPlane, tenant_postgres: tuple[PostgresServer, Login]
) -> None:
    plane, (postgres, operator) = plane_of_our_own, tenant_postgres
    layout = Layout.of_checkout()
    manifests = layout.root / "crds" / "manifests"
    apply_crds(layout.bin / "kubectl", plane.kubeconfig, manifests)
    async with tenant_world(plane, postgres, operator=operator, namespace="definition-test") as world:
        await world.apply_server()
        await world.provision("acme", **SPEC)
        first = await world.secret("acme-database")
        with world.login(first) as connection:
            connection.execute("SET ROLE t_acme_owner")
            connection.execute("CREATE TABLE things AS SELECT 7 AS id")
        await world.kube.delete(CUSTOMRESOURCEDEFINITIONS, TENANTS_CRD)
        kubectl = Kubectl(layout.bin / "kubectl", plane.kubeconfig)
        marked = "jsonpath={.metadata.deletionTimestamp}"
        await until(lambda: bool(kubectl("get", "tenant", "acme", "-o", marked)), "the Tenant was not marked")
        await world.reconcile("acme")
        tenant = await world.tenant("acme")
        assert world.condition(tenant, "Deleting") == ("True", "CrdTerminating")
        assert world.condition(tenant, "Ready") == ("True", "Provisioned")
        with world.login(first) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("t_acme_login_a",)
        # Without an operator it is let go, and the definition with it.
        code, said = await asyncio.to_thread(run, plane, world, "--orphan", "--execute", "--yes")
        assert code == 0, said
        await until(lambda: kubectl.run("get", "crd", TENANTS_CRD).returncode != 0, "the CRD did not go")
        assert "t_acme" in world.names_on_server("acme")
        # And had back, with the same password.
        await asyncio.to_thread(apply_crds, layout.bin / "kubectl", plane.kubeconfig, manifests)
        await world.restart()
        await world.provision("acme", **SPEC, adoptionPolicy="Force")
        assert await world.secret("acme-database") == first
        with world.login(first) as connection:
            connection.execute("SET ROLE t_acme_owner")
            assert connection.execute("SELECT id FROM things").fetchall() == [(7,)]


async def test_uninstalling_knows_that_a_definition_is_missing(
    plane_of_our_own: ControlPlane, tenant_postgres: tuple[PostgresServer, Login]
) -> None:
    plane, (postgres, operator) = plane_of_our_own, tenant_postgres
    layout = Layout.of_checkout()
    manifests = layout.root / "crds" / "manifests"
    apply_crds(layout.bin / "kubectl", plane.kubeconfig, manifests)
    kubectl = Kubectl(layout.bin / "kubectl", plane.kubeconfig)
    async with tenant_world(plane, postgres, operator=operator, namespace="definition-missing") as world:
        await world.apply_server()
        await world.kube.delete(CUSTOMRESOURCEDEFINITIONS, TENANTS_CRD)
        await until(lambda: kubectl.run("get", "crd", TENANTS_CRD).returncode != 0, "the CRD did not go")
        code, said = await asyncio.to_thread(run, plane, world)
        assert code == 1
        assert (
            f"the definition {TENANTS_CRD} is not in the cluster; there are 1 objects: DatabaseServer primary" in said
        )
        assert "tenantry uninstall --orphan" in said
        assert "kubectl delete" not in said, "that would wait for ever"
        code, said = await asyncio.to_thread(run, plane, world, "--orphan", "--execute", "--yes")
        assert (code, "1 objects were let go" in said) == (0, True)
        code, said = await asyncio.to_thread(run, plane, world)
        assert code == 0
        assert f"the definition {TENANTS_CRD} is not in the cluster; what such objects had in Postgres" in said
        await asyncio.to_thread(apply_crds, layout.bin / "kubectl", plane.kubeconfig, manifests)
        await world.restart()


async def test_uninstalling_names_the_namespaces_that_stay(control_plane: ControlPlane, world: TenantWorld) -> None:
    made = await world.provision("acme", namespace={"name": "acme-space"})
    _, said = await asyncio.to_thread(run, control_plane, world, "--orphan")
    leaves = next(line for line in said.splitlines() if "acme leaves in" in line)
    assert leaves.endswith(", namespace acme-space")
    annotations = {"tenantry.dev/owner-uid": f"not {made['metadata']['uid']}"}
    await world.kube.merge_patch(NAMESPACES, "acme-space", {"metadata": {"annotations": annotations}})
    _, said = await asyncio.to_thread(run, control_plane, world, "--orphan")
    assert "Tenants that are gone left: namespaces acme-space" in said


async def test_uninstalling_says_what_to_do_and_does_it_when_it_is_meant(
    control_plane: ControlPlane, world: TenantWorld
) -> None:
    code, said = await asyncio.to_thread(run, control_plane, world)
    assert (code, "Nothing stands in the way" in said) == (0, True)
    await world.provision("acme")
    code, said = await asyncio.to_thread(run, control_plane, world)
    assert code == 1
    assert "there are 1 Tenants: acme" in said
    code, said = await asyncio.to_thread(run, control_plane, world, "--orphan")
    assert code == 0
    assert "Nothing was changed" in said
    assert "t_acme" in said
    code, said = await asyncio.to_thread(run, control_plane, world, "--orphan", "--execute", answer="yes\n")
    assert (code, "nothing was changed" in said) == (1, True)
    assert (await world.tenant("acme"))["metadata"]["finalizers"] == ["tenantry.dev/finalizer"]
    others = ["tenantry.dev/finalizer", "example.com/other"]
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"finalizers": others}})
    code, said = await asyncio.to_thread(run, control_plane, world, "--orphan", "--execute", answer="orphan\n")
    assert (code, "2 objects were let go" in said) == (0, True)
    assert (await world.tenant("acme"))["metadata"]["finalizers"] == ["example.com/other"]
    assert "finalizers" not in (await world.server())["metadata"]
    assert "t_acme" in world.names_on_server("acme")


async def test_nothing_is_let_go_while_an_operator_leads(control_plane: ControlPlane, world: TenantWorld) -> None:
    await world.provision("acme")
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "tenantry-operator", "namespace": world.settings.namespace},
        "spec": {"holderIdentity": "operator-0", "leaseDurationSeconds": 3600, "renewTime": now},
    }
    await world.kube.create(LEASES, lease)
    try:
        code, said = await asyncio.to_thread(run, control_plane, world, "--orphan", "--execute", "--yes")
    finally:
        await world.kube.delete(LEASES, "tenantry-operator", namespace=world.settings.namespace)
    assert (code, "an operator leads" in said) == (1, True)
    assert (await world.tenant("acme"))["metadata"]["finalizers"] == ["tenantry.dev/finalizer"]
