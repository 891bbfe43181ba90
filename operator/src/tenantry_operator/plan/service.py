"""What is done next for a ServiceDeployment of type Rolling: a pure function of what is wanted and what is there.

The law of order: the gaining side is ready, then the weight is written, then the gateway has taken it, then it is
drained, then the losing side is scaled in. Each action follows from what was *observed*, never from an action of the
same pass, so that a process killed between any two writes goes on where it was. The losing side keeps all its pods
until it has drained: going back is a change of weights.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tenantry_crds import Reason
from tenantry_crds.names import LABEL_REVISION, LABEL_SERVICE_DEPLOYMENT
from tenantry_operator.model.service import DesiredService, Promotion
from tenantry_operator.model.service_observed import DeploymentSeen, ObservedService
from tenantry_operator.model.service_template import Raw
from tenantry_operator.plan import service_manifests as manifests
from tenantry_operator.plan.service_situation import Situation, situation_of


@dataclass(frozen=True)
class CreateChild:
    """Make a child. `event` is what a person should hear of, if anything."""

    body: Raw
    reason: str
    event: Reason | None = None


@dataclass(frozen=True)
class ReplaceChild:
    """Write `body`, which carries the resourceVersion it was made from."""

    body: Raw
    reason: str
    event: Reason | None = None


@dataclass(frozen=True)
class ScaleDeployment:
    name: str
    replicas: int
    reason: str


@dataclass(frozen=True)
class DeleteChild:
    """Delete exactly the object that was observed."""

    body: Raw
    reason: str


Action = CreateChild | ReplaceChild | ScaleDeployment | DeleteChild


@dataclass(frozen=True)
class Blocked:
    """Why nothing can be done until a person acts."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class ServicePlan:
    situation: Situation
    actions: tuple[Action, ...]
    blocked: Blocked | None = None


def needs_trial(desired: DesiredService, observed: ObservedService) -> bool:
    """Say whether the API server must be asked what it makes of the template, before a Deployment is written."""
    if observed.foreign:
        return False
    seen = observed.deployments.get(desired.revision)
    return seen is None or seen.stamp != manifests.stamp(desired, seen.stored)


def plan_service(desired: DesiredService, observed: ObservedService, *, now: datetime) -> ServicePlan:
    """Return the writes that what is observed allows, in order, and what blocks more of them."""
    situation = situation_of(desired, observed, now=now)
    if observed.foreign:
        names = ", ".join(observed.foreign)
        message = f"{names} exists and is not a child of this ServiceDeployment; nothing is written until it is gone"
        return ServicePlan(situation, (), Blocked(Reason.NOT_OURS, message))
    actions = tuple(action for step in _STEPS for action in step(situation))
    refusal = observed.trial.refusal if observed.trial else ""
    return ServicePlan(situation, actions, Blocked(Reason.INVALID_TEMPLATE, refusal) if refusal else None)


def _deployment(situation: Situation) -> Iterator[Action]:
    """Give the wanted revision its Deployment, as rendered."""
    desired, observed = situation.desired, situation.observed
    if situation.target != desired.revision or (observed.trial and observed.trial.refusal):
        return
    seen = observed.deployments.get(desired.revision)
    stored = observed.trial.stored if observed.trial else seen.stored if seen else ""
    rendered = manifests.deployment(desired, stored=stored)
    if seen is None:
        yield CreateChild(rendered, f"revision {desired.revision} is wanted", _repair(situation))
    elif needs_trial(desired, observed) or manifests.differs(seen.body, rendered):
        yield ReplaceChild(manifests.merged(seen.body, rendered), _why_replaced(desired, seen), _repair(situation))


def _labels(situation: Situation) -> Iterator[Action]:
    """Give other revisions their label back: without it nobody would find them when they no longer serve."""
    desired, observed = situation.desired, situation.observed
    for seen in observed.deployments.values():
        labels = seen.body["metadata"].get("labels") or {}
        if seen.revision != desired.revision and labels.get(LABEL_SERVICE_DEPLOYMENT) != desired.name:
            body = manifests.labelled(desired, seen.body, seen.revision)
            yield ReplaceChild(body, "its label was taken by another hand", Reason.REPAIRED)


def _why_replaced(desired: DesiredService, seen: DeploymentSeen) -> str:
    asked, _, stored = seen.stamp.partition(".")
    wanted = manifests.stamp(desired, seen.stored).partition(".")[0]
    if asked and asked != wanted:
        return "the ServiceDeployment asks for another Deployment of the same pods"
    if stored != seen.stored:
        return "its spec was changed by another hand"
    return "its labels, annotations or owner were changed by another hand"


def _services(situation: Situation) -> Iterator[Action]:
    """Every revision that serves or may serve is reachable by itself."""
    desired, observed = situation.desired, situation.observed
    weighted = observed.route.weights if observed.route else {}
    for revision in dict.fromkeys((situation.stable, situation.target, *weighted)):
        # The pursued revision's Deployment is made in this very pass, before its Service.
        if revision is None or (revision not in observed.deployments and revision != desired.revision):
            continue
        yield from _ensured(
            observed.services.get(desired.child(revision)),
            manifests.revision_service(desired, revision, target_port=_target_port(situation, revision)),
            f"revision {revision} needs a Service of its own",
            event=_repair(situation),
        )


def _target_port(situation: Situation, revision: str) -> int:
    """Return the port of a revision's own containers; the spec's is the wanted revision's alone."""
    desired = situation.desired
    seen = situation.observed.deployments.get(revision)
    return (seen.target_port if seen and revision != desired.revision else None) or desired.target_port


def _public_service(situation: Situation) -> Iterator[Action]:
    """Service `<name>` selects the stable revision, and moves once, when the next one is whole and has the traffic."""
    desired, observed = situation.desired, situation.observed
    selected = situation.stable or situation.target
    if selected is None:
        return
    promotions, reason = observed.promotions, f"callers inside the cluster reach revision {selected}"
    event = _repair(situation)
    if _may_be_promoted(situation):
        selected = situation.target or selected
        promotions = _promoted(situation, selected)
        reason = f"revision {selected} is ready and has the traffic: it is promoted"
        event = Reason.REVISION_PROMOTED
    stays = observed.moved_at if selected == observed.selected else None
    moved_at = _past(stays, situation) or situation.now
    port = _target_port(situation, selected)
    rendered = manifests.public_service(desired, selected, target_port=port, moved_at=moved_at, promotions=promotions)
    seen = observed.services.get(desired.name)
    yield from _ensured(seen, rendered, reason, event=event)


def _past(moment: datetime | None, situation: Situation) -> datetime | None:
    """Leave out a time that has not come: only a hand writes one, and no drain would end before it."""
    return moment if moment and moment <= situation.now else None


def _may_be_promoted(situation: Situation) -> bool:
    whole = situation.enough and situation.taken and set(situation.weights) <= {situation.target}
    return whole and not situation.promoted


def _promoted(situation: Situation, revision: str) -> tuple[Promotion, ...]:
    others = tuple(item for item in situation.observed.promotions if item.revision != revision)
    return (Promotion(revision, situation.now), *others)[: situation.desired.history_limit + 1]


def _route(situation: Situation) -> Iterator[Action]:
    """Let the weights follow ready endpoints; when the gateway has taken them, write down when, for the drain."""
    desired, observed = situation.desired, situation.observed
    seen = observed.route
    if desired.gateway is None:
        if seen:
            yield DeleteChild(seen.body, "the ServiceDeployment names no gateway any more")
        return
    weights = situation.weights
    if not weights:
        return
    if seen is None:
        rendered = manifests.route(desired, weights)
        yield CreateChild(rendered, f"the gateway sends {shares(weights)}", _repair(situation))
    elif not situation.route_as_wanted:
        reason = f"the weights become {shares(weights)}; they were {shares(seen.weights)}"
        rendered = manifests.route(desired, weights)
        yield ReplaceChild(manifests.merged(seen.body, rendered), reason, _repair(situation))
    else:
        yield from _taken(situation, seen.body)


def _taken(situation: Situation, body: Raw) -> Iterator[Action]:
    route = situation.observed.route
    known = _past(route.taken_at if route else None, situation)
    taken_at = known.isoformat() if known else None
    reason = "its labels or its owner were changed by another hand"
    # Nobody asks when it was taken unless a revision waits to be drained.
    if taken_at is None and situation.taken and situation.leaving:
        taken_at, reason = situation.now.isoformat(), "the gateway has taken the weights: the drain begins"
    rendered = manifests.route(situation.desired, situation.weights, taken_at=taken_at)
    if manifests.differs(body, rendered):
        yield ReplaceChild(manifests.merged(body, rendered), reason)


def _scale(situation: Situation) -> Iterator[Action]:
    """Give all pods to what serves or may serve, and none to what has drained."""
    wanted = situation.desired.replicas
    for revision in dict.fromkeys((situation.stable, situation.target)):
        seen = situation.observed.deployments.get(revision or "")
        if seen and seen.replicas != wanted:
            yield ScaleDeployment(seen.name, wanted, f"{wanted} pods are wanted; it had {seen.replicas}")
    if situation.drain_left is None or situation.drain_left:
        return
    for seen in situation.leaving:
        if seen.revision != situation.observed.selected:
            yield ScaleDeployment(seen.name, 0, f"revision {seen.revision} has drained")


def _history(situation: Situation) -> Iterator[Action]:
    """Old revisions are kept up to the limit, those promoted last first; Services without a Deployment are not kept."""
    desired, observed = situation.desired, situation.observed
    times = {promotion.revision: promotion.at for promotion in observed.promotions}
    gone = [seen for seen in situation.retired if seen.replicas == 0 and seen.pods == 0]
    newest_first = sorted(gone, key=lambda seen: times.get(seen.revision) or seen.created_at or situation.now)[::-1]
    for seen in newest_first[desired.history_limit :]:
        yield DeleteChild(seen.body, f"more than {desired.history_limit} old revisions are kept")
        service = observed.services.get(desired.child(seen.revision))
        if service and seen.revision not in (observed.route.weights if observed.route else {}):
            yield DeleteChild(service, f"revision {seen.revision} is not kept")
    needed = {desired.name, *(desired.child(item) for item in (*observed.deployments, desired.revision))}
    for name, body in observed.services.items():
        revision = (body["metadata"].get("labels") or {}).get(LABEL_REVISION)
        if name not in needed and revision and name == desired.child(revision):
            yield DeleteChild(body, f"revision {revision} has no Deployment")


_STEPS = (_deployment, _labels, _services, _public_service, _route, _scale, _history)


def _repair(situation: Situation) -> Reason | None:
    """Once a revision is promoted, and until the next is wanted, only a hand makes writes necessary.

    It may be the user's, who changed what makes no revision, such as a hostname.
    """
    if not situation.promoted:
        return None
    return Reason.UPDATED if situation.desired.edited else Reason.REPAIRED


def _ensured(seen: Raw | None, rendered: Raw, reason: str, *, event: Reason | None) -> Iterator[Action]:
    if seen is None:
        yield CreateChild(rendered, reason, event)
    elif manifests.differs(seen, rendered):
        yield ReplaceChild(manifests.merged(seen, rendered), reason, event)


def shares(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{weight} to {revision}" for revision, weight in weights.items()) or "nothing"
