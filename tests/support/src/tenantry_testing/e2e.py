"""`make e2e`: brings the demo up, runs tests/e2e against it, and takes the cluster down again.

The demo is brought up here and not in a fixture: it reports its own progress and has limits of its own, while pytest's
time-out is for a test that hangs. Arguments are passed on to pytest, whose exit code this program's is.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenantry_cluster import ClusterError, Layout, Steps
from tenantry_testing.demo.diagnosis import diagnose
from tenantry_testing.demo.programs import Programs
from tenantry_testing.demo.versions import server_versions

SETUP_FAILED = 70


@dataclass(frozen=True)
class Suite:
    """The suite's surroundings: how the demo comes up and how the cluster goes down again."""

    steps: Steps
    layout: Layout
    bring_up: Callable[[Steps, Layout], object]
    take_down: Callable[[Steps, Layout], object]
    run: Callable[[Sequence[str]], int]
    keep: bool

    def __call__(self, arguments: Sequence[str]) -> int:
        """Pytest's exit code, or SETUP_FAILED when the demo did not come up and nothing was tested."""
        was_up = self.layout.record.exists()
        try:
            code = self._tested(arguments)
        finally:
            if not (was_up or self.keep):
                self._go_down()
        return code

    def _tested(self, arguments: Sequence[str]) -> int:
        try:
            self.bring_up(self.steps, self.layout)
        except ClusterError as error:
            self.steps.say(f"{error}\n{error.cure}".rstrip())
            self.steps.say(diagnose(self.layout))
            return SETUP_FAILED
        self.steps.say(f"\nServers met: {server_versions(Programs(self.layout.kubeconfig, self.layout.bin))}\n")
        code = self.run(pytest_command(self.layout, arguments))
        if code != 0:
            self.steps.say(diagnose(self.layout))
        return code

    def _go_down(self) -> None:
        """A teardown that fails is told, and hides no test's outcome."""
        try:
            self.take_down(self.steps, self.layout)
        except ClusterError as error:
            self.steps.say(f"the cluster was not taken down: {error}\n{error.cure}".rstrip())


def pytest_command(layout: Layout, arguments: Sequence[str]) -> list[str]:
    junit = layout.state / "results" / "e2e.xml"
    suite = layout.root / "tests" / "e2e"
    return [sys.executable, "-m", "pytest", "-q", f"--junitxml={junit}", str(suite), *arguments]


def main() -> int:
    from tenantry_cluster import take_down  # noqa: PLC0415
    from tenantry_testing.demo.up import up  # noqa: PLC0415

    suite = Suite(
        Steps(),
        Layout.of_checkout(),
        bring_up=up,
        take_down=take_down,
        run=lambda command: subprocess.run(command, check=False).returncode,
        keep=bool(os.environ.get("TENANTRY_KEEP")),
    )
    return suite(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
