"""Taking the local node down, from whatever is there. Everything is found by what it is, nothing by what was noted."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tenantry_cluster import daemons, kernel, network
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.running import run

MOUNTS = Path("/proc/self/mountinfo")
CNI_RESULTS = Path("/var/lib/cni/results")
# Where every kubelet of the machine links to its containers' logs, for programs that collect them.
LOG_LINKS = Path("/var/log/containers")
# A mount that a dying process holds is let go within this many attempts, or detached lazily.
ATTEMPTS = 3


def anything_is_left(layout: Layout) -> bool:
    """Whether there is something of this checkout's node to take down."""
    paths = [layout.node, layout.runtime, network.NAMESPACES / f"tenantry-{layout.id}"]
    return any(path.exists() for path in paths) or any(True for _ in daemons.processes(layout.id))


def take_down(layout: Layout) -> None:
    """Remove the node with its pods, mounts, links, namespaces, cgroups and state. Logs stay."""
    stop_all(layout)
    network.take_down(layout.id)
    kernel.restore_settings(layout)
    for folder in (layout.node, layout.runtime):
        remove(folder)
    forget_pod_networks(CNI_RESULTS, f"tenantry-{layout.id}")
    forget_log_links(LOG_LINKS, layout.node)


def stop_all(layout: Layout) -> None:
    """End every process of the node and of its pods, and unmount all that they mounted."""
    # Twice: a daemon that is not dead yet may start another child while its siblings are being killed.
    for _ in range(2):
        daemons.end([process.pid for process in daemons.processes(layout.id)])
    kernel.remove_cgroups(layout)
    for folder in (layout.runtime, layout.node):
        _unmount_under(folder)


def forget_pod_networks(results: Path, network_name: str) -> None:
    """Remove what the CNI library noted, in a folder of the whole machine, about the pods of this network."""
    for note in results.glob(f"{network_name}-*-eth0"):
        container = note.name.removeprefix(f"{network_name}-").removesuffix("-eth0")
        (results / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        note.unlink(missing_ok=True)


def forget_log_links(links: Path, folder: Path) -> None:
    """Remove the links of a folder that lead below another one, whether or not it is there."""
    for link in links_below(links, folder):
        link.unlink(missing_ok=True)


def links_below(links: Path, folder: Path) -> Iterator[Path]:
    """The links of a folder that lead below another one."""
    return (link for link in links.glob("*.log") if _leads_below(link, folder))


def _leads_below(link: Path, folder: Path) -> bool:
    try:
        return link.readlink().is_relative_to(folder)
    except OSError:  # no link, or one that its own node has removed meanwhile
        return False


def mounts_under(folder: Path) -> list[str]:
    """The mount points below `folder`, the innermost first."""
    points = [line.split()[4].encode().decode("unicode_escape") for line in MOUNTS.read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]


def _unmount_under(folder: Path) -> None:
    for attempt in range(ATTEMPTS):
        lazily = ["--lazy"] if attempt == ATTEMPTS - 1 else []
        for point in mounts_under(folder):
            with contextlib.suppress(ClusterError):
                run(["umount", *lazily, point])


def remove(folder: Path) -> None:
    """Remove a folder with all in it. ClusterError when something is mounted below it."""
    # Never through a mount: what lies behind one may be somebody's data.
    left = mounts_under(folder)
    if left:
        raise ClusterError(f"these are still mounted: {' '.join(left)}", cure="umount them, then: make cluster-down")
    if folder.exists():
        shutil.rmtree(folder)
