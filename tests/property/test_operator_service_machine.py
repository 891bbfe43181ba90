"""Whatever users, hands, crashes and pods do: requests have somewhere to go, and in the end it is as wanted."""

from datetime import datetime
from typing import Any

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tenantry_crds import ServiceDeploymentStatus
from tenantry_operator.plan.service import Action, CreateChild, ReplaceChild, ScaleDeployment
from tenantry_operator.plan.service_status import service_status, wait_of
from tenantry_testing.kstatus import check
from tenantry_testing.rollout_memory import REFUSED_IMAGE, MemoryCluster, service_deployment

IMAGES = st.sampled_from(["a", "b", "c", "bad", REFUSED_IMAGE])
DRAIN_SECONDS = 10
WITH_GATEWAY = {"gateway": {"name": "web"}, "drainSeconds": DRAIN_SECONDS}
INSIDE_ONLY = {"drainSeconds": DRAIN_SECONDS}


class Rollout(RuleBasedStateMachine):
    """The operator writes any prefix of its plan before it is killed; everything else happens in between."""

    cluster: MemoryCluster

    @initialize(
        traffic=st.sampled_from([WITH_GATEWAY, INSIDE_ONLY]), replicas=st.integers(1, 3), images=st.integers(0, 2)
    )
    def begin(self, traffic: dict[str, Any], replicas: int, images: int) -> None:
        """Begin with nothing, with a service that is released, or in the middle of its next release."""
        self.cluster = MemoryCluster(service_deployment(traffic=traffic, replicas=replicas), broken={"bad"})
        self.last_served: dict[str, datetime] = {}
        if images > 0:
            self.cluster.settle()
        if images > 1:
            self.cluster.ask(image="b")
            self.cluster.reconcile()
            self.cluster.grow(self.cluster.desired.revision, 1)
            self.cluster.reconcile()
            self.cluster.take()

    @rule(written=st.integers(0, 6))
    def operator_is_killed_after(self, written: int) -> None:
        self._play(self.cluster.plan().actions[:written])

    @rule()
    def operator_makes_a_pass(self) -> None:
        for _ in range(8):
            self._play(self.cluster.plan().actions)
        assert not self.cluster.plan().actions

    @rule(image=IMAGES)
    def user_asks_for(self, image: str) -> None:
        self.cluster.ask(image=image)

    @rule(replicas=st.integers(0, 4))
    def user_scales(self, replicas: int) -> None:
        self.cluster.ask(replicas=replicas)

    @rule(data=st.data(), by=st.integers(-2, 2))
    def pods_come_and_go(self, data: st.DataObject, by: int) -> None:
        if revisions := self.cluster.revisions():
            self.cluster.grow(data.draw(st.sampled_from(revisions)), by)

    @rule(data=st.data())
    def all_pods_of_a_revision_fail(self, data: st.DataObject) -> None:
        if revisions := self.cluster.revisions():
            self.cluster.grow(data.draw(st.sampled_from(revisions)), -1000)

    @rule()
    def gateway_takes_the_route(self) -> None:
        self.cluster.take()

    @rule(seconds=st.sampled_from([1, 10]))
    def everything_goes_on(self, seconds: int) -> None:
        self.cluster.turn(seconds)

    @rule(data=st.data())
    def hand_deletes(self, data: st.DataObject) -> None:
        if self.cluster.objects:
            del self.cluster.objects[data.draw(st.sampled_from(sorted(self.cluster.objects)))]

    @rule(data=st.data(), replicas=st.integers(0, 3), network=st.booleans())
    def hand_edits_a_deployment(self, data: st.DataObject, replicas: int, network: bool) -> None:
        if not (revisions := self.cluster.revisions()):
            return
        revision = data.draw(st.sampled_from(revisions))
        spec = self.cluster.by_hand("Deployment", self.cluster.desired.child(revision))["spec"]
        spec["replicas"] = replicas
        spec["template"]["spec"]["hostNetwork"] = network

    @rule(weight=st.integers(0, 100))
    def hand_edits_weights(self, weight: int) -> None:
        if ("HTTPRoute", "shop") in self.cluster.objects:
            route = self.cluster.by_hand("HTTPRoute", "shop")
            route["spec"]["rules"][0]["backendRefs"][0]["weight"] = weight

    @rule(data=st.data())
    def hand_edits_the_selector(self, data: st.DataObject) -> None:
        revisions = self.cluster.revisions()
        if ("Service", "shop") not in self.cluster.objects or not revisions:
            return
        revision = data.draw(st.sampled_from(revisions))
        body = self.cluster.by_hand("Service", "shop")
        body["spec"]["selector"] = {**body["spec"]["selector"], "tenantry.dev/revision": revision}

    @invariant()
    def a_status_can_always_be_told_and_read(self) -> None:
        status = service_status(self.cluster.plan(), ServiceDeploymentStatus())
        metadata = {"generation": self.cluster.desired.generation}
        check({"metadata": metadata, "status": status.model_dump(by_alias=True, exclude_none=True, mode="json")})

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        self.cluster.ask(image="final", replicas=2)
        plan = self.cluster.settle()
        assert wait_of(plan) is None
        replicas = self.cluster.replicas()
        assert {image: count for image, count in replicas.items() if count} == {"final": 2}
        assert self.cluster.selected() == "final"
        assert self.cluster.weights() == ({"final": 100} if self.cluster.desired.gateway else {})
        ready = {item.type: item.status for item in service_status(plan, ServiceDeploymentStatus()).conditions}
        assert ready["Ready"] == "True"
        before = self.cluster.writes
        self.cluster.settle(3)
        assert self.cluster.writes == before

    def _play(self, actions: tuple[Action, ...]) -> None:
        # Whether anybody serves is asked when the plan is made: no action may count on the one before it.
        somebody = bool(any(map(self.cluster.ready, self._served())) and self.cluster.desired.replicas)
        for action in actions:
            self._check_and_do(action, somebody=somebody)

    def _check_and_do(self, action: Action, *, somebody: bool) -> None:
        served = self._served()
        self.last_served |= dict.fromkeys(served, self.cluster.now)
        before = self.cluster.observe().selected
        if somebody and isinstance(action, ScaleDeployment) and action.replicas == 0:
            self._check_drained(action.name.rpartition("-")[2], served)
        if isinstance(action, CreateChild | ReplaceChild) and action.event == "RevisionPromoted":
            self._check_whole(action)
        self.cluster.do(action)
        if somebody and isinstance(action, ReplaceChild) and action.body["kind"] == "HTTPRoute":
            route = self.cluster.observe().route
            assert route is None or all(map(self.cluster.ready, route.weights)), action.reason
        if somebody and before and self.cluster.ready(before):
            assert self.cluster.ready(self.cluster.observe().selected or ""), action.reason

    def _served(self) -> set[str]:
        """Return the revisions that requests may go to now."""
        observed = self.cluster.observe()
        return {*(observed.route.weights if observed.route else {}), *filter(None, [observed.selected])}

    def _check_drained(self, revision: str, served: set[str]) -> None:
        """Nothing that requests go to is scaled to zero, nor what they went to at the last looks."""
        assert revision not in served
        last = self.last_served.get(revision)
        assert last is None or (self.cluster.now - last).total_seconds() >= DRAIN_SECONDS

    def _check_whole(self, action: CreateChild | ReplaceChild) -> None:
        """What is promoted has all its pods, and the gateway sends it everything."""
        revision = action.body["spec"]["selector"]["tenantry.dev/revision"]
        observed = self.cluster.observe()
        assert self.cluster.ready(revision) >= self.cluster.desired.replicas
        if self.cluster.desired.gateway:
            assert observed.route is not None
            assert observed.route.in_force
            assert set(observed.route.weights) == {revision}


# A failure is shown as it was found: making it smaller takes minutes, longer than a test may.
Rollout.TestCase.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, phases=[Phase.reuse, Phase.generate]
)
TestRollout = Rollout.TestCase
