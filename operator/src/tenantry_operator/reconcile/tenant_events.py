"""What a pass tells in Events: at most two of them, and nothing twice."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tenantry_crds import DeletionPolicy, Tenant, absent
from tenantry_crds.reasons import Reason
from tenantry_operator.plan.actions import Action, RecordTenant, WriteMarker
from tenantry_operator.plan.status import Problem

NAMED = 8


@dataclass(frozen=True)
class Event:
    type: str
    reason: Reason
    message: str
    action: str = "Reconcile"


def events_of(
    tenant: Tenant, problem: Problem | None, done: Sequence[object], *, fresh: bool, shown: Collection[str | None]
) -> Iterator[Event]:
    """Tell what was made, repaired or dropped, and a problem when it is new. `shown` is what the status said before."""
    if problem is not None and problem.reason not in shown:
        yield Event("Warning", problem.reason, problem.message)
    if tenant.metadata.is_terminating:
        if problem is None:
            yield _gone(tenant)
        return
    changes = [action for action in done if isinstance(action, Action) and not isinstance(action, RecordTenant)]
    if not changes or (problem is not None and problem.reason in shown):
        return
    if fresh:
        if problem is None:
            yield Event("Normal", Reason.PROVISIONED, "schemas, roles and credentials are in place", "Provision")
    elif any(isinstance(action, WriteMarker) for action in changes):
        yield Event("Normal", Reason.ADOPTED, "what an earlier Tenant of this name left was taken over", "Adopt")
    else:
        yield Event("Normal", Reason.REPAIRED, _told(changes), "Repair")


def _gone(tenant: Tenant) -> Event:
    if absent.deletion_policy(tenant.spec) is DeletionPolicy.DELETE:
        return Event("Normal", Reason.DELETED, "schemas, roles and credentials were dropped", "Delete")
    return Event("Normal", Reason.RELEASED, "schemas and group roles are kept; the login is gone", "Release")


def _told(changes: Sequence[Action]) -> str:
    told = "; ".join(f"{type(action).__name__}: {action.reason}" for action in changes[:NAMED])
    return told if len(changes) <= NAMED else f"{told}; and {len(changes) - NAMED} more"
