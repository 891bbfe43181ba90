"""A real operator as a child process, to be killed, stopped and started again."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tenantry_testing.warm_starts import WarmProcess, WarmStarts, die_with_parent

STARTED = "answering probes"
WORKING = "working"
TAIL = 80
"""Lines of the log that a failed wait shows."""

POLL = 0.02


class OperatorFailed(Exception):
    """The operator ended, or did not get ready in time. The message ends with its log."""


class OperatorProcess:
    """``python -m tenantry_operator operator run`` against a kubeconfig; ``module`` may be one that stands for it.

    Its port is a free one, its log (JSON lines) is ``log``, which grows over restarts. As a context it starts, waits
    until the operator leads, prints the log at the end (which pytest shows for a failed test), and leaves no process.
    With ``starts`` it is forked from a process that has loaded the code.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        *,
        pod_name: str = "operator-0",
        env: Mapping[str, str] | None = None,
        module: str = "tenantry_operator",
        starts: WarmStarts | None = None,
    ) -> None:
        self.log = log
        self._module = module
        self._starts = starts
        self.pod_name = pod_name
        self._env = {
            "TENANTRY_KUBECONFIG": str(kubeconfig),
            "TENANTRY_POD_NAME": pod_name,
            "TENANTRY_HTTP_HOST": "127.0.0.1",
            "TENANTRY_HTTP_PORT": "0",
            "TENANTRY_LOG_LEVEL": "debug",
            "TENANTRY_LOG_FORMAT": "json",
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | WarmProcess | None = None
        self._output: IO[bytes] | None = None
        self._offset = 0

    def __enter__(self) -> Self:
        self.start()
        self.wait_working()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start; return at once."""
        if self._output is not None:
            self._output.close()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._output = self.log.open("ab")
        self._offset = self._output.tell()
        # No HOME, no LOGNAME: as in a container whose user has neither.
        env = {"PATH": os.environ["PATH"], "PYTHONFAULTHANDLER": "1", **self._env}
        if self._starts is not None:
            self._process = self._starts.start(self._module, self.log, env)
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, "operator", "run"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            preexec_fn=die_with_parent,  # noqa: PLW1509  it only makes one system call
        )

    @property
    def pid(self) -> int:
        return self._running().pid

    def wait_started(self, timeout: float = 60.0) -> None:
        """Wait until it answers probes, as leader or as standby."""
        self._wait(lambda: self._line(STARTED) is not None, timeout, what="answers no probes")

    def wait_working(self, timeout: float = 60.0) -> None:
        """Wait until it leads and has loaded what there is."""
        self._wait(lambda: self._line(WORKING) is not None, timeout, what="does not lead")

    def wait_ended(self, timeout: float = 40.0) -> int:
        """Wait until it ends; return its exit code, negative for a signal."""
        try:
            return self._running().wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise OperatorFailed(f"the operator did not end within {timeout} s\n{self.tail()}") from error

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self._running().kill()
        self._running().wait()

    def stop(self) -> int:
        """End it with SIGTERM; return the exit code."""
        self._running().terminate()
        return self.wait_ended()

    def pause(self) -> None:
        """Stop it with SIGSTOP: it keeps its sockets and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kill it if it runs, start it and wait until it works."""
        if self.alive():
            self.kill()
        self.start()
        self.wait_working()

    def close(self) -> None:
        """Leave nothing running, and print the log."""
        self.end()
        print(f"--- log of {self.pod_name} ({self.log})\n{self.tail()}")

    def end(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None

    def url(self, path: str) -> str:
        line = self._line(STARTED)
        if line is None:
            raise OperatorFailed(f"the operator answers no probes\n{self.tail()}")
        return f"http://127.0.0.1:{line['port']}{path}"

    def healthz(self) -> tuple[int, str]:
        """Return status and text."""
        try:
            with urllib.request.urlopen(self.url("/healthz"), timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics_text(self) -> str:
        """Return what Prometheus would get."""
        with urllib.request.urlopen(self.url("/metrics"), timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a sample, summed over the labels that are not given; 0 when there is none."""
        return sample(self.metrics_text(), name, **labels)

    def lines(self, *, all_starts: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the log's JSON lines, of the last start unless ``all_starts``."""
        for line in self._text(0 if all_starts else self._offset).splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def tail(self) -> str:
        return "\n".join(self._text(0).splitlines()[-TAIL:])

    def _line(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self.lines() if line.get("event") == event), None)

    def _text(self, offset: int) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def _running(self) -> subprocess.Popen[bytes] | WarmProcess:
        if self._process is None:
            raise OperatorFailed("the operator was never started")
        return self._process

    def _wait(self, condition: Callable[[], bool], timeout: float, *, what: str) -> None:
        end = time.monotonic() + timeout
        while not condition():
            if not self.alive():
                raise OperatorFailed(f"the operator ended with {self._running().returncode}\n{self.tail()}")
            if time.monotonic() > end:
                raise OperatorFailed(f"the operator {what} after {timeout} s\n{self.tail()}")
            time.sleep(POLL)


def sample(text: str, name: str, **labels: str) -> float:
    """Return the value of a sample in what Prometheus gets, summed over the labels that are not given."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.split("{")[0].split(" ")[0] == name and all(label in line for label in wanted)
    )
