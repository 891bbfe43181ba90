"""Starts operators from a process that has loaded them already: half of what a start costs is to load the code.

Each operator is a fork of a process that does nothing but wait; it has its own environment, log and memory, and is
killed as any other. `python -m` this is that process.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

PR_SET_PDEATHSIG: Final = 1
MODULE: Final = "tenantry_testing.warm_starts"


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class WarmProcess:
    """As much of `subprocess.Popen` as a test needs, of a process that another one has forked."""

    def __init__(self, starts: "WarmStarts", pid: int) -> None:
        self._starts = starts
        self._ended = os.pidfd_open(pid)
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._ended, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def has_ended(self, timeout: float | None = 0.0) -> bool:
        # A descriptor of a process is readable once it has ended.
        return bool(select.select([self._ended], [], [], timeout)[0])

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and self.has_ended(timeout):
            self.returncode = self._starts.code_of(self.pid)
        return self.returncode


class WarmStarts:
    """The process that forks. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  it only makes one system call
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, module: str, log: Path, env: Mapping[str, str]) -> WarmProcess:
        """Run `python -m module operator run`; what it prints is added to the log."""
        return WarmProcess(self, self._ask(start=module, log=str(log), env=dict(env)))

    def code_of(self, pid: int) -> int:
        """Return the exit code of one that has ended, negative for a signal."""
        with self._lock:
            known = self._codes.get(pid)
        if known is None:
            known = self._ask(ended=pid)
            self._codes[pid] = known
        return known

    def _ask(self, **question: Any) -> int:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


def _serve() -> dict[str, Any] | None:
    """Fork what is asked for; return in each fork what it is to be, and None at the end."""
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        if "ended" in asked:
            _answer(os.waitstatus_to_exitcode(os.waitpid(asked["ended"], 0)[1]))
            continue
        if os.fork() == 0:
            return dict(asked)
    return None


def _answer(number: int) -> None:
    print(number, flush=True)


def _become(asked: Mapping[str, Any]) -> None:
    """Answer who it is once it dies with its parent and holds nothing of it."""
    die_with_parent()
    answers = os.dup(1)
    nothing, log = os.open(os.devnull, os.O_RDONLY), os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.write(answers, f"{os.getpid()}\n".encode())
    os.close(answers)
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = [asked["start"], "operator", "run"]
    runpy.run_module(asked["start"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for loaded in ("tenantry_operator.cli", "tenantry_operator.process", "tenantry_testing.histories"):
        importlib.import_module(loaded)
    gc.freeze()

    if asked := _serve():
        _become(asked)
