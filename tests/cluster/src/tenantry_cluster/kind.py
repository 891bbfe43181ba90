"""A cluster in containers of a Docker engine, by kind."""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster.archives import archived, full_name
from tenantry_cluster.binaries import ensure_binaries, find_go, find_kubectl
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.running import run, succeeds
from tenantry_cluster.steps import Steps
from tenantry_cluster.waiting import wait_until

VERSION = "0.33.0"
# Of that release: kind supports a node image only with the release that it was made for (its release notes list them).
NODE_IMAGE = "kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"
START_SECONDS = 120.0


def engine_is_reachable() -> bool:
    """Whether a Docker engine answers; a client alone is not enough."""
    try:
        return bool(run(["docker", "info", "--format", "{{.ServerVersion}}"], timeout=20).strip())
    except ClusterError:
        return False


@dataclass(frozen=True)
class KindCluster:
    """This checkout's cluster of one node."""

    layout: Layout

    @property
    def name(self) -> str:
        return f"tenantry-{self.layout.id}"

    @property
    def node(self) -> str:
        """The name of the node's container."""
        return f"{self.name}-control-plane"

    def bring_up(self, steps: Steps) -> None:
        """Create the cluster, or start again the one that is there; its kubeconfig goes to the layout's."""
        self._programs(steps)
        if self._exists():
            with steps.step(f"kind cluster {self.name}: there already") as step:
                if self._resumed():
                    return
                step.result("does not start, so it is made anew")
                self._delete()
        with steps.step(f"kind cluster {self.name}"):
            self._kind(
                "create", "cluster", "--name", self.name, "--image", NODE_IMAGE, *self._to_kubeconfig(), "--wait=180s"
            )

    def take_down(self) -> bool:
        """Delete the cluster; whether there was one. ClusterError when the engine does not answer."""
        if not engine_is_reachable():
            raise ClusterError(
                "the Docker engine does not answer, which runs the kind cluster",
                cure=f"start Docker, or forget the cluster: rm {self.layout.record}",
            )
        if find_kind(self.layout) is None or not self._exists():
            return False
        self._delete()
        return True

    def node_address(self) -> str | None:
        """The node's address for NodePorts; None where the machine cannot reach containers by address (not Linux)."""
        if not sys.platform.startswith("linux"):
            return None
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        addresses = run(["docker", "inspect", "--format", template, self.node]).split()
        return addresses[0] if addresses else None

    def load(self, archive: Path, tag: str) -> None:
        """Bring an OCI archive's image into the node under the name `tag`."""
        stored, _ = archived(archive)
        self._kind("load", "image-archive", str(archive), "--name", self.name)
        if stored != full_name(tag):
            ctr = ["ctr", "--namespace=k8s.io", "images", "tag", "--force"]
            run(["docker", "exec", self.node, *ctr, stored, full_name(tag)])

    def _programs(self, steps: Steps) -> None:
        wanted = [program for program in ("kubectl", "helm") if shutil.which(program) is None]
        if wanted:
            ensure_binaries(steps, self.layout, programs=wanted)
        if find_kind(self.layout) is None:
            with steps.step(f"Build kind {VERSION}"):
                environment = os.environ | {"GOBIN": str(self.layout.bin)}
                run([find_go(), "install", f"sigs.k8s.io/kind@v{VERSION}"], env=environment)

    def _exists(self) -> bool:
        return self.name in self._kind("get", "clusters").split()

    def _resumed(self) -> bool:
        """Whether the cluster answers, after its container was started if it did not run (as after a reboot)."""
        if not succeeds(["docker", "start", self.node]):
            return False
        if not succeeds(self._command("export", "kubeconfig", "--name", self.name, *self._to_kubeconfig())):
            return False
        ready = [
            find_kubectl(self.layout),
            f"--kubeconfig={self.layout.kubeconfig}",
            "get",
            "--raw=/readyz",
            "--request-timeout=5s",
        ]
        try:
            wait_until(lambda: succeeds(ready), seconds=START_SECONDS, what="the cluster does not answer")
        except ClusterError:
            return False
        return True

    def _delete(self) -> None:
        self._kind("delete", "cluster", "--name", self.name, *self._to_kubeconfig())

    def _to_kubeconfig(self) -> list[str]:
        return ["--kubeconfig", str(self.layout.kubeconfig)]

    def _kind(self, *arguments: str) -> str:
        return run(self._command(*arguments))

    def _command(self, *arguments: str) -> list[str]:
        return [find_kind(self.layout) or "kind", *arguments]


def find_kind(layout: Layout) -> str | None:
    """A kind that is new enough for the node image: ours, or the one on PATH."""
    candidates = [str(layout.bin / "kind"), shutil.which("kind")]
    return next((each for each in candidates if each and _is_new_enough(each)), None)


def _is_new_enough(program: str) -> bool:
    try:
        found = re.search(r"(\d+)\.(\d+)\.(\d+)", run([program, "version"]))
    except ClusterError:
        return False
    return found is not None and [int(part) for part in found.groups()] >= [int(part) for part in VERSION.split(".")]
