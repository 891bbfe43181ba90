"""The local node's container runtime: Debian's containerd with its own root, state and socket."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster import files
from tenantry_cluster.archives import archived, full_name
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.running import run, succeeds

POD_CIDR = "10.244.0.0/24"
CNI_BIN = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  # Pods' network namespaces then lie under `state`, where take-down finds them.
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{cni_conf}"
"""


@dataclass(frozen=True)
class Containerd:
    """The runtime of one checkout's node."""

    layout: Layout

    @property
    def socket(self) -> Path:
        return self.layout.runtime / "containerd.sock"

    @property
    def config(self) -> Path:
        return self.layout.node / "containerd.toml"

    @property
    def cni(self) -> Path:
        return self.layout.node / "cni"

    @property
    def command(self) -> Sequence[str]:
        return ["containerd", "--config", str(self.config)]

    def configure(self, pause: str) -> None:
        """Write its configuration; `pause` is the image that holds a pod's namespaces."""
        root = self.layout.node / "containerd"
        root.mkdir(parents=True, exist_ok=True)
        self.cni.mkdir(exist_ok=True)
        self.layout.runtime.mkdir(exist_ok=True)
        settings = {
            "root": root,
            "state": self.layout.runtime / "containerd",
            "socket": self.socket,
            "pause": pause,
            "snapshotter": _snapshotter(root),
            "cni_bin": _cni_bin(),
            "cni_conf": self.cni,
        }
        files.write(self.config, CONFIG.format(**settings))
        files.write(self.cni / "10-bridge.conflist", json.dumps(self._pod_network(), indent=1))

    def answers(self) -> bool:
        return self.socket.exists() and succeeds(["ctr", "--address", str(self.socket), "version"])

    def images(self) -> dict[str, str]:
        """The digest of each image that the node has, by its full name."""
        lines = self._ctr("images", "ls").splitlines()[1:]
        return {fields[0]: fields[2] for fields in (line.split() for line in lines) if len(fields) > 2}

    def load(self, archive: Path, tag: str) -> bool:
        """Bring an OCI archive's image in under the name `tag`. False when the node had it already."""
        stored, digest = archived(archive)
        name = full_name(tag)
        if self.images().get(name) == digest:
            return False
        self._ctr("images", "import", str(archive))
        if stored != name:
            self._ctr("images", "tag", "--force", stored, name)
        return True

    def _ctr(self, *arguments: str) -> str:
        return run(["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *arguments])

    def _pod_network(self) -> dict[str, object]:
        ranges = {"ranges": [[{"subnet": POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}]}
        # In /run, so that a reboot, which ends all pods, ends their leases too.
        leases = {"type": "host-local", "dataDir": str(self.layout.runtime / "leases"), **ranges}
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True}
        plugins = [bridge | {"ipam": leases}, {"type": "portmap", "capabilities": {"portMappings": True}}]
        return {"cniVersion": "0.4.0", "name": f"tenantry-{self.layout.id}", "plugins": plugins}


def _snapshotter(root: Path) -> str:
    # The kernel refuses overlay on overlay, as when the checkout lies in a container's own file system.
    kind = run(["stat", "--file-system", "--format=%T", str(root)]).strip()
    return "native" if kind == "overlayfs" else "overlayfs"


def _cni_bin() -> Path:
    for folder in CNI_BIN:
        if (folder / "bridge").exists():
            return folder
    raise ClusterError("the CNI plugins are missing", cure="apt-get install containernetworking-plugins")
