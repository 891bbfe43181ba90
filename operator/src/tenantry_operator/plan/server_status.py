"""The status of a DatabaseServer."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tenantry_crds import ConditionType, DatabaseServer, DatabaseServerStatus, ServerCapacity
from tenantry_crds.reasons import Reason
from tenantry_operator.plan.status import Problem, Said, conditions, overall


@dataclass(frozen=True)
class ServerVerdict:
    """What a pass came to. `reached` and `privileged` are None where the pass did not come so far."""

    problem: Problem | None = None
    reached: bool | None = None
    privileged: bool | None = None
    version: str | None = None
    tenants: int | None = None
    capacity: ServerCapacity | None = None
    room: Said | None = None
    """What is said of room for another tenant."""


def server_status(server: DatabaseServer, verdict: ServerVerdict, *, now: datetime) -> DatabaseServerStatus:
    """Say what is; of what the pass did not learn, the last word stays."""
    before = server.status
    generation = server.metadata.generation
    said = conditions(_said(server, verdict), before.conditions, generation=generation, now=now)
    changes: dict[str, object] = {"observed_generation": generation, "conditions": said}
    if verdict.version is not None:
        changes["version"] = verdict.version
    if verdict.tenants is not None:
        changes["tenants"] = verdict.tenants
    if verdict.capacity is not None:
        changes["capacity"] = verdict.capacity
    return before.model_copy(update=changes)


def _said(server: DatabaseServer, verdict: ServerVerdict) -> Iterator[Said]:
    problem = verdict.problem
    yield from overall(problem, ready=Reason.CONNECTED, message="the server is ready for tenants")
    yield _one(ConditionType.REACHABLE, verdict.reached, problem, good=Reason.CONNECTED)
    yield _one(ConditionType.PRIVILEGES_SUFFICIENT, verdict.privileged, problem, good=Reason.PRIVILEGES_GRANTED)
    yield verdict.room or _one(ConditionType.CAPACITY_AVAILABLE, None, problem, good=Reason.ROOM_LEFT)
    if server.metadata.is_terminating:
        reason, message = (problem.reason, problem.message) if problem else (Reason.DELETING, "")
        yield Said(ConditionType.DELETING, "True", reason, message)


def _one(kind: ConditionType, holds: bool | None, problem: Problem | None, *, good: Reason) -> Said:
    if holds:
        return Said(kind, "True", good)
    if holds is None or problem is None:
        return Said(kind, "Unknown", Reason.PROVISIONING, "not looked at in this pass")
    return Said(kind, "False", problem.reason, problem.message)
