"""Running and ending other programs, with their errors in words."""

import subprocess
from collections.abc import Mapping, Sequence

from tenantry_cluster.errors import ClusterError


def run(
    command: Sequence[str], stdin: str | None = None, *, env: Mapping[str, str] | None = None, timeout: float = 600
) -> str:
    """What the command prints on its standard output. ClusterError with its last words when it fails."""
    shown = " ".join(command[:6])
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, input=stdin, env=env, timeout=timeout
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{shown} did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        raise ClusterError(f"{shown} failed with {done.returncode}:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def succeeds(command: Sequence[str], *, timeout: float = 60) -> bool:
    """Whether the command ends well; a command that is not there does not."""
    try:
        run(command, timeout=timeout)
    except ClusterError:
        return False
    return True
