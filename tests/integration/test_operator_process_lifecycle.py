"""The operator as a process: it leads, is killed, is stopped, is paused; and another one takes over."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_testing.kubectl import Kubectl
from tenantry_testing.manifests import apply_crds
from tenantry_testing.operator_process import OperatorProcess
from tenantry_testing.tcp_proxy import TcpProxy

FAILED = 1
LEASE_LOST = 3
MISCONFIGURED = 2
QUICK = {
    "TENANTRY_LEASE_DURATION": "6",
    "TENANTRY_LEASE_RENEW_DEADLINE": "4.5",
    "TENANTRY_LEASE_RENEW_INTERVAL": "0.3",
    "TENANTRY_SWEEP_INTERVAL": "1",
}


def wait_until(condition: Callable[[], bool], what: str, limit: float = 30.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} within {limit} s"
        time.sleep(0.05)


class World:
    """An API server of our own, for these operators would follow any other test's Tenants."""

    def __init__(self, plane: ControlPlane, layout: Layout, folder: Path, *, namespace: str) -> None:
        self.plane = plane
        self.kubectl = Kubectl(layout.bin / "kubectl", plane.kubeconfig)
        self.namespace = namespace
        self._folder = folder
        self._open = ExitStack()
        self.kubectl("create", "namespace", namespace)

    def operator(self, pod_name: str, *, kubeconfig: Path | None = None, **env: str) -> OperatorProcess:
        settings = {**QUICK, "TENANTRY_NAMESPACE": self.namespace, **env}
        process = OperatorProcess(
            kubeconfig or self.plane.kubeconfig, self._folder / f"{pod_name}.log", pod_name=pod_name, env=settings
        )
        self._open.callback(process.close)
        return process

    def proxied(self) -> tuple[TcpProxy, Path]:
        """Return a proxy to the API server, and a kubeconfig that goes through it."""
        address = urlsplit(self.plane.url)
        proxy = self._open.enter_context(TcpProxy(address.hostname or "", address.port or 0))
        config = yaml.safe_load(self.plane.kubeconfig.read_text())
        for cluster in config["clusters"]:
            cluster["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        path = self._folder / "proxied.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return proxy, path

    def lease(self) -> dict[str, object]:
        text = self.kubectl("get", "lease", "tenantry-operator", "-n", self.namespace, "-o", "json")
        spec: dict[str, object] = json.loads(text)["spec"]
        return spec

    def apply_service(self, name: str) -> None:
        template = {"spec": {"containers": [{"name": "main", "image": "none.invalid/none"}]}}
        self.kubectl(
            "apply",
            "-f",
            "-",
            stdin={
                "apiVersion": "tenantry.dev/v1alpha1",
                "kind": "ServiceDeployment",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"replicas": 1, "template": template, "service": {"port": 80}},
            },
        )

    def made(self, name: str) -> bool:
        """Whether an operator has done anything for the ServiceDeployment."""
        labels = f"tenantry.dev/service-deployment={name}"
        return bool(self.kubectl("get", "deployments", "-n", self.namespace, "-l", labels, "-o", "name").strip())

    def close(self) -> None:
        self._open.close()
        self.kubectl("delete", "servicedeployments", "--all", "-n", self.namespace)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    layout = Layout.of_checkout()
    with ControlPlane.start(layout.bin) as plane:
        apply_crds(layout.bin / "kubectl", plane.kubeconfig, layout.root / "crds" / "manifests")
        yield plane


@pytest.fixture
def world(plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    namespace = f"ops-{abs(hash(request.node.name)) % 10**8}"
    world = World(plane, Layout.of_checkout(), tmp_path, namespace=namespace)
    try:
        yield world
    finally:
        world.close()


def test_an_operator_leads_answers_probes_and_ends_when_asked(world: World) -> None:
    with world.operator("a") as operator:
        assert operator.healthz() == (200, "ok\n")
        assert operator.metric("tenantry_leader") == 1
        assert world.lease()["holderIdentity"] == "a"
        assert operator.stop() == 0
    assert world.lease()["holderIdentity"] == "", "given back, so that the next one need not wait"


def test_a_change_starts_a_pass_within_a_tenth_of_a_second(world: World) -> None:
    # No sweep is the cause of it.
    with world.operator("a", TENANTRY_SWEEP_INTERVAL="30") as operator:
        took = [seconds_to_a_pass(world, operator, f"quick-{number}") for number in range(5)]
    # Other work of the machine makes one of them late, a delay of ours makes all.
    assert min(took) < 0.5, took


def seconds_to_a_pass(world: World, operator: OperatorProcess, name: str) -> float:
    """How long after `kubectl apply` of a new object the first pass over it ended."""
    world.apply_service(name)
    applied = time.monotonic()
    wait_until(lambda: any(has_passed(line, name) for line in operator.lines()), f"a pass over {name}")
    return time.monotonic() - applied


def has_passed(line: dict[str, Any], name: str) -> bool:
    return line.get("event") == "pass ended" and str(line["object"]).endswith(f"/{name}")


def test_a_killed_leader_that_starts_again_leads_at_once(world: World) -> None:
    with world.operator("a", TENANTRY_LEASE_DURATION="90", TENANTRY_LEASE_RENEW_DEADLINE="60") as operator:
        before = world.lease()["leaseTransitions"]
        operator.kill()
        begun = time.monotonic()
        operator.restart()
        assert time.monotonic() - begun < 45, "it need not wait for its own Lease"
        # Its sessions before and after the crash must be told apart.
        assert world.lease()["leaseTransitions"] == int(str(before)) + 1


def test_a_standby_takes_over_from_a_killed_leader(world: World) -> None:
    with world.operator("a") as leader:
        standby = world.operator("b")
        standby.start()
        standby.wait_started()
        assert standby.healthz() == (200, "ok\n"), "a standby is healthy"
        assert standby.metric("tenantry_leader") == 0
        leader.kill()
        standby.wait_working(20)
        world.apply_service("after")
        wait_until(lambda: world.made("after"), "the new leader works")
        assert world.lease()["holderIdentity"] == "b"


def test_of_two_operators_only_one_works(world: World) -> None:
    with world.operator("a"):
        standby = world.operator("b")
        standby.start()
        standby.wait_started()
        world.apply_service("one")
        wait_until(lambda: world.made("one"), "the leader works")
        assert standby.metric("tenantry_reconcile_total") == 0
        assert standby.metric("tenantry_api_requests_total") == 0


def test_a_leader_that_was_paused_ends_when_it_wakes_and_does_nothing_before(world: World) -> None:
    paused = world.operator("a")
    paused.start()
    paused.wait_working()
    standby = world.operator("b")
    standby.start()
    standby.wait_started()
    paused.pause()
    standby.wait_working(20)
    paused.resume()
    asleep = sum(1 for _ in paused.lines())
    assert paused.wait_ended() == LEASE_LOST
    done = [line for line in list(paused.lines())[asleep:] if line.get("event") == "pass ended"]
    assert all(line["outcome"] == "not-leading" for line in done)
    assert world.lease()["holderIdentity"] == "b"


def test_a_lease_taken_by_somebody_else_ends_the_process(world: World) -> None:
    with world.operator("a") as operator:
        stolen = {"spec": {"holderIdentity": "thief"}}
        world.kubectl(
            "patch", "lease", "tenantry-operator", "-n", world.namespace, "--type=merge", "-p", json.dumps(stolen)
        )
        assert operator.wait_ended() == LEASE_LOST
    assert world.lease()["holderIdentity"] == "thief"


def test_a_dead_watch_makes_healthz_fail_and_what_it_missed_is_found_all_the_same(world: World) -> None:
    proxy, kubeconfig = world.proxied()
    patient = {
        "TENANTRY_LEASE_DURATION": "40",
        "TENANTRY_LEASE_RENEW_DEADLINE": "30",
        "TENANTRY_REQUEST_TIMEOUT": "2",
        "TENANTRY_BEHIND_AFTER": "3",
    }
    with world.operator("a", kubeconfig=kubeconfig, **patient) as operator:
        world.apply_service("seen")
        wait_until(lambda: operator.metric("tenantry_watch_events_total", kind="ServiceDeployment") > 0, "a watch")
        proxy.freeze()
        world.apply_service("missed")
        wait_until(lambda: world.made("missed"), "the sweep finds it", limit=40)
        wait_until(lambda: is_dead(*operator.healthz()), "the probe fails for the watch", limit=40)
        proxy.thaw()
        wait_until(lambda: operator.healthz()[0] == 200, "the watch lives again", limit=40)


def is_dead(status: int, said: str) -> bool:
    return status == 503 and "the watch is dead" in said


def test_an_api_server_that_is_gone_for_long_ends_the_process(world: World) -> None:
    """Without the API server there is no Lease; another operator may lead on the other side of the cut."""
    proxy, kubeconfig = world.proxied()
    with world.operator("a", kubeconfig=kubeconfig) as operator:
        proxy.refuse()
        assert operator.wait_ended() == LEASE_LOST


def test_no_usable_settings_end_the_process_with_their_names(world: World) -> None:
    operator = world.operator("a", TENANTRY_WORKERS="0", TENANTRY_LOG_LEVEL="loud")
    operator.start()
    assert operator.wait_ended() == MISCONFIGURED
    assert "TENANTRY_WORKERS: " in operator.tail()
    assert "TENANTRY_LOG_LEVEL: " in operator.tail()


def test_a_port_that_is_taken_ends_the_process_with_its_number(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        operator = world.operator("a", TENANTRY_HTTP_PORT=str(port))
        operator.start()
        assert operator.wait_ended() == FAILED
        assert str(port) in operator.tail()


def test_no_kubeconfig_ends_the_process_with_its_path(world: World, tmp_path: Path) -> None:
    operator = world.operator("a", kubeconfig=tmp_path / "absent")
    operator.start()
    assert operator.wait_ended() == MISCONFIGURED
    assert "absent" in operator.tail()


def test_every_line_of_the_log_is_json(world: World) -> None:
    with world.operator("a") as operator:
        operator.stop()
        assert all(json.loads(line)["level"] for line in operator.log.read_text().splitlines())
