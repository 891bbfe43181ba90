"""Waiting for what the operator promises, and saying why it did not come."""

from typing import Any

from tenantry_cluster.errors import ClusterError
from tenantry_testing.demo.programs import ProgramFailed, Programs


class NotReady(ClusterError):
    """An object did not become what was waited for; the message carries its conditions."""


def wait_ready(programs: Programs, name: str, *, namespace: str | None = None, seconds: int = 120) -> None:
    """Wait until the object `name` (`tenant/acme`) is Ready at its generation. Raises NotReady."""
    where = ["--namespace", namespace] if namespace else []
    try:
        programs.kubectl("wait", name, *where, "--for=condition=Ready", f"--timeout={seconds}s", timeout=seconds + 30.0)
    except ProgramFailed as failure:
        raise NotReady(f"{name} is not Ready after {seconds} s: {_why(programs, name, where)}") from failure


def _why(programs: Programs, name: str, where: list[str]) -> str:
    try:
        return describe_conditions(programs.object(name, *where))
    except ProgramFailed as failure:
        return failure.output.strip()


def describe_conditions(found: dict[str, Any]) -> str:
    """The conditions of an object in one line, as `Ready=False (Reason: message)`."""
    conditions = found.get("status", {}).get("conditions", [])
    said = [f"{c['type']}={c['status']} ({c.get('reason', '')}: {c.get('message', '')})" for c in conditions]
    return ", ".join(said) or "it has no conditions: is the operator running?"
