"""Bringing the local node up, from whatever is there: nothing, half of it, or all."""

import os
import sys
from collections.abc import Callable, Sequence

from tenantry_cluster import daemons, dns, kernel, network, packages
from tenantry_cluster.binaries import ensure_binaries, find_kubectl
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.images import Images
from tenantry_cluster.layout import Layout
from tenantry_cluster.node import NAME, LocalNode
from tenantry_cluster.running import run
from tenantry_cluster.steps import Steps
from tenantry_cluster.teardown import stop_all
from tenantry_cluster.waiting import is_ready, wait_until

READY_SECONDS = 120.0
DNS_READY = "/api/v1/namespaces/kube-system/services/kube-dns:ready/proxy/ready"
LOG_LINES = 15


def require_root() -> None:
    """ClusterError unless this can work: a node wants Linux and root."""
    if not sys.platform.startswith("linux"):
        raise ClusterError(
            "the local node runs on Linux only", cure="install Docker, or name a cluster in TENANTRY_KUBECONFIG"
        )
    if os.geteuid() != 0:
        raise ClusterError(
            "the local node needs root, for namespaces, mounts and cgroups",
            cure="run as root (sudo make …), start Docker, or name a cluster in TENANTRY_KUBECONFIG",
        )


def bring_up(steps: Steps, layout: Layout) -> LocalNode:
    """Start what is missing of this checkout's node and wait until it runs pods and answers DNS."""
    require_root()
    packages.widen_path()
    packages.ensure(packages.NODE_PACKAGES, steps)
    ensure_binaries(steps, layout)
    images = Images(steps, layout)
    pause, coredns = images.pause(), images.coredns()
    with steps.step("Network namespace and links") as step:
        node = _prepared(layout, pause.tag)
        step.result(f"node at {node.network.node_address}")
    with steps.step("etcd, API server, containerd"):
        _start(node, node.base())
        _wait(node, _api_is_ready, what="the API server is not ready")
        _wait(node, _runtime_answers, what="containerd does not answer")
        node.write_admin_kubeconfig()
    with steps.step("Controllers, scheduler, kubelet, proxy: node Ready"):
        node.containerd.load(pause.archive, pause.tag)
        _start(node, node.rest())
        _wait(node, _node_is_ready, what="the node is not Ready")
    with steps.step("DNS"):
        node.containerd.load(coredns.archive, coredns.tag)
        kubectl(layout, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=dns.manifests(coredns.tag))
        _wait(node, _dns_is_ready, what="CoreDNS is not ready (kubectl -n kube-system describe pods)")
    return node


def kubectl(layout: Layout, *arguments: str, stdin: str | None = None) -> str:
    """What kubectl prints, asked as administrator of the cluster that is up."""
    return run([find_kubectl(layout), f"--kubeconfig={layout.kubeconfig}", *arguments], stdin)


def _prepared(layout: Layout, pause: str) -> LocalNode:
    """The node with its network, its cgroups and its configuration, and no process of an earlier network."""
    net = network.of_node(layout)
    strays = [each for each in daemons.processes(layout.id) if each.is_daemon and not network.holds(net, each.pid)]
    if strays:
        stop_all(layout)
    kernel.load_modules()
    if not network.is_up(net):
        network.bring_up(net)
    kernel.remember_settings()
    kernel.make_cgroups(layout)
    node = LocalNode.of_checkout(layout, net)
    node.configure(pause)
    return node


def _start(node: LocalNode, wanted: Sequence[daemons.Daemon]) -> None:
    """Start those that do not run; end and start anew those whose program or configuration has changed."""
    running = [each for each in daemons.processes(node.layout.id) if each.is_daemon]
    for daemon in wanted:
        mine = [each for each in running if each.part == daemon.part]
        current = [each for each in mine if each.stamp == daemon.stamp]
        daemons.end([each.pid for each in mine if each not in current[:1]])
        if not current:
            log = node.layout.logs / f"{daemon.part}.log"
            daemons.start(daemon, node.layout.id, log=log, namespace=node.network.namespace)


def _wait(node: LocalNode, condition: Callable[[LocalNode], bool], *, what: str) -> None:
    started = {each.part: each.pid for each in daemons.processes(node.layout.id) if each.is_daemon}

    def check() -> None:
        for part, pid in started.items():
            if not daemons.is_alive(pid):
                raise ClusterError(
                    f"{part} ended:\n{_last_words(node, part)}",
                    cure=f"see {node.layout.logs / part}.log; make cluster-down and make cluster start afresh",
                )

    wait_until(lambda: condition(node), seconds=READY_SECONDS, what=what, check=check)


def _last_words(node: LocalNode, part: str) -> str:
    lines = (node.layout.logs / f"{part}.log").read_text(errors="replace").splitlines()
    return "\n".join(lines[-LOG_LINES:])


def _api_is_ready(node: LocalNode) -> bool:
    return _answers(node, node.url, "/readyz")


def _runtime_answers(node: LocalNode) -> bool:
    return node.containerd.answers()


def _node_is_ready(node: LocalNode) -> bool:
    """By kubelet itself too: after a crash the API server still tells what was true before it."""
    if not _answers(node, node.kubelet_url, "/healthz"):
        return False
    template = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    return kubectl(node.layout, "get", "node", NAME, "--ignore-not-found", "-o", template) == "True"


def _dns_is_ready(node: LocalNode) -> bool:
    """Through the API server's proxy, which reaches the pod as any pod would."""
    return _answers(node, node.url, DNS_READY)


def _answers(node: LocalNode, url: str, path: str) -> bool:
    return is_ready(url, path, authority=node.trust.authority.pair.certificate, client=node.trust.admin)
