"""kubectl as a user types it, for tests."""

import json
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from tenantry_cluster.waiting import wait_until

SERVED_SECONDS = 60.0


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

    def wait_served(self, *names: str) -> None:
        """Wait until objects of the types, as `tenants.tenantry.dev`, can be listed by name.

        The API server tells of a new type, and lists its objects, a moment after its definition is Established.
        """
        for name in names:
            wait_until(partial(self._established, name), seconds=SERVED_SECONDS, what=f"{name} is not Established")
            wait_until(partial(self._serves, name), seconds=SERVED_SECONDS, what=f"{name} are not served")

    def _established(self, name: str) -> bool:
        # Of a definition that has no conditions yet, kubectl says that they are none, and waits no longer.
        return self.run("wait", "--for=condition=Established", "--timeout=5s", f"crd/{name}").returncode == 0

    def _serves(self, name: str) -> bool:
        return self.run("get", name, "--all-namespaces").returncode == 0
