"""Applies committed manifests to a cluster."""

from pathlib import Path

from tenantry_testing.kubectl import Kubectl


def apply_crds(kubectl: Path, kubeconfig: Path, folder: Path) -> None:
    """Apply every CRD in the folder and wait until the API server serves them. Raises with kubectl's words."""
    asked = Kubectl(kubectl, kubeconfig)
    made = asked("apply", "--server-side", "-f", f"{folder}", "-o", "name").split()
    asked.wait_served(*(name.partition("/")[2] for name in made))
