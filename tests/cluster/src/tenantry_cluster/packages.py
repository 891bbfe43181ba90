"""Programs of the operating system that the cluster tool needs: found, installed by apt, or named."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tenantry_cluster.errors import ClusterError
from tenantry_cluster.lock import only_one
from tenantry_cluster.steps import Steps

NODE_PACKAGES = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "ipset",
    "conntrack",
    "ethtool",
    "socat",
)

# What each Debian package is wanted for. By program and not by package, because others may bring the same program:
# Docker's own packages hold a containerd that Debian's cannot be installed beside.
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iproute2": "ip",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "gcc": "gcc",
}
# An ordinary user's PATH often lacks the folders of programs that want root.
FOLDERS_FOR_ROOT = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# apt itself waits for one of its own locks only.
LOCK = Path("/run/lock/tenantry-packages.lock")

Run = Callable[[Sequence[str]], None]


def missing(names: Sequence[str]) -> list[str]:
    """Those of the Debian packages whose program (or, for a package we know no program of, itself) is not here."""
    return [name for name in names if not _is_here(name)]


def ensure(names: Sequence[str], steps: Steps | None = None) -> None:
    """Install those of the Debian packages that are missing, by apt as root; else ClusterError names them."""
    wanted = missing(names)
    if not wanted:
        return
    command = f"apt-get install --no-install-recommends {' '.join(wanted)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        what = "is no root" if shutil.which("apt-get") else "has no apt-get"
        raise ClusterError(f"these packages are missing, and this run {what}: {' '.join(wanted)}", cure=command)
    with only_one(LOCK), (steps or Steps()).step(f"Install {' '.join(wanted)}"):
        install(missing(wanted), _apt_get)
        still = missing(wanted)
        if still:
            raise ClusterError(f"installed, but their programs are not found: {' '.join(still)}", cure=command)


def install(names: Sequence[str], run: Run) -> None:
    """Install by apt; the lists of packages are fetched only when they are absent or too old to serve."""
    arguments = ["install", "--yes", "--no-install-recommends", *names]
    try:
        run(arguments)
    except ClusterError:
        run(["update"])
        run(arguments)


def widen_path() -> None:
    """Let this process and those that it starts find the programs for root too."""
    os.environ["PATH"] = _wide_path()


def find_program(name: str) -> str | None:
    """The path of a program, sought in the folders for root too."""
    return shutil.which(name, path=_wide_path())


def _wide_path() -> str:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*folders, *(each for each in FOLDERS_FOR_ROOT if each not in folders)])


def _is_here(package: str) -> bool:
    program = PROGRAMS.get(package)
    if program is None:
        return _is_installed(package)
    return Path(program).exists() if program.startswith("/") else find_program(program) is not None


def _is_installed(package: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, check=False, capture_output=True, text=True).stdout == "installed"


def _apt_get(arguments: Sequence[str]) -> None:
    command = ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", *arguments]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")
