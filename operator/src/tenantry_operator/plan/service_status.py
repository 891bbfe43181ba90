"""The status of a ServiceDeployment: what is waited for, said in conditions after kstatus. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tenantry_crds import (
    Condition,
    ConditionStatus,
    ConditionType,
    HistoryEntry,
    Reason,
    RevisionStatus,
    ServiceDeploymentPhase,
    ServiceDeploymentStatus,
    Weights,
)
from tenantry_crds.names import LABEL_SERVICE_DEPLOYMENT
from tenantry_operator.plan.service import Blocked, ServicePlan
from tenantry_operator.plan.service_situation import Situation

POLL_SECONDS = 1.0
"""How soon to look again for what no watch event tells: endpoints, the route's status, the words of a pod."""

SLOW_POLL_SECONDS = 5.0
"""The same, after the deadline, or where a person is likely to be needed."""

MESSAGE_LIMIT = 2000
_PASSING = (Reason.WAITING_FOR_REPLICAS, Reason.WAITING_FOR_ROUTE, Reason.DRAINING)
PODS_NAMED = 2


@dataclass(frozen=True)
class Wait:
    """What the next step waits for, and the seconds after which to look again."""

    reason: Reason
    message: str
    seconds: float = POLL_SECONDS


@dataclass(frozen=True)
class Failure:
    """A write that was tried in this pass and failed."""

    reason: Reason
    message: str


def wait_of(plan: ServicePlan) -> Wait | None:
    """Return the first thing that is waited for; None when all is as wanted or only a person can help."""
    if plan.blocked and plan.situation.target is None:
        return None
    return next(_waits(plan.situation), None)


def deadline_passed(situation: Situation) -> bool:
    """Say whether the revision that is taking over has made no progress for longer than it may."""
    seen = situation.observed.deployments.get(situation.target or "")
    if seen is None or situation.promoted or situation.enough:
        return False
    if seen.deadline_exceeded:
        return True
    # A revision that was scaled up again has no deadline of the Deployment's own: its pods tell since when it tries.
    unready = [pod.created_at for pod in situation.observed.pods if pod.created_at and not pod.ready]
    times = [time for time in (seen.created_at, seen.progressed_at, min(unready, default=None)) if time]
    return bool(times) and (situation.now - max(times)).total_seconds() > situation.desired.deadline_seconds


def service_status(
    plan: ServicePlan, previous: ServiceDeploymentStatus, *, failure: Failure | None = None
) -> ServiceDeploymentStatus:
    """Return the whole status. Of the previous one only the times of unchanged conditions are kept."""
    situation = plan.situation
    desired, observed = situation.desired, situation.observed
    conditions = tuple(_conditions(plan, wait_of(plan), failure=failure))
    return ServiceDeploymentStatus(
        observed_generation=desired.generation,
        phase=_phase(situation, conditions),
        replicas=sum(seen.pods for seen in observed.deployments.values()),
        selector=f"{LABEL_SERVICE_DEPLOYMENT}={desired.name}",
        stable=_revision(situation, situation.stable),
        updating=None if situation.target == situation.stable else _revision(situation, situation.target),
        weights=_weights(situation) if desired.gateway else None,
        history=tuple(_history(situation)),
        conditions=tuple(_dated(condition, previous, now=situation.now) for condition in conditions),
    )


def refused_status(
    generation: int, previous: ServiceDeploymentStatus, *, error: str, now: datetime
) -> ServiceDeploymentStatus:
    """Return the status of an object whose spec this version of the operator does not know; nothing else is changed."""
    make = _Maker(generation, now)
    new = (
        make(ConditionType.READY, False, reason=Reason.INVALID_SPEC, message=error),
        make(ConditionType.RECONCILING, False, reason=Reason.RECONCILED, message=""),
        make(ConditionType.STALLED, True, reason=Reason.INVALID_SPEC, message=error),
    )
    kept = tuple(item for item in previous.conditions if item.type not in [condition.type for condition in new])
    conditions = tuple(_dated(condition, previous, now=now) for condition in new) + kept
    return previous.model_copy(update={"observed_generation": generation, "conditions": conditions})


def shows(plan: ServicePlan, previous: ServiceDeploymentStatus) -> bool:
    """Say whether a status tells what the plan sees, but for the words of pods, which the plan may not know."""
    now = service_status(plan, previous)
    plain = (_plain(now), _plain(previous))
    return plain[0] == plain[1]


def _plain(status: ServiceDeploymentStatus) -> object:
    conditions = {(item.type, item.status, item.observed_generation) for item in status.conditions}
    return status.model_copy(update={"conditions": ()}), conditions


def _waits(situation: Situation) -> Iterator[Wait]:
    if not situation.enough:
        seconds = SLOW_POLL_SECONDS if deadline_passed(situation) else POLL_SECONDS
        yield Wait(Reason.WAITING_FOR_REPLICAS, _unready(situation), seconds)
    if not situation.taken:
        yield _route_wait(situation)
    if situation.leaving:
        yield _drain_wait(situation)
    if not situation.promoted:
        yield Wait(Reason.WAITING_FOR_REPLICAS, f"revision {situation.target} is about to be promoted")


def _unready(situation: Situation) -> str:
    desired, observed, target = situation.desired, situation.observed, situation.target
    text = f"{observed.ready(target)} of {desired.replicas} pods of revision {target} are ready"
    seen = observed.deployments.get(target or "")
    troubles = sorted({pod.trouble for pod in observed.pods if pod.trouble})[:PODS_NAMED]
    details = [seen.trouble] if seen and seen.trouble else troubles
    return "; ".join([text, *details])[:MESSAGE_LIMIT]


def _route_wait(situation: Situation) -> Wait:
    gateway, route = situation.desired.gateway, situation.observed.route
    where = f"Gateway {gateway.namespace}/{gateway.name}" if gateway else "the gateway"
    if situation.observed.gateway_missing:
        return Wait(Reason.GATEWAY_NOT_FOUND, f"{where} does not exist", SLOW_POLL_SECONDS)
    if route and route.refusal:
        message = f"{where} refuses HTTPRoute {situation.desired.name}: {route.refusal}"
        return Wait(Reason.ROUTE_NOT_ACCEPTED, message, SLOW_POLL_SECONDS)
    if route and route.unresolved:
        return Wait(Reason.ROUTE_REFS_NOT_RESOLVED, f"{where} cannot use the backends: {route.unresolved}")
    return Wait(
        Reason.WAITING_FOR_ROUTE, f"{where} has not yet taken the weights of HTTPRoute {situation.desired.name}"
    )


def _drain_wait(situation: Situation) -> Wait:
    names = ", ".join(seen.revision for seen in situation.leaving)
    left = situation.drain_left.total_seconds() if situation.drain_left is not None else POLL_SECONDS
    message = f"revision {names} finishes its requests for {situation.desired.drain_seconds} s before it is scaled in"
    return Wait(Reason.DRAINING, message, max(left, 0.05))


def _conditions(plan: ServicePlan, wait: Wait | None, *, failure: Failure | None) -> Iterator[Condition]:
    situation = plan.situation
    make = _Maker(situation.desired.generation, situation.now)
    stalled = _stalled(plan, wait)
    why = stalled or failure or wait
    yield make(ConditionType.READY, why is None, reason=why.reason if why else _fine(situation), message=_said(why))
    yield _reconciling(make, stalled=stalled, failure=failure, wait=wait)
    reason = stalled.reason if stalled else Reason.RECONCILED
    yield make(ConditionType.STALLED, stalled is not None, reason=reason, message=_said(stalled))
    yield _available(situation, make)
    yield _progressing(situation, make, stalled=stalled, wait=wait)


def _said(why: Blocked | Failure | Wait | None) -> str:
    return why.message if why else ""


def _stalled(plan: ServicePlan, wait: Wait | None) -> Blocked | None:
    """Return what a retry cannot cure."""
    if plan.blocked:
        return plan.blocked
    if wait and deadline_passed(plan.situation):
        seconds = plan.situation.desired.deadline_seconds
        return Blocked(Reason.PROGRESS_DEADLINE_EXCEEDED, f"no progress for {seconds} s: {wait.message}")
    return None


def _reconciling(make: "_Maker", *, stalled: Blocked | None, failure: Failure | None, wait: Wait | None) -> Condition:
    if failure and not stalled:
        return make(ConditionType.RECONCILING, True, reason=Reason.RETRYING, message=failure.message)
    if wait and not stalled:
        reason = wait.reason if wait.reason in _PASSING else Reason.WAITING_FOR_ROUTE
        return make(ConditionType.RECONCILING, True, reason=reason, message=wait.message)
    return make(ConditionType.RECONCILING, False, reason=Reason.RECONCILED, message="")


def _fine(situation: Situation) -> Reason:
    return Reason.HEALTHY if situation.desired.replicas else Reason.SCALED_TO_ZERO


def _available(situation: Situation, make: "_Maker") -> Condition:
    serving = set(situation.weights) if situation.desired.gateway else {situation.stable, situation.target}
    ready = sum(situation.observed.ready(revision) for revision in serving)
    if situation.desired.replicas == 0:
        return make(ConditionType.AVAILABLE, True, reason=Reason.SCALED_TO_ZERO, message="no pods are wanted")
    if ready:
        return make(ConditionType.AVAILABLE, True, reason=Reason.MINIMUM_REPLICAS_AVAILABLE, message="")
    return make(
        ConditionType.AVAILABLE, False, reason=Reason.MINIMUM_REPLICAS_UNAVAILABLE, message="no pod is ready to serve"
    )  # fmt: skip


def _progressing(situation: Situation, make: "_Maker", *, stalled: Blocked | None, wait: Wait | None) -> Condition:
    if stalled and stalled.reason is not Reason.NOT_OURS:
        return make(ConditionType.PROGRESSING, False, reason=stalled.reason, message=stalled.message)
    if situation.promoted and not situation.leaving:
        return make(ConditionType.PROGRESSING, True, reason=Reason.REVISION_PROMOTED, message="")
    reason = wait.reason if wait else Reason.WAITING_FOR_REPLICAS
    return make(ConditionType.PROGRESSING, stalled is None, reason=reason, message=_said(wait))


@dataclass(frozen=True)
class _Maker:
    generation: int
    now: datetime

    def __call__(self, kind: ConditionType, holds: bool, *, reason: Reason, message: str) -> Condition:
        status: ConditionStatus = "True" if holds else "False"
        return Condition(
            type=kind, status=status, observed_generation=self.generation, last_transition_time=self.now,
            reason=reason, message=message[:MESSAGE_LIMIT],
        )  # fmt: skip


def _dated(condition: Condition, previous: ServiceDeploymentStatus, *, now: datetime) -> Condition:
    """Keep the time of the last change of status; whole seconds, as Kubernetes writes them."""
    before = next((item for item in previous.conditions if item.type == condition.type), None)
    changed = before is None or before.status != condition.status
    time = now.replace(microsecond=0) if changed or before is None else before.last_transition_time
    return condition.model_copy(update={"last_transition_time": time})


def _phase(situation: Situation, conditions: tuple[Condition, ...]) -> ServiceDeploymentPhase:
    holds = {condition.type: condition.status == "True" for condition in conditions}
    if holds[ConditionType.READY]:
        return ServiceDeploymentPhase.HEALTHY
    if holds[ConditionType.STALLED]:
        return ServiceDeploymentPhase.DEGRADED
    if not situation.observed.deployments:
        return ServiceDeploymentPhase.PENDING
    settled = situation.promoted and not situation.leaving
    return ServiceDeploymentPhase.DEGRADED if settled else ServiceDeploymentPhase.PROGRESSING


def _revision(situation: Situation, revision: str | None) -> RevisionStatus | None:
    seen = situation.observed.deployments.get(revision or "")
    if seen is None:
        return None
    return RevisionStatus(
        revision=seen.revision,
        image=seen.image,
        replicas=seen.pods,
        ready_replicas=situation.observed.ready(revision),
    )


def _weights(situation: Situation) -> Weights:
    route = situation.observed.route
    return Weights(
        desired=_share(situation, dict(situation.weights)),
        applied=_share(situation, dict(route.weights)) if route and route.in_force else 0,
    )


def _share(situation: Situation, weights: dict[str, int]) -> int:
    """Return the target's percent of the whole."""
    return 100 * weights.get(situation.target or "", 0) // (sum(weights.values()) or 1)


def _history(situation: Situation) -> Iterator[HistoryEntry]:
    for promotion in situation.observed.promotions[: situation.desired.history_limit + 1]:
        seen = situation.observed.deployments.get(promotion.revision)
        if seen:
            yield HistoryEntry(
                revision=seen.revision, image=seen.image, promoted_at=promotion.at.replace(microsecond=0)
            )  # fmt: skip
