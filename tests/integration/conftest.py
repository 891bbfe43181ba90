"""The real servers that integration tests share: one Postgres and one API server for a whole run."""

from collections.abc import Iterator

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_testing.accounts_world import AccountsWorld
from tenantry_testing.manifests import apply_crds
from tenantry_testing.postgres import PostgresServer


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
