"""kubectl as a user types it, for tests."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue


class KubectlFailed(AssertionError):
    """kubectl ended with another code than 0; the text is what it wrote."""


@dataclass(frozen=True)
class Kubectl:
    """The built kubectl, pointed at one cluster."""

    program: Path
    kubeconfig: Path

    def run(self, *words: str, stdin: dict[str, JsonValue] | None = None) -> subprocess.CompletedProcess[str]:
        """Return how it ended, also when it failed; `stdin` is an object for `-f -`."""
        command = [str(self.program), f"--kubeconfig={self.kubeconfig}", *words]
        given = None if stdin is None else json.dumps(stdin)
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    def __call__(self, *words: str, stdin: dict[str, JsonValue] | None = None) -> str:
        """Return what it wrote. Raises KubectlFailed."""
        done = self.run(*words, stdin=stdin)
        if done.returncode != 0:
            raise KubectlFailed(done.stderr)
        return done.stdout
