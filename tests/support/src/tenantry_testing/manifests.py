"""Applies committed manifests to a cluster."""

import subprocess
from pathlib import Path

ESTABLISHED_SECONDS = 30


def apply_crds(kubectl: Path, kubeconfig: Path, folder: Path) -> None:
    """Apply every CRD in the folder and wait until the API server serves them. Raises with kubectl's words."""
    command = [f"{kubectl}", f"--kubeconfig={kubeconfig}"]
    for words in (
        ("apply", "--server-side", "-f", f"{folder}"),
        ("wait", "--for=condition=Established", f"--timeout={ESTABLISHED_SECONDS}s", "-f", f"{folder}"),
    ):
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"kubectl {words[0]} failed: {done.stderr.strip()}")
