"""The local node from nothing to nothing, in a checkout of its own, beside whatever cluster is up."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry_cluster import Cluster, Kind, Layout, Steps, daemons, ensure_cluster, take_down, teardown
from tenantry_cluster.images import Images
from tenantry_cluster.running import run
from tenantry_cluster.waiting import wait_until

HERE = Layout.of_checkout()
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: answers, labels: {{app: answers}}}}
spec:
  containers:
    - name: answers
      image: {image}
      imagePullPolicy: Never
      args: [-conf, /config/Corefile]
      volumeMounts: [{{name: config, mountPath: /config}}]
  volumes: [{{name: config, configMap: {{name: answers}}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: answers}}
data:
  Corefile: |
    .:1053 {{
        health :8080
    }}
---
apiVersion: v1
kind: Service
metadata: {{name: answers}}
spec: {{type: NodePort, selector: {{app: answers}}, ports: [{{port: 8080, nodePort: 30080}}]}}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Layout]:
    """A second checkout that shares programs and images with this one, and nothing else."""
    if os.geteuid() != 0:
        pytest.fail("the local node needs root", pytrace=False)
    layout = Layout(tmp_path / "checkout")
    layout.state.mkdir(parents=True)
    (layout.root / "tests").symlink_to(HERE.root / "tests")
    for shared in ("bin", "images", "buildah", "stack"):
        (HERE.state / shared).mkdir(exist_ok=True)
        (layout.state / shared).symlink_to(HERE.state / shared)
    # As if a run was killed: on a machine with a Docker engine too, it is the local node that is tested here.
    layout.node.mkdir()
    yield layout
    take_down(Steps(), layout)


def kubectl(cluster: Cluster, *arguments: str, stdin: str = "") -> str:
    return run([str(HERE.bin / "kubectl"), f"--kubeconfig={cluster.kubeconfig}", *arguments], stdin)


def answers(cluster: Cluster) -> bool:
    try:
        with urllib.request.urlopen(f"http://{cluster.node_address}:30080/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def rules_of_the_machine() -> str:
    """Without the counters and the time that each listing carries."""
    listed = run(["iptables-save"]) if shutil.which("iptables-save") else ""
    return "\n".join(line for line in listed.splitlines() if not line.startswith((":", "#")))


@pytest.mark.timeout(400)
def test_a_node_comes_up_heals_and_leaves_nothing(checkout: Layout) -> None:
    rules, steps = rules_of_the_machine(), Steps()
    cluster = ensure_cluster(steps, checkout)
    assert cluster.kind is Kind.LOCAL
    assert cluster.node_address is not None

    image = Images(steps, checkout).coredns()
    assert not cluster.load_image(image.archive, image.tag), "the node had it, as its own DNS runs from it"
    kubectl(cluster, "apply", "-f", "-", stdin=POD.format(image=image.tag))
    kubectl(cluster, "wait", "--for=condition=Ready", "pod/answers", "--timeout=60s")
    wait_until(lambda: answers(cluster), seconds=60, what="the NodePort does not answer from the machine's own shell")

    wait_until(lambda: bool(kubectl(cluster, "logs", "answers")), seconds=20, what="the pod has no log")
    assert list((checkout.node / "pod-logs").glob("default_answers_*"))

    # All its processes crash; the pods' own live on, and must not be restarted.
    daemons.end([process.pid for process in daemons.processes(checkout.id) if process.is_daemon])
    assert ensure_cluster(steps, checkout) == cluster
    wait_until(lambda: answers(cluster), seconds=60, what="the pod does not answer after the crash")
    restarts = "jsonpath={.status.containerStatuses[0].restartCount}"
    assert kubectl(cluster, "get", "pod", "answers", "-o", restarts) == "0"

    # Its network is lost, as after a reboot.
    run(["ip", "netns", "del", f"tenantry-{checkout.id}"])
    assert ensure_cluster(steps, checkout) == cluster
    wait_until(lambda: answers(cluster), seconds=60, what="the pod does not answer on the new network")

    assert rules_of_the_machine() == rules
    take_down(steps, checkout)
    take_down(steps, checkout)
    assert not teardown.anything_is_left(checkout)
    assert checkout.id not in run(["ip", "-brief", "link"])
    # Meanwhile other nodes of this machine may remove what is theirs.
    assert [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if folder.endswith(f"/tenantry-{checkout.id}")] == []
    assert list(teardown.links_below(teardown.LOG_LINKS, checkout.root)) == []
    assert list(teardown.CNI_RESULTS.glob(f"tenantry-{checkout.id}-*")) == []


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_a_run_that_is_killed_midway_can_be_taken_down(checkout: Layout, seconds: float) -> None:
    program = (
        "from pathlib import Path; from tenantry_cluster import Layout, Steps, ensure_cluster;"
        f"ensure_cluster(Steps(), Layout(Path({str(checkout.root)!r})))"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as killed:
        try:
            killed.wait(seconds)
        except subprocess.TimeoutExpired:
            killed.kill()
    take_down(Steps(), checkout)
    assert not teardown.anything_is_left(checkout)
    assert checkout.id not in run(["ip", "-brief", "link"])
