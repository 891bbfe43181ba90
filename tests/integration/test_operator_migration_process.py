"""A real operator is killed in the middle of a MigrationRun; the next one goes on. And the command line beside it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenantry_cluster import Layout
from tenantry_testing.bench.world import SERVER, BenchWorld
from tenantry_testing.crd_examples import example
from tenantry_testing.histories import CONTRACT, EXPAND, write_history
from tenantry_testing.kubectl import Kubectl
from tenantry_testing.later_operator import HISTORY, MODULE
from tenantry_testing.operator_process import OperatorProcess

NAMES = [f"fleet-{number:02}" for number in range(24)]
LATE = set(NAMES[12:])
QUICK = {
    "TENANTRY_REGISTRY_SERVER": SERVER,
    "TENANTRY_LEASE_DURATION": "6",
    "TENANTRY_LEASE_RENEW_DEADLINE": "4.5",
    "TENANTRY_LEASE_RENEW_INTERVAL": "0.3",
    "TENANTRY_SWEEP_INTERVAL": "1",
}


def wait_until(condition: Callable[[], bool], what: str, limit: float = 90.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} within {limit} s"
        time.sleep(0.05)


class Site:
    """One installation with 24 Tenants, and the operator of a later version."""

    def __init__(self, world: BenchWorld, folder: Path) -> None:
        self.world = world
        self.kubectl = Kubectl(world.layout.bin / "kubectl", world.plane.kubeconfig)
        self.later = {**QUICK, HISTORY: str(write_history(folder / "history"))}
        self._folder = folder

    def operator(self, name: str, *, later: bool = True) -> OperatorProcess:
        return OperatorProcess(
            self.world.plane.kubeconfig,
            self._folder / f"{name}.log",
            pod_name="a",
            env=self.later if later else QUICK,
            module=MODULE if later else "tenantry_operator",
        )

    def provision(self) -> None:
        waves = {name: {"migrations": {"wave": 2 if name in LATE else 1}} for name in NAMES}
        items = [example("Tenant", name, **waves[name]) for name in NAMES]
        with self.operator("before", later=False):
            self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
            self.kubectl("wait", "--for=condition=Ready", "--timeout=110s", *(f"tenant/{name}" for name in NAMES))

    def run(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "mr", name, "-o", "json"))
        return found

    def moved(self) -> set[str]:
        """The Tenants whose schema is at the revision."""
        with self.world.postgres.connect("app") as connection:
            versions = {
                name: connection.execute(f"SELECT version FROM s_{name.replace('-', '_')}.schema_version").fetchone()
                for name in NAMES
            }
        return {name for name, version in versions.items() if version == (EXPAND,)}

    def tenantry(self, *words: str) -> subprocess.CompletedProcess[str]:
        given = [sys.executable, "-m", MODULE, *words, "--kubeconfig", str(self.world.plane.kubeconfig)]
        environment = {"PATH": os.environ["PATH"], HISTORY: self.later[HISTORY]}
        return subprocess.run(given, env=environment, capture_output=True, text=True, timeout=110, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with BenchWorld.open(Layout.of_checkout()) as world:
        site = Site(world, tmp_path_factory.mktemp("site"))
        site.provision()
        yield site


@pytest.mark.timeout(300)
def test_killed_in_the_middle_of_a_run_the_next_operator_goes_on(site: Site) -> None:
    spec = {"to": EXPAND, "phase": "expand", "lockTimeout": "30s", "waves": [{"percent": 1}, {"maxParallel": 4}]}
    with site.operator("killed") as operator:
        dry = site.tenantry("migrate", "run", "--to", EXPAND, "--dry-run", "--wave", "1%", "--wave", "rest")
        assert dry.returncode == 0, dry.stderr
        assert "ALTER TABLE users ADD COLUMN locale" in dry.stdout
        assert "12 in wave 1, 12 in wave 2" in dry.stderr
        assert site.moved() == set()
        with site.world.postgres.connect("app") as holder, holder.transaction():
            holder.execute("LOCK TABLE s_fleet_12.users IN ACCESS SHARE MODE")
            site.kubectl("apply", "-f", "-", stdin=example("MigrationRun", "killed", **spec))
            # One of the second wave waits for the lock: the run cannot be over.
            wait_until(lambda: set(NAMES) - LATE <= site.moved(), "the first wave is moved")
            operator.kill()
            assert site.run("killed")["status"].get("phase") != "Succeeded"
            assert "fleet-12" not in site.moved()
        operator.restart()
        wait_until(lambda: site.run("killed")["status"].get("phase") == "Succeeded", "the run is over")
        status = site.run("killed")["status"]
        assert (status["done"], status["failed"], status["total"]) == (24, 0, 24)
        assert site.moved() == set(NAMES)
        assert operator.metric("tenantry_tenant_migrations_total", outcome="done") <= 12, "nobody is moved twice"
        upgraded = "--for=jsonpath={.status.migration.current}=" + EXPAND
        site.kubectl("wait", upgraded, "--timeout=60s", *(f"tenant/{name}" for name in NAMES))
        again = site.tenantry("migrate", "run", "--to", EXPAND, "--name", "again")
        assert again.returncode == 0, again.stderr
        refused = site.tenantry("migrate", "run", "--to", CONTRACT, "--phase", "expand")
        assert refused.returncode == 1
        assert f"InvalidSpec: {CONTRACT} is of phase contract" in refused.stderr
    columns = site.kubectl("get", "mr", "killed").splitlines()
    assert columns[0].split() == ["NAME", "PHASE", "WAVE", "DONE", "FAILED", "TOTAL", "AGE"]
    shown = site.tenantry("migrate", "status", "killed")
    assert (shown.returncode, "24 of 24 done" in shown.stdout) == (0, True)
    assert json.loads(site.tenantry("migrate", "status", "killed", "-o", "json").stdout)["spec"]["to"] == EXPAND
