"""kubectl, helm and tenantry as a user types them, against one cluster."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenantry_cluster.errors import ClusterError

PROGRAM_TIMEOUT = 300.0


class ProgramFailed(ClusterError):
    """A program ended with another code than 0; `output` is what it wrote."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(command)} ended with {code}:\n{output.strip()}")
        self.code = code
        self.output = output


@dataclass(frozen=True)
class Programs:
    """The programs of one checkout, pointed at one cluster; each returns what it wrote to its standard output."""

    kubeconfig: Path
    bin: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = PROGRAM_TIMEOUT) -> str:
        return self.run(["kubectl", *arguments], stdin=stdin, timeout=timeout)

    def helm(self, *arguments: str, stdin: str | None = None, timeout: float = PROGRAM_TIMEOUT) -> str:
        return self.run(["helm", *arguments], stdin=stdin, timeout=timeout)

    def tenantry(self, *arguments: str, timeout: float = PROGRAM_TIMEOUT) -> str:
        return self.run(["tenantry", *arguments], timeout=timeout)

    def object(self, *arguments: str) -> dict[str, Any]:
        """What `kubectl get … -o json` says."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The items of what `kubectl get … -o json` says."""
        found: list[dict[str, Any]] = self.object(*arguments)["items"]
        return found

    def apply(self, manifest: str) -> str:
        return self.kubectl("apply", "-f", "-", stdin=manifest)

    def run(self, command: Sequence[str], *, stdin: str | None = None, timeout: float = PROGRAM_TIMEOUT) -> str:
        """Raises ProgramFailed with both outputs, also when it did not end in `timeout` seconds."""
        try:
            done = subprocess.run(
                command,
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
                env=self.environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise ProgramFailed(command, -1, f"no end after {timeout:.0f} s") from error
        except FileNotFoundError as error:
            raise ProgramFailed(command, -1, f"{command[0]} is not there: make doctor") from error
        if done.returncode != 0:
            raise ProgramFailed(command, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def environment(self) -> dict[str, str]:
        """The environment of the programs: ours come first on PATH, and the cluster is named."""
        path = os.pathsep.join([str(self.bin), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}
