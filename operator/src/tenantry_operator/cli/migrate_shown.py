"""MigrationRuns as lines of text."""

from collections.abc import Iterable, Mapping
from typing import Any

Body = Mapping[str, Any]

ENDED = ("Succeeded", "Failed", "Planned")
HEAD = ("NAME", "TO", "PHASE", "WAVE", "DONE", "FAILED", "HELD", "TOTAL")


def is_over(body: Body, *, ended: bool = False) -> bool:
    """Say whether nothing more happens by itself: the run ended or, unless only that counts, somebody has to act."""
    status = body.get("status") or {}
    return status.get("phase") in ENDED or (not ended and _condition(body, "Stalled").get("status") == "True")


def reason_and_message(body: Body) -> tuple[str, str]:
    """Return what Ready says."""
    ready = _condition(body, "Ready")
    return ready.get("reason", ""), ready.get("message", "")


def line(body: Body) -> str:
    """Say how far a run is, in one line."""
    status = body.get("status") or {}
    if "total" not in status:
        return f"{status.get('phase', 'Pending')}: {reason_and_message(body)[1] or 'not looked at yet'}"
    said = f"{status.get('phase')}: wave {status.get('wave')}, {status['done']} of {status['total']} done"
    said += f", {status['failed']} failed" if status.get("failed") else ""
    said += f", {status['held']} held" if status.get("held") else ""
    waits = reason_and_message(body)[0]
    return f"{said} ({waits})" if status.get("phase") == "Pending" else said


def table(bodies: Iterable[Body]) -> str:
    """Show a line each."""
    rows = [HEAD, *map(_row, bodies)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(one.rstrip() for one in lines)


def sentence(body: Body) -> str:
    """Show all that is known of one run."""
    reason, message = reason_and_message(body)
    failures = (body.get("status") or {}).get("failures") or ()
    said = (f"{body['metadata']['name']} to {body['spec']['to']}", line(body), f"{reason}: {message}")
    return "\n".join((*said, *(f"  {one['tenant']}: {one['message']}" for one in failures)))


def _row(body: Body) -> tuple[str, ...]:
    status = body.get("status") or {}
    counts = (str(status.get(name, "")) for name in ("wave", "done", "failed", "held", "total"))
    return body["metadata"]["name"], body["spec"]["to"], status.get("phase", "Pending"), *counts


def _condition(body: Body, kind: str) -> Mapping[str, str]:
    found = (body.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})
