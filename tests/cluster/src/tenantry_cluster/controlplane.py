"""etcd and a kube-apiserver alone, on loopback, for tests. Needs no root, and leaves nothing behind."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from tenantry_cluster import arguments
from tenantry_cluster.daemons import is_alive
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.kubeconfigs import write_kubeconfig
from tenantry_cluster.waiting import is_ready, wait_until

READY_SECONDS = 60.0
ATTEMPTS = 3
# Followed by the process id of the starter.
PREFIX = "tenantry-controlplane-"
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
"""


class _PortTakenError(Exception):
    """Another process was quicker: the next attempt takes other ports."""


@dataclass
class ControlPlane:
    """A running API server. There is no controller: nothing makes service accounts, collects garbage or runs pods.

    Its processes end with `stop`, with the context, and when the thread that started them dies, however it dies.
    """

    folder: Path
    url: str
    trust: arguments.Trust
    etcd_port: int
    audit: bool
    program: Path
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def start(cls, bin_dir: Path, work_dir: Path | None = None, *, audit: bool = False) -> "ControlPlane":
        """Start both and wait until the API server is ready (about 4 s).

        `bin_dir` holds the program `controlplane`. A folder of its own is made in `work_dir` (absent: the system's
        temporary folder) and removed at the end. `audit` writes one JSON line for each request to `audit_log`.
        """
        program = bin_dir / "controlplane"
        if not program.exists():
            raise ClusterError(f"{program} is missing", cure="python -m tenantry_cluster binaries")
        for attempt in range(1, ATTEMPTS + 1):
            plane = cls._prepared(program, work_dir, audit=audit)
            try:
                plane._run()
                return plane
            except _PortTakenError as error:
                plane.stop()
                if attempt == ATTEMPTS:
                    raise ClusterError(f"no free port in {ATTEMPTS} attempts") from error
            except BaseException:
                plane.stop()
                raise
        raise AssertionError("unreachable")

    @classmethod
    def _prepared(cls, program: Path, work_dir: Path | None, *, audit: bool) -> "ControlPlane":
        _remove_stale(work_dir or Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=work_dir))
        etcd_port, port = _free_ports(2)
        trust = arguments.Trust.in_folder(folder / "pki", address="127.0.0.1")
        plane = cls(folder, f"https://127.0.0.1:{port}", trust, etcd_port=etcd_port, audit=audit, program=program)
        write_kubeconfig(plane.kubeconfig, plane.url, authority=trust.authority.pair.certificate, client=trust.admin)
        return plane

    @property
    def kubeconfig(self) -> Path:
        """An administrator's, with certificates inside."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line, `audit.k8s.io/v1` Event of level Metadata."""
        return self.folder / "audit.log"

    def audited(self) -> list[Mapping[str, object]]:
        """The events of the audit log so far, oldest first."""
        if not self.audit_log.exists():
            return []
        # The last line may be half written.
        lines = self.audit_log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def stop_api_server(self) -> None:
        """Kill the API server alone, as when it crashes; etcd keeps the objects."""
        self._end("kube-apiserver")

    def start_api_server(self) -> None:
        """Start the API server (again, on the same port) and wait until it is ready."""
        self._spawn("kube-apiserver", self._api_server_command())
        wait_until(self._is_ready, seconds=READY_SECONDS, what="the API server is not ready", check=self._check)

    def stop(self) -> None:
        """End the processes and remove the folder; calling it again does nothing."""
        for name in reversed(list(self._processes)):
            self._end(name)
        self._open.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "ControlPlane":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        peer_port = _free_ports(1)[0]
        data = self.folder / "etcd"
        self._spawn("etcd", arguments.etcd(self.program, data, client_port=self.etcd_port, peer_port=peer_port))
        self.start_api_server()

    def _api_server_command(self) -> list[str]:
        port = int(self.url.rpartition(":")[2])
        command = arguments.api_server(
            self.program, self.trust, etcd_port=self.etcd_port, port=port, bind="127.0.0.1", advertise="127.0.0.1"
        )
        # An Endpoints object may not name loopback, and without a controller no pod would get a service account.
        command += ["--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount"]
        if self.audit:
            policy = self.folder / "audit-policy.yaml"
            policy.write_text(AUDIT_POLICY)
            command += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
        return command

    def _spawn(self, name: str, command: list[str]) -> None:
        log: IO[bytes] = self._open.enter_context(self._log(name).open("ab"))
        bound = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self._processes[name] = subprocess.Popen(
            bound, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
        )

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            # Nothing here is worth a graceful end, which takes the API server seconds.
            process.kill()
            process.wait()

    def _is_ready(self) -> bool:
        return is_ready(self.url, authority=self.trust.authority.pair.certificate, client=self.trust.admin)

    def _check(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                end = self._log(name).read_text(errors="replace")[-2000:]
                if "address already in use" in end:
                    raise _PortTakenError(name)
                raise ClusterError(f"{name} ended with {process.returncode}:\n{end}")

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def _remove_stale(work_dir: Path) -> None:
    """Remove the folders of starters that were killed: each holds more than 100 MB."""
    for folder in work_dir.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
