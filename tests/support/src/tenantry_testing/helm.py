"""helm as a user types it, for tests of the charts."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

NAMESPACE = "tenantry-system"


class HelmFailed(Exception):
    """helm ended with another code than 0; the text is what it wrote."""


@dataclass(frozen=True)
class Helm:
    """The built helm, pointed at one cluster and the charts of one checkout."""

    program: Path
    charts: Path
    kubeconfig: Path
    # helm keeps caches and plugins below the home folder otherwise
    home: Path

    def __call__(self, *words: str, namespace: str = NAMESPACE) -> str:
        """Return what helm wrote. Raises HelmFailed."""
        environment = {
            "KUBECONFIG": str(self.kubeconfig),
            "HELM_CACHE_HOME": str(self.home / "cache"),
            "HELM_CONFIG_HOME": str(self.home / "config"),
            "HELM_DATA_HOME": str(self.home / "data"),
            "HOME": str(self.home),
        }
        command = [str(self.program), *words, "--namespace", namespace]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise HelmFailed(done.stdout + done.stderr)
        return done.stdout

    def install(self, chart: str, **values: str) -> str:
        """Install or upgrade a release of the chart's name."""
        words = ("upgrade", "--install", chart, str(self.charts / chart), "--create-namespace")
        return self(*words, *_sets(values))

    def template(self, chart: str, **values: str) -> list[dict[str, Any]]:
        """Return the objects that the chart renders without a cluster; `a__b="1"` sets the value a.b."""
        text = self("template", chart, str(self.charts / chart), *_sets(values))
        return [found for found in yaml.safe_load_all(text) if found]


def _sets(values: Mapping[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in ("--set", f"{name.replace('__', '.')}={value}")]
