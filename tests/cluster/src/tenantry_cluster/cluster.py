"""Which cluster is used, and the three things that all kinds can do: come up, take in images, go down."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster import files, local, packages, record, teardown
from tenantry_cluster.binaries import find_kubectl
from tenantry_cluster.containerd import Containerd
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.kind import KindCluster, engine_is_reachable
from tenantry_cluster.layout import Layout
from tenantry_cluster.lock import alone
from tenantry_cluster.record import Kind, Record
from tenantry_cluster.running import run
from tenantry_cluster.steps import Steps

VARIABLE = "TENANTRY_KUBECONFIG"


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up. `node_address` is where the machine's own shell reaches NodePorts; None when it cannot."""

    kind: Kind
    kubeconfig: Path
    node_address: str | None
    layout: Layout

    def load_image(self, archive: Path, tag: str) -> bool:
        """Bring an OCI archive's image in, so that pods find it as `tag`. False when the node had it already.

        ClusterError for a cluster that was named: nothing here can reach its nodes, and it pulls its images.
        """
        if self.kind is Kind.LOCAL:
            return Containerd(self.layout).load(archive, tag)
        if self.kind is Kind.KIND:
            KindCluster(self.layout).load(archive, tag)
            return True
        raise ClusterError(
            f"{tag} cannot be put into the cluster that {VARIABLE} names",
            cure=f"push the images to a registry that it pulls from, or unset {VARIABLE}",
        )


def choose(layout: Layout, environment: Mapping[str, str]) -> Kind:
    """A cluster that is named, else the one that is up, else kind if a Docker engine answers, else the local node.

    Never a cluster of the user's that was not named: neither KUBECONFIG nor ~/.kube/config is read.
    """
    if environment.get(VARIABLE):
        return Kind.GIVEN
    known = record.read(layout)
    if known is not None and known.kind is not Kind.GIVEN:
        return known.kind
    if teardown.anything_is_left(layout):
        return Kind.LOCAL
    return Kind.KIND if engine_is_reachable() else Kind.LOCAL


def ensure_cluster(steps: Steps, layout: Layout, *, environment: Mapping[str, str] = os.environ) -> Cluster:
    """Bring the cluster up, or make whole what is left of it; its administrator's kubeconfig is the layout's."""
    with alone(steps, layout):
        kind = choose(layout, environment)
        if kind is Kind.GIVEN:
            address = _adopt(steps, layout, Path(environment[VARIABLE]))
        else:
            address = _own(kind, steps, layout)
        Record(kind, address).write(layout)
    return Cluster(kind, layout.kubeconfig, address, layout)


def take_down(steps: Steps, layout: Layout) -> None:
    """Remove what this checkout brought up, also what a crash left; a cluster that was named is left alone."""
    with alone(steps, layout):
        if teardown.anything_is_left(layout):
            local.require_root()
            packages.widen_path()
            with steps.step("Take the local node down"):
                teardown.take_down(layout)
        known = record.read(layout)
        if known is not None and known.kind is Kind.KIND:
            with steps.step("Delete the kind cluster"):
                KindCluster(layout).take_down()
        if known is not None and known.kind is Kind.GIVEN:
            steps.say(f"The cluster that {VARIABLE} named is not ours and stays.")
        record.forget(layout)


def _own(kind: Kind, steps: Steps, layout: Layout) -> str | None:
    if kind is Kind.KIND:
        # Noted before it is true, so that `down` knows of a run that is killed midway; a local node is seen without.
        Record(kind, None).write(layout)
        cluster = KindCluster(layout)
        cluster.bring_up(steps)
        return cluster.node_address()
    return local.bring_up(steps, layout).network.node_address


def _adopt(steps: Steps, layout: Layout, named: Path) -> str | None:
    """Copy the named kubeconfig's current context, so that a later change of it does not move us to another cluster."""
    with steps.step(f"The cluster that {VARIABLE} names") as step:
        if not named.exists():
            raise ClusterError(f"{VARIABLE} names {named}, which does not exist", cure=f"correct or unset {VARIABLE}")
        kubectl = find_kubectl(layout)
        flat = run([kubectl, f"--kubeconfig={named}", "config", "view", "--raw", "--minify", "--flatten"])
        files.write(layout.kubeconfig, flat, files.PRIVATE)
        run([kubectl, f"--kubeconfig={layout.kubeconfig}", "get", "--raw=/readyz", "--request-timeout=10s"])
        template = 'jsonpath={.items[*].status.addresses[?(@.type=="InternalIP")].address}'
        address = run([kubectl, f"--kubeconfig={layout.kubeconfig}", "get", "nodes", "-o", template]).split()
        step.result(f"node at {address[0]}" if address else "no node address")
    return address[0] if address else None
