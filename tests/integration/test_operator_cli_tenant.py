"""``tenantry tenant list|status|report|psql`` and ``doctor`` against a real API server and a real Postgres."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_operator.cli.app import application
from tenantry_operator.clients.kube import DEPLOYMENTS, LEASES
from tenantry_testing.tenant_world import TenantWorld


class Command:
    def __init__(self, world: TenantWorld, plane: ControlPlane) -> None:
        self._place = ["--kubeconfig", str(plane.kubeconfig), "--namespace", world.settings.namespace]

    async def __call__(self, *words: str, tail: tuple[str, ...] = ()) -> Result:
        """Run the command in a thread, for it has an event loop of its own; `tail` follows the options."""
        line = [*words, *self._place, *tail]
        return await asyncio.to_thread(CliRunner().invoke, application(), line)

    async def as_plugin(self, *words: str, tail: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the program that kubectl finds, as a process of its own."""
        program = Path(sys.executable).with_name("kubectl-tenantry")
        line = [str(program), *words, *self._place, *tail]
        return await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False)

    async def value(self, *words: str) -> Any:
        result = await self(*words, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def tenantry(world: TenantWorld, control_plane: ControlPlane) -> Command:
    return Command(world, control_plane)


async def test_tenants_are_listed_with_what_is_wrong(world: TenantWorld, tenantry: Command) -> None:
    await world.provision("acme")
    await world.apply_tenant("globex", databaseServer="nowhere")
    await world.reconcile("globex")
    listed = await tenantry.value("tenant", "list")
    assert [(one["name"], one["ready"], one["reason"]) for one in listed] == [
        ("acme", "True", "Provisioned"),
        ("globex", "False", "ServerNotFound"),
    ]
    table = (await tenantry("tenant", "list")).stdout
    assert table.splitlines()[0].split()[:3] == ["NAME", "READY", "PHASE"]
    assert "there is no DatabaseServer nowhere; there are: primary" in table
    assert [one["name"] for one in await tenantry.value("tenant", "list", "--not-ready")] == ["globex"]
    assert [one["name"] for one in await tenantry.value("tenant", "list", "--server", "primary")] == ["acme"]
    assert [one["name"] for one in yaml.safe_load((await tenantry("tenant", "list", "-o", "yaml")).stdout)] == [
        "acme",
        "globex",
    ]


async def test_a_tenant_is_shown_as_a_tree(world: TenantWorld, tenantry: Command) -> None:
    await world.provision("acme")
    shown = (await tenantry("tenant", "status", "acme")).stdout
    for text in (
        "Ready=True Provisioned since",
        "server primary",
        "schema t_acme",
        "t_acme_login_a",
        f"Secret {world.settings.namespace}/acme-database",
        "connectionLimit 20",
    ):
        assert text in shown
    value = await tenantry.value("tenant", "status", "acme")
    assert value["summary"]["ready"] == "True"
    assert value["status"]["schema"] == "t_acme"


async def test_a_tenant_that_is_not_there_is_told_with_those_like_it(world: TenantWorld, tenantry: Command) -> None:
    await world.provision("acme")
    for words in (["status", "acmee"], ["report", "acmee"], ["psql", "acmee"]):
        result = await tenantry("tenant", *words)
        assert result.exit_code == 1
        assert "there is no Tenant acmee; did you mean acme?" in result.stderr
        assert result.stdout == ""


async def test_waiting_ends_when_the_tenant_is_ready_or_the_time_is_over(world: TenantWorld, tenantry: Command) -> None:
    await world.apply_tenant("acme")
    late = await tenantry("tenant", "status", "acme", "--wait", "--timeout", "0.1")
    assert late.exit_code == 1
    assert "acme is not Ready after 0.1 s" in late.stderr
    waiting = asyncio.create_task(tenantry("tenant", "status", "acme", "--wait", "--timeout", "90"))
    await world.reconcile("acme")
    result = await waiting
    assert result.exit_code == 0, result.output
    assert "Ready=True" in result.stdout


async def test_a_report_has_everything_but_secrets(world: TenantWorld, tenantry: Command) -> None:
    await world.provision("acme")
    world.execute("REVOKE t_acme_app FROM t_acme_login_a")
    await world.reconcile_once("acme")
    secret = await world.secret("acme-database")
    result = await tenantry("tenant", "report", "acme")
    assert result.exit_code == 0, result.output
    for text in ("# Tenant acme", "## tenant", "## secret", "## server", "## events", "reason: Repaired", "- password"):
        assert text in result.stdout
    for output in (result.stdout, (await tenantry("tenant", "report", "acme", "-o", "json")).stdout):
        assert secret["password"] not in output
        assert world.operator.password not in output
    value = await tenantry.value("tenant", "report", "acme")
    assert value["secret"]["keys"] == sorted(secret)
    assert value["server"]["status"]["tenants"] is not None
    assert value["explained"] == []


@pytest.fixture
def spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A psql before the real one on PATH, which notes how it was called, and then becomes the real one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    noted = tmp_path / "called"
    program = folder / "psql"
    path = os.environ["PATH"]
    program.write_text(f'#!/bin/sh\necho "$@" > {noted}\nPATH={path} exec psql -X "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{path}")
    return noted


async def test_psql_logs_in_as_the_tenant_and_no_command_line_has_the_password(
    world: TenantWorld, tenantry: Command, spy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.provision("acme")
    monkeypatch.setenv("PGUSER", "somebody-else")
    query = "SELECT current_user, current_schema, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    done = await tenantry.as_plugin("tenant", "psql", "acme", tail=("--", "-At", "-c", query))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "t_acme_login_a|t_acme|t"
    called = await asyncio.to_thread(spy.read_text)
    assert (await world.secret("acme-database"))["password"] not in called


async def test_psql_goes_through_another_address_and_ends_as_psql_does(
    world: TenantWorld, tenantry: Command, spy: Path
) -> None:
    await world.provision("acme")
    words, tail = ("tenant", "psql", "acme", "--through"), ("--", "-At", "-c", "SELECT 1")
    done = await tenantry.as_plugin(*words, f"127.0.0.1:{world.postgres.port}", tail=tail)
    assert (done.returncode, done.stdout) == (0, "1\n")
    refused = await tenantry.as_plugin(*words, "127.0.0.1:1", tail=tail)
    assert refused.returncode == 2, "psql's own code for no connection"


async def test_psql_says_when_there_is_no_secret_yet(world: TenantWorld, tenantry: Command) -> None:
    await world.apply_tenant("acme")
    result = await tenantry("tenant", "psql", "acme")
    assert result.exit_code == 1
    assert "Tenant acme has no Secret yet" in result.stderr


def levels(lines: list[dict[str, str]]) -> dict[str, str]:
    return {line["check"]: line["level"] for line in lines}


async def lead(world: TenantWorld, *, renewed: datetime) -> None:
    """Make what a running operator leaves in the cluster."""
    namespace = world.settings.namespace
    spec = {
        "selector": {"matchLabels": {"app": "operator"}},
        "template": {
            "metadata": {"labels": {"app": "operator"}},
            "spec": {"containers": [{"name": "operator", "image": "operator:test"}]},
        },
    }
    metadata = {"name": "tenantry-operator", "namespace": namespace}
    await world.kube.apply(
        DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    )
    status = {"status": {"readyReplicas": 1, "replicas": 1}}
    await world.kube.merge_patch(DEPLOYMENTS, "tenantry-operator", status, namespace=namespace, subresource="status")
    lease = {
        "holderIdentity": "operator-0",
        "renewTime": renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "leaseDurationSeconds": 15,
    }
    await world.kube.apply(
        LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": lease}
    )


async def test_the_doctor_finds_an_installation_well(world: TenantWorld, tenantry: Command) -> None:
    await world.provision("acme")
    await lead(world, renewed=datetime.now(UTC))
    try:
        result = await tenantry("doctor", "-o", "json")
        assert result.exit_code == 0, result.output
        found = levels(json.loads(result.stdout))
        assert set(found.values()) == {"OK"}, result.stdout
        assert {"cluster", "CRD", "operator", "lease", "server primary", "registry", "tenants", "rights"} <= set(found)
        assert "OK    registry: database tenantry of server primary: 1 Tenants" in (await tenantry("doctor")).stdout
    finally:
        await unlead(world)


async def unlead(world: TenantWorld) -> None:
    for resource in (DEPLOYMENTS, LEASES):
        await world.kube.delete(resource, "tenantry-operator", namespace=world.settings.namespace)


async def test_the_doctor_names_what_is_wrong_and_hides_nothing_else(world: TenantWorld, tenantry: Command) -> None:
    await world.apply_server(port=1)
    await world.apply_tenant("acme")
    result = await tenantry("doctor", "-o", "json")
    assert result.exit_code == 1
    found = levels(json.loads(result.stdout))
    assert found["lease"] == "FAIL"
    assert found["server primary"] == "FAIL"
    assert found["registry"] == "WARN", "it cannot be read from here; whether it can from there is the server's line"
    assert found["tenants"] == "WARN"
    assert (found["cluster"], found["CRD"], found["rights"]) == ("OK", "OK", "OK")
    shown = (await tenantry("doctor")).stdout
    assert "tenantry explain NotReachable" in shown


async def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for words in (["doctor"], ["tenant", "list"], ["plan", "-f", __file__.replace(".py", ".none")]):
        line = [*words, "--kubeconfig", str(tmp_path / "none")]
        result = await asyncio.to_thread(CliRunner().invoke, application(), line)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert len((result.stdout + result.stderr).strip().splitlines()) <= 2


async def test_kubectl_runs_the_command_as_its_plug_in(world: TenantWorld, control_plane: ControlPlane) -> None:
    await world.provision("acme")
    kubectl = Layout.of_checkout().bin / "kubectl"
    folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"KUBECONFIG": str(control_plane.kubeconfig)}
    line = [str(kubectl), "tenantry", "tenant", "list", "-o", "json"]
    done = await asyncio.to_thread(subprocess.run, line, env=environment, capture_output=True, text=True, check=True)
    assert [one["name"] for one in json.loads(done.stdout)] == ["acme"]
