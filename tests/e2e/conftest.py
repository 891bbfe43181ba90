"""The running system: what `make demo` brought up. These fixtures read where it is, and start nothing."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenantry_cluster import ClusterError, Layout
from tenantry_testing.demo.facts import SERVER
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.record import read_record
from tenantry_testing.demo.versions import server_versions
from tenantry_testing.running import MadeTenant, Running, make_notes, remove_tenant, tenant_manifest


@pytest.fixture(scope="session")
def running() -> Running:
    """Fails, and never skips, without a demo that is up."""
    layout = Layout.of_checkout()
    try:
        record = read_record(layout)
    except ClusterError as error:
        pytest.fail(f"{error}. Bring the demo up first: make demo, or run the suite by make e2e", pytrace=False)
    return Running(record, Programs(Path(record.kubeconfig), layout.bin), layout)


def pytest_report_header() -> str:
    layout = Layout.of_checkout()
    try:
        programs = Programs(Path(read_record(layout).kubeconfig), layout.bin)
    except ClusterError:
        return "servers met: none, there is no demo"
    return f"servers met: {server_versions(programs)}"


@pytest.fixture
def make_tenant(running: Running) -> Iterator[Callable[..., MadeTenant]]:
    """Applies Tenants of new names and waits until they are Ready; they are deleted with their data at the end."""
    made: list[MadeTenant] = []

    def make(**spec: object) -> MadeTenant:
        tenant = MadeTenant(f"e2e-{uuid.uuid4().hex[:10]}", running)
        made.append(tenant)
        running.kubectl("apply", "-f", "-", stdin=tenant_manifest(tenant.name, **spec))
        tenant.wait_ready()
        return tenant

    yield make
    for tenant in made:
        remove_tenant(tenant)


@pytest.fixture(scope="module")
def two_tenants(running: Running) -> Iterator[tuple[MadeTenant, MadeTenant]]:
    """Two Tenants, each with a table `notes` of its own."""
    names = [f"e2e-{uuid.uuid4().hex[:10]}" for _ in range(2)]
    tenants = [MadeTenant(name, running) for name in names]
    running.kubectl("apply", "-f", "-", stdin="\n---\n".join(tenant_manifest(name) for name in names))
    for tenant in tenants:
        tenant.wait_ready()
        make_notes(tenant)
    yield tenants[0], tenants[1]
    for tenant in tenants:
        remove_tenant(tenant)


@pytest.fixture(scope="module")
def placed_tenant(running: Running) -> Iterator[MadeTenant]:
    """A Tenant that names its server."""
    tenant = MadeTenant(f"e2e-{uuid.uuid4().hex[:10]}", running)
    running.kubectl("apply", "-f", "-", stdin=tenant_manifest(tenant.name, databaseServer=SERVER))
    tenant.wait_ready()
    yield tenant
    tenant.delete()


@pytest.fixture
def outage(running: Running) -> Iterator[int]:
    """The demo's DatabaseServer points at a port where nobody listens: that port. It is put right at the end."""
    port = 5999
    running.kubectl("patch", "dbs", SERVER, "--type=merge", "--patch", json.dumps({"spec": {"port": port}}))
    yield port
    running.kubectl("apply", "-f", str(running.layout.root / "examples/databaseserver.yaml"))
    running.kubectl("wait", f"dbs/{SERVER}", "--for=condition=Ready", "--timeout=60s")
