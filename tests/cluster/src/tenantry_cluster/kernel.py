"""What a node changes outside its own namespaces: cgroups, and a few settings of the kernel that kubelet insists on."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from tenantry_cluster import files
from tenantry_cluster.daemons import end
from tenantry_cluster.layout import Layout
from tenantry_cluster.running import succeeds
from tenantry_cluster.waiting import wait_until

CGROUPS = Path("/sys/fs/cgroup")
# kubelet overwrites these for the whole machine (k8s.io/kubernetes/pkg/kubelet/cm: setupKernelTunables).
OVERWRITTEN = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
SETTINGS = Path("/proc/sys")
RUN = Path("/run")
REMEMBERED = "tenantry-kernel.json"


def load_modules() -> None:
    """Load what the pods' network and file systems need, where it is a module and not there yet."""
    if not (SETTINGS / "net/bridge").exists():
        succeeds(["modprobe", "--all", "br_netfilter", "overlay"])


def remember_settings() -> None:
    """Write down the machine's settings before a first node's kubelet changes them; a reboot forgets both."""
    file = RUN / REMEMBERED
    if not file.exists():
        values = {name: (SETTINGS / name).read_text() for name in OVERWRITTEN if (SETTINGS / name).exists()}
        files.write(file, json.dumps(values))


def restore_settings(layout: Layout) -> None:
    """Put the machine's settings back, unless another checkout's node is still there."""
    file = RUN / REMEMBERED
    others = [folder for folder in RUN.glob("tenantry-*/") if folder.name != layout.runtime.name]
    if file.exists() and not others:
        for name, value in json.loads(file.read_text()).items():
            (SETTINGS / name).write_text(value)
        file.unlink()


def cgroup(layout: Layout) -> str:
    """The cgroup that holds this node's pods, as kubelet names it."""
    return f"/tenantry-{layout.id}"


def make_cgroups(layout: Layout) -> None:
    """Make the pods' cgroup in each hierarchy: kubelet wants to find it, with all controllers that there are."""
    for hierarchy in _hierarchies():
        _hand_down_controllers(hierarchy)
        (hierarchy / cgroup(layout).strip("/")).mkdir(exist_ok=True)


def remove_cgroups(layout: Layout) -> None:
    """Kill every process of every pod and remove their cgroups."""
    tops = [hierarchy / cgroup(layout).strip("/") for hierarchy in _hierarchies()]
    for top in tops:
        end(list(_members(top)))
    # The kernel keeps a cgroup busy for a moment after its last process has ended.
    wait_until(lambda: all(map(_is_removed, tops)), seconds=20, what="the pods' cgroups cannot be removed")


def _is_removed(top: Path) -> bool:
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(top, topdown=False):
            Path(folder).rmdir()
    return not top.exists()


def _members(top: Path) -> Iterator[int]:
    for folder, _, _ in os.walk(top):
        yield from map(int, (Path(folder) / "cgroup.procs").read_text().split())


def _hand_down_controllers(hierarchy: Path) -> None:
    """Let children have the controllers that version 2 gives only on demand; version 1 knows no such thing."""
    available = hierarchy / "cgroup.controllers"
    for controller in available.read_text().split() if available.exists() else ():
        # One at a time: a refused one, as of another's real-time processes, must not take the others with it.
        with contextlib.suppress(OSError):
            (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    # In version 1 some names are links to one hierarchy, as `cpu` to `cpu,cpuacct`.
    return sorted({entry.resolve() for entry in CGROUPS.iterdir() if (entry / "cgroup.procs").exists()})
