"""What a pass tells in Events: at most two of them, and nothing twice."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tenantry_crds import DeletionPolicy, Lifecycle, Tenant, absent
from tenantry_crds.reasons import Reason
from tenantry_operator.model.tenant import RowState
from tenantry_operator.plan.action import Action
from tenantry_operator.plan.actions import RecordTenant, WriteMarker
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant_lifecycle import CLOSED, STATES
from tenantry_operator.plan.tenant_reporting import BROKEN, REPAIRS, describe
from tenantry_operator.reconcile.tenant_credentials import credentials_told

NAMED = 8
NOTE_LIMIT = 1000


@dataclass(frozen=True)
class DriftTold:
    """What a pass found of changes by hand."""

    changed: bool = False
    """Whether the spec is another one than was applied last; if not, all that is done is a repair."""
    drift: tuple[object, ...] = ()
    """The actions that answer to a change by hand."""
    reported: tuple[str, ...] = ()
    """What is seen for the first time and left as it is."""


NOTHING_TOLD: Final = DriftTold()


MOVES = {
    Reason.SUSPENDED: ("nobody logs in any more, and the services refuse the tenant; all else is kept", "Suspend"),
    Reason.ARCHIVED: ("the login and the Secret are gone, and the services refuse the tenant", "Archive"),
    Reason.RESUMED: ("the login and the services get at the data again", "Resume"),
}


@dataclass(frozen=True)
class Event:
    type: str
    reason: Reason
    message: str
    action: str = "Reconcile"


def moved_to(wanted: Lifecycle, done: Sequence[object], *, was: RowState | None, shown: str | None) -> Reason | None:
    """Say which move of its lifecycle a Tenant made, if it did: `was` the registry before, `shown` the status."""
    if not done:
        return None
    if wanted is Lifecycle.ACTIVE:
        return Reason.RESUMED if was in CLOSED else None
    reason = Reason(wanted.value)
    return reason if was is not STATES[wanted] or shown != reason else None


def events_of(
    tenant: Tenant,
    problem: Problem | None,
    done: Sequence[object],
    *,
    fresh: bool,
    shown: Collection[str | None],
    told: DriftTold = NOTHING_TOLD,
    moved: Reason | None = None,
) -> Iterator[Event]:
    """Tell what was made, changed, repaired or dropped, and a problem when it is new; at most two of it.

    `shown` is what the status said before, `moved` the move that the Tenant made of its lifecycle.
    """
    return islice(_events_of(tenant, problem, done, fresh=fresh, shown=shown, told=told, moved=moved), 2)


def _events_of(
    tenant: Tenant,
    problem: Problem | None,
    done: Sequence[object],
    *,
    fresh: bool,
    shown: Collection[str | None],
    told: DriftTold,
    moved: Reason | None,
) -> Iterator[Event]:
    if problem is not None and problem.reason not in shown:
        yield Event("Warning", problem.reason, problem.message)
    if tenant.metadata.is_terminating:
        if problem is None:
            yield _gone(tenant)
        return
    if told.reported and (problem is None or problem.reason not in BROKEN):
        said = f"changed by hand, and left so: {'; '.join(told.reported)}"[:NOTE_LIMIT]
        yield Event("Warning", Reason.DRIFTED, said, "Report")
    changes = [action for action in done if isinstance(action, Action) and not isinstance(action, RecordTenant)]
    if changes and (problem is None or problem.reason not in shown):
        yield from _made(problem, changes, fresh=fresh, told=told, moved=moved)
    if moved is not None and problem is None:
        message, action = MOVES[moved]
        yield Event("Normal", moved, message, action)


def _made(
    problem: Problem | None, changes: Sequence[Action], *, fresh: bool, told: DriftTold, moved: Reason | None
) -> Iterator[Event]:
    if fresh:
        if problem is None:
            yield Event("Normal", Reason.PROVISIONED, "schemas, roles and credentials are in place", "Provision")
    elif (about_credentials := credentials_told(changes)) is not None:
        yield Event(*about_credentials, "Rotate")
        if repaired := [action for action in changes if action in told.drift]:
            yield Event("Normal", Reason.REPAIRED, _told(repaired), "Repair")
    elif any(isinstance(action, WriteMarker) for action in changes):
        yield Event("Normal", Reason.ADOPTED, "what an earlier Tenant of this name left was taken over", "Adopt")
    elif moved is None:
        yield from _changes(changes, told)


def _changes(changes: Sequence[Action], told: DriftTold) -> Iterator[Event]:
    updated = [action for action in changes if told.changed and action not in told.drift]
    repaired = [action for action in changes if action not in updated]
    if updated:
        yield Event("Normal", Reason.UPDATED, _told(updated), "Update")
    if repaired:
        yield Event("Normal", Reason.REPAIRED, _told(repaired), "Repair")


def _gone(tenant: Tenant) -> Event:
    if absent.deletion_policy(tenant.spec) is not DeletionPolicy.RETAIN:
        return Event("Normal", Reason.DELETED, "schemas, roles and credentials were dropped", "Delete")
    return Event("Normal", Reason.RELEASED, "schemas and group roles are kept; the login is gone", "Release")


def _told(changes: Sequence[Action]) -> str:
    told = "; ".join(f"{type(action).__name__}: {_named(action)}" for action in changes[:NAMED])
    return told if len(changes) <= NAMED else f"{told[:NOTE_LIMIT]}; and {len(changes) - NAMED} more"


def _named(action: Action) -> str:
    """Name what differed, where a hand can have done it; else the action's own reason."""
    return describe(action) if isinstance(action, REPAIRS) else action.reason
