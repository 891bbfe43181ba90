"""Whether one more Tenant's data may be dropped now: a slip that deletes many at once is stopped after a few."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from tenantry_operator.model.breaker import BreakerLimits, BreakerState, Latch
from tenantry_operator.plan.actions import DropData, TenantAction
from tenantry_operator.plan.database_actions import DropDatabase


@dataclass(frozen=True)
class Admission:
    """The answer, and the state to keep before anything is dropped."""

    allowed: bool
    state: BreakerState


def drops_data(actions: Iterable[TenantAction]) -> bool:
    """Whether the breaker has a say: releasing drops no data."""
    return any(isinstance(action, DropData | DropDatabase) for action in actions)


def admit(state: BreakerState, limits: BreakerLimits, *, uid: str, name: str, tenants: int, now: datetime) -> Admission:
    """Let the drop of one Tenant begin, or open the breaker. `tenants` are those that the registry has.

    A drop that is begun once more, after a crash or a failure, counts once, from when it was begun last: the data may
    have gone at any time since. An open breaker stops all, also what was begun.
    """
    if state.latch is not None:
        return Admission(False, state)
    if limits.are_off or uid in state.approved:
        return Admission(True, state)
    # A time that is yet to come was written by a clock ahead of ours: it counts.
    recent = {one: at for one, at in state.begun.items() if now - at < limits.window and one != uid}
    count = len(recent) + 1
    if count > limits.drops and count * 100 > limits.percent * tenants:
        return Admission(False, replace(state, begun=recent, latch=Latch(now, _why(limits, name, count, tenants))))
    return Admission(True, replace(state, begun={**recent, uid: now}))


def reset(state: BreakerState, *, approved: Iterable[str] = ()) -> BreakerState:
    """Close the breaker. What was begun is not forgotten, so that a minute never sees more drops than it may."""
    return BreakerState(begun=state.begun, approved=frozenset(approved))


def _why(limits: BreakerLimits, name: str, count: int, tenants: int) -> str:
    seconds = round(limits.window.total_seconds())
    return (
        f"{name} would have been number {count} of {tenants} tenants to be dropped within {seconds} s; "
        f"allowed are {limits.drops}, or {limits.percent:g} % if that is more"
    )
