"""The real servers that integration tests share: one Postgres and one API server for each worker."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_testing.accounts_world import AccountsWorld, RunningService
from tenantry_testing.job_runner import JobRunner
from tenantry_testing.manifests import apply_crds
from tenantry_testing.postgres import Login, PostgresServer
from tenantry_testing.tenant_world import TenantWorld, tenant_world


def pytest_runtest_logstart(nodeid: str) -> None:
    """Write down what each worker ran, one after another: which file it gets next depends on how long the last took."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        order = Layout.of_checkout().state / "results" / f"integration-{worker}.order"
        order.parent.mkdir(parents=True, exist_ok=True)
        with order.open("a") as file:
            file.write(f"{nodeid}\n")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server with nothing of ours on it. Roles are the server's: name them so that no other test has them."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, audited, with our CRDs Established."""
    layout = Layout.of_checkout()
    with ControlPlane.start(layout.bin, audit=True) as plane:
        apply_crds(layout.bin / "kubectl", plane.kubeconfig, layout.root / "crds" / "manifests")
        yield plane


@pytest.fixture(scope="session")
def accounts_world(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AccountsWorld:
    """The databases of the accounts service, without tenants: each test adds its own."""
    return AccountsWorld(postgres, tmp_path_factory.mktemp("databases"))


@pytest.fixture
async def service(accounts_world: AccountsWorld) -> AsyncIterator[RunningService]:
    """The accounts service, composed as in production."""
    async with accounts_world.service() as running:
        yield running


@pytest.fixture(scope="session")
def tenant_postgres() -> Iterator[tuple[PostgresServer, Login]]:
    """A server of its own for what stops, empties and breaks one, and the operator's login on it."""
    with PostgresServer() as server:
        yield server, server.make_operator("operator_login", databases=("app",))


@pytest.fixture
async def bare_world(
    control_plane: ControlPlane, tenant_postgres: tuple[PostgresServer, Login]
) -> AsyncIterator[TenantWorld]:
    """The reconcilers, and no DatabaseServer yet; all that they made is removed afterwards."""
    server, operator = tenant_postgres
    async with tenant_world(control_plane, server, operator=operator, namespace="tenants-test") as made:
        yield made


@pytest.fixture
async def world(bare_world: TenantWorld) -> TenantWorld:
    """The reconcilers, and one DatabaseServer that is Ready."""
    await bare_world.apply_server()
    assert bare_world.condition(await bare_world.server(), "Ready") == ("True", "Connected")
    return bare_world


@pytest.fixture
def runner(world: TenantWorld, tmp_path: Path) -> JobRunner:
    """Runs the Jobs of the world, whose volumes are folders of this test."""
    return JobRunner(world.kube, world.settings.namespace, tmp_path)
