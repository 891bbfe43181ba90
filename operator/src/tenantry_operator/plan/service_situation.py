"""Which revision is stable, which one is pursued, and what follows for weights and drains. Pure and level-triggered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenantry_operator.model.service import DesiredService
from tenantry_operator.model.service_observed import DeploymentSeen, ObservedService
from tenantry_operator.plan import service_manifests as manifests


@dataclass(frozen=True)
class Situation:
    """What is wanted, what is there, and who is who. `target` is None when there is nothing that could be pursued."""

    desired: DesiredService
    observed: ObservedService
    now: datetime
    stable: str | None
    target: str | None

    @property
    def promoted(self) -> bool:
        """Whether the target is what Service `<name>` selects and remembers as the last promotion."""
        newest = self.observed.promotions[0].revision if self.observed.promotions else None
        return self.target is not None and self.target == newest == self.observed.selected

    @property
    def enough(self) -> bool:
        """Whether the target has all its pods ready, made of its newest template."""
        seen = self.observed.deployments.get(self.target or "")
        if seen is None or not seen.settled or seen.replicas != self.desired.replicas:
            return False
        return min(self.observed.ready(self.target), seen.updated) >= self.desired.replicas

    @property
    def weights(self) -> Mapping[str, int]:
        """Return the weights that the route should have now; they sum to 100."""
        current = self.observed.route.weights if self.observed.route else {}
        serving = {revision: weight for revision, weight in current.items() if self.observed.ready(revision)}
        goal = self._goal()
        if any(map(self.observed.ready, goal)) or not serving:
            return goal
        return serving if len(serving) > 1 else dict.fromkeys(serving, 100)  # the gaining side is not ready

    @property
    def route_as_wanted(self) -> bool:
        route = self.observed.route
        return bool(
            route and self.weights and route.body["spec"] == manifests.route(self.desired, self.weights)["spec"]
        )

    @property
    def taken(self) -> bool:
        """Whether the gateway has taken the wanted weights; without a gateway there is nothing to take."""
        route = self.observed.route
        return self.desired.gateway is None or bool(route and self.route_as_wanted and route.in_force)

    @property
    def retired(self) -> tuple[DeploymentSeen, ...]:
        """Return the revisions that neither serve nor are to serve."""
        keep = (self.stable, self.target)
        return tuple(seen for revision, seen in self.observed.deployments.items() if revision not in keep)

    @property
    def leaving(self) -> tuple[DeploymentSeen, ...]:
        """Return the retired revisions that still have pods to be scaled in."""
        return tuple(seen for seen in self.retired if seen.replicas > 0)

    @property
    def drain_left(self) -> timedelta | None:
        """Return how long a retired revision must stay; zero when it may go, None while that is not known."""
        if self.observed.moved_at is None:
            return None
        begins = [self.observed.moved_at]
        if self.desired.gateway is not None:
            route = self.observed.route
            if route is None or not self.taken or route.taken_at is None:
                return None
            begins.append(route.taken_at)
        return max(timedelta(seconds=self.desired.drain_seconds) - (self.now - max(begins)), timedelta(0))

    def _goal(self) -> dict[str, int]:
        target, stable, wanted = self.target, self.stable, self.desired.replicas
        ready = self.observed.ready(target)
        if target is None or stable is None or target == stable or ready >= wanted:
            only = target or stable
            return {only: 100} if only else {}
        if ready == 0:
            return {stable: 100}
        if self.observed.ready(stable) == 0:
            return {target: 100}
        share = max(1, 100 * ready // wanted)
        return {stable: 100 - share, target: share}


def situation_of(desired: DesiredService, observed: ObservedService, *, now: datetime) -> Situation:
    stable = _stable(desired, observed)
    refused = bool(observed.trial and observed.trial.refusal)
    return Situation(desired, observed, now=now, stable=stable, target=stable if refused else desired.revision)


def _stable(desired: DesiredService, observed: ObservedService) -> str | None:
    """Return the revision that callers depend on.

    It is the one that was promoted last and that Service `<name>` selects. When the two differ (a selector edited by
    hand, a Deployment deleted by hand), the one with more ready pods counts, as far as they are wanted; when both are
    gone, whoever has most.
    """
    newest = [promotion.revision for promotion in observed.promotions[:1]]
    known = [item for item in (*newest, observed.selected) if item and item in observed.deployments]
    if known:
        return max(known, key=lambda item: min(observed.ready(item), desired.replicas))
    weights = observed.route.weights if observed.route else {}
    others = [item for item in observed.deployments if item != desired.revision and observed.ready(item)]
    return max(others, key=lambda item: (weights.get(item, 0), observed.ready(item), item), default=None)
