"""What this machine has, what it lacks, and how to cure it."""

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenantry_cluster import binaries, daemons, packages, record, teardown
from tenantry_cluster.cluster import VARIABLE, choose
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.kind import engine_is_reachable
from tenantry_cluster.layout import Layout
from tenantry_cluster.node import PARTS
from tenantry_cluster.packages import NODE_PACKAGES
from tenantry_cluster.record import Kind
from tenantry_cluster.running import succeeds

ENOUGH_DISK = 15 * 10**9
ENOUGH_MEMORY = 4 * 10**9


@dataclass(frozen=True)
class Finding:
    """One line of the report; `cure` says what helps when it is not `good`, `fatal` that nothing works before."""

    good: bool
    text: str
    cure: str = ""
    fatal: bool = False


def examine(layout: Layout, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """All findings about this machine, for the kind of cluster that would be chosen on it."""
    kind = choose(layout, environment)
    findings = [_machine(), *_room(layout), _engine(), _choice(kind)]
    if kind is Kind.LOCAL:
        findings += [_root(), _packages()]
    return [*findings, _go(layout), *_programs(layout), _up(layout)]


def _machine() -> Finding:
    text = f"{platform.system()} {platform.release()} on {platform.machine()}, {os.cpu_count()} cores"
    return Finding(True, f"{text}, Python {platform.python_version()}")


def _room(layout: Layout) -> Iterator[Finding]:
    free = shutil.disk_usage(layout.root).free
    yield Finding(free >= ENOUGH_DISK, f"{free / 1e9:.0f} GB of disk free", cure=f"free {ENOUGH_DISK / 1e9:.0f} GB")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding(memory >= ENOUGH_MEMORY, f"{memory / 1e9:.0f} GB of memory", cure=f"{ENOUGH_MEMORY / 1e9:.0f} GB")


def _engine() -> Finding:
    if engine_is_reachable():
        return Finding(True, "a Docker engine answers")
    client = shutil.which("docker")
    text = "a docker client, but no engine that answers" if client else "no Docker engine"
    return Finding(True, f"{text}: kind cannot be used")


def _choice(kind: Kind) -> Finding:
    why = {
        Kind.GIVEN: f"the cluster that {VARIABLE} names",
        Kind.KIND: "a kind cluster",
        Kind.LOCAL: "the local node",
    }
    return Finding(True, f"`make cluster` would use {why[kind]}")


def _root() -> Finding:
    cure = f"run as root, start Docker, or name a cluster in {VARIABLE}"
    good = os.geteuid() == 0 and platform.system() == "Linux"
    return Finding(
        good, "root on Linux, as the local node needs" if good else "not root on Linux", cure=cure, fatal=True
    )


def _packages() -> Finding:
    lacking = packages.missing(NODE_PACKAGES)
    if not lacking:
        return Finding(True, "all packages of the local node are installed")
    can_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    cure = "`make cluster` installs them" if can_install else f"apt-get install {' '.join(lacking)}"
    return Finding(False, f"packages are missing: {' '.join(lacking)}", cure=cure, fatal=not can_install)


def _go(layout: Layout) -> Finding:
    try:
        return Finding(True, f"go at {binaries.find_go()}")
    except ClusterError as error:
        needed = bool(binaries.outdated(layout))
        return Finding(not needed, str(error), cure=error.cure, fatal=needed)


def _programs(layout: Layout) -> Iterator[Finding]:
    lacking = binaries.outdated(layout)
    if lacking:
        cure = "`make cluster` builds them, at first in 6 to 11 minutes"
        yield Finding(False, f"programs are not built: {', '.join(lacking)}", cure=cure)
    else:
        yield Finding(True, f"all programs are built in {layout.bin}")


def _up(layout: Layout) -> Finding:
    known = record.read(layout)
    if known is None and teardown.anything_is_left(layout):
        return Finding(False, "there are remains of a local node", cure="make cluster-down")
    if known is None:
        return Finding(True, "no cluster of this checkout is up")
    parts = sorted(each.part for each in daemons.processes(layout.id) if each.is_daemon)
    if known.kind is Kind.LOCAL and len(parts) < len(PARTS):
        return Finding(
            False, f"the local node lacks {', '.join(sorted(PARTS - set(parts)))}", cure="`make cluster` heals it"
        )
    if not _answers(layout):
        return Finding(False, f"the cluster ({known.kind}) does not answer", cure="`make cluster` heals it")
    return Finding(True, f"a cluster is up ({known.kind}): export KUBECONFIG={layout.kubeconfig}")


def _answers(layout: Layout) -> bool:
    ready = [f"--kubeconfig={layout.kubeconfig}", "get", "--raw=/readyz", "--request-timeout=5s"]
    try:
        return succeeds([binaries.find_kubectl(layout), *ready])
    except ClusterError:
        return False
