"""The local node's long-running processes: started to outlive the tool, and found again whatever happened since.

A process is found by its environment, which it and its children carry to their end: no pid file can be stale or lost.
"""

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenantry_cluster.errors import ClusterError

NODE = "TENANTRY_NODE"
PART = "TENANTRY_PART"
STAMP = "TENANTRY_STAMP"
SELF = "TENANTRY_SELF"
PROC = Path("/proc")
# A longer log is put aside when its daemon is started anew.
LOG_BYTES = 50 * 10**6
# Kept in the shell's own process by `exec`, so that a daemon can be told from the children that inherit its marks.
MARKED = f'{SELF}=$$ exec "$@"'


@dataclass(frozen=True)
class Daemon:
    """A process to be run: `files` are configuration whose change is a reason to start it anew."""

    part: str
    command: Sequence[str]
    files: Sequence[Path] = ()

    @property
    def stamp(self) -> str:
        """A digest of the program, its arguments and its configuration."""
        digest = hashlib.sha256("\0".join(self.command).encode())
        program = Path(self.command[0])
        if program.is_absolute():
            about = program.stat()
            digest.update(f"{about.st_size} {about.st_mtime_ns}".encode())
        for file in self.files:
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Process:
    """A living process that carries a node's mark; `is_daemon` is false for the children of a daemon."""

    pid: int
    part: str
    stamp: str
    is_daemon: bool


def processes(node: str) -> Iterator[Process]:
    """All living processes that carry the mark of `node`."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            environment = _environment(entry)
            if environment.get(NODE) == node:
                is_daemon = environment.get(SELF) == entry.name
                part, stamp = environment.get(PART, ""), environment.get(STAMP, "")
                yield Process(int(entry.name), part=part, stamp=stamp, is_daemon=is_daemon)


def start(daemon: Daemon, node: str, *, log: Path, namespace: str | None = None) -> int:
    """Start a daemon in a session of its own, in the named network namespace if one is given; return its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
    # Not `ip netns exec`: it mounts /sys anew and so hides the cgroup mounts.
    enter = ["nsenter", f"--net=/run/netns/{namespace}", "--"] if namespace else []
    marks = {NODE: node, PART: daemon.part, STAMP: daemon.stamp}
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["sh", "-c", MARKED, "sh", *enter, *daemon.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | marks,
            cwd="/",
            start_new_session=True,
        )
    # It outlives this process: nobody is to wait for it, nor to be warned of it.
    process.returncode = 0
    return process.pid


def end(pids: Sequence[int], *, seconds: float = 10) -> None:
    """Kill the processes, and wait until they are gone. ClusterError names those that do not go."""
    until = time.monotonic() + seconds
    left = list(pids)
    while left:
        for pid in left:
            _signal(pid, signal.SIGKILL)
        left = [pid for pid in left if is_alive(pid)]
        if left and time.monotonic() > until:
            raise ClusterError(f"these processes cannot be killed: {left}", cure="look at them with ps; a reboot helps")
        if left:
            time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process runs: one that is dead and not yet reaped does not."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if fields[0] == "Z":
        _reap(pid)
        return False
    return True


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _environment(entry: Path) -> Mapping[str, str]:
    try:
        pairs = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in _partitioned(pairs)}


def _partitioned(pairs: Sequence[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    return (pair.partition(b"=") for pair in pairs if pair.startswith(b"TENANTRY_"))
