"""A small cluster in memory: what a plan's actions do, and what pods and a gateway do about it. For plans only.

It is a stand-in: it keeps objects as the API server would (generation, resourceVersion, defaults), makes a pod ready
when told, and counts endpoints. Nothing of the operator but the plan and the reader of objects runs in it.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tenantry_crds.names import LABEL_REVISION
from tenantry_operator.model.service import DesiredService, desired_service
from tenantry_operator.model.service_observed import (
    Children,
    ObservedService,
    Trial,
    observed_service,
    stored_fingerprint,
)
from tenantry_operator.plan import service_manifests as manifests
from tenantry_operator.plan.service import (
    Action,
    CreateChild,
    DeleteChild,
    ReplaceChild,
    ScaleDeployment,
    ServicePlan,
    needs_trial,
    plan_service,
)

Raw = dict[str, Any]
REFUSED_IMAGE = "refused"
START = datetime(2026, 1, 1, tzinfo=UTC)


def service_deployment(**changes: Any) -> Raw:
    """Return a ServiceDeployment as the API server sends it; `changes` are of its spec."""
    template = {"spec": {"containers": [{"name": "app", "image": changes.pop("image", "a")}]}}
    gateway = {"name": "web", "namespace": "edge", "hostname": "shop.example"}
    spec: Raw = {
        "replicas": 2, "template": template, "service": {"port": 8000}, "traffic": {"gateway": gateway},
    }  # fmt: skip
    metadata = {"name": "shop", "namespace": "apps", "uid": "uid-of-shop", "generation": 1}
    kind = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "ServiceDeployment"}
    return {**kind, "metadata": metadata, "spec": {**spec, **changes}}


@dataclass
class MemoryCluster:
    """One ServiceDeployment and its world. `pods` are the ready ones, by revision; `broken` images never get any."""

    body: Raw = field(default_factory=service_deployment)
    now: datetime = START
    objects: dict[tuple[str, str], Raw] = field(default_factory=dict)
    pods: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    writes: int = 0

    # --- what the user does

    @property
    def desired(self) -> DesiredService:
        return desired_service(self.body)

    def ask(self, **changes: Any) -> None:
        """Change the spec; `image` changes the template's only container."""
        if "image" in changes:
            self.body["spec"]["template"]["spec"]["containers"][0]["image"] = changes.pop("image")
        self.body["spec"].update(changes)
        self.body["metadata"]["generation"] += 1

    # --- what the operator does

    def observe(self) -> ObservedService:
        desired = self.desired
        observed = observed_service(desired, self._children())
        if not needs_trial(desired, observed):
            return observed
        trial = Trial(refusal="the image is refused")
        if desired.image != REFUSED_IMAGE:
            trial = Trial(stored=stored_fingerprint(_defaulted(manifests.trial(desired))))
        return ObservedService(**{**vars(observed), "trial": trial})

    def plan(self) -> ServicePlan:
        return plan_service(self.desired, self.observe(), now=self.now)

    def play(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            self.do(action)

    def do(self, action: Action) -> None:
        """Carry out one action as the API server would. Raises AssertionError where that would refuse it."""
        self.writes += 1
        match action:
            case CreateChild(body=body):
                self._create(body)
            case ReplaceChild(body=body):
                self._replace(body)
            case ScaleDeployment(name=name, replicas=replicas):
                self.objects["Deployment", name]["spec"]["replicas"] = replicas
                self._touch(self.objects["Deployment", name])
            case DeleteChild(body=body):
                del self.objects[body["kind"], body["metadata"]["name"]]

    def reconcile(self) -> ServicePlan:
        """Play plans until one is empty, as a pass does."""
        for _ in range(8):
            plan = self.plan()
            if not plan.actions:
                return plan
            self.play(plan.actions)
        raise AssertionError(f"plans do not come to an end: {[action.reason for action in plan.actions]}")

    # --- what pods, gateway and time do

    def turn(self, seconds: float = 1.0) -> None:
        """Let all pods that can be ready become it, the gateway take the route, and time pass."""
        for revision in self.revisions():
            self.grow(revision, 1000)
        self.take()
        self.now += timedelta(seconds=seconds)

    def grow(self, revision: str, by: int) -> None:
        """Change the number of ready pods, within what the Deployment wants."""
        seen = self.objects["Deployment", self.desired.child(revision)]
        image = seen["spec"]["template"]["spec"]["containers"][0]["image"]
        most = 0 if image in self.broken else seen["spec"]["replicas"]
        self.pods[revision] = max(0, min(self.pods.get(revision, 0) + by, most))

    def take(self) -> None:
        """Let the gateway accept the route as it is."""
        route = self.objects.get(("HTTPRoute", self.desired.name))
        if route:
            route["status"] = {"parents": [accepted_by_gateway(route)]}

    def settle(self, turns: int = 12) -> ServicePlan:
        """Let operator and cluster take turns of 10 s; return the last plan."""
        for _ in range(turns):
            self.reconcile()
            self.turn(10)
        return self.reconcile()

    def revisions(self) -> list[str]:
        return [name.rpartition("-")[2] for kind, name in self.objects if kind == "Deployment"]

    # --- what is seen from outside

    def weights(self) -> dict[str, int]:
        """Return the weights that stand in the route, by image."""
        route = self.observe().route
        return {self.image(revision): weight for revision, weight in (route.weights if route else {}).items()}

    def selected(self) -> str | None:
        revision = self.observe().selected
        return self.image(revision) if revision else None

    def replicas(self) -> dict[str, int]:
        found = [body for (kind, _), body in self.objects.items() if kind == "Deployment"]
        return {self.image(body["metadata"]["name"].rpartition("-")[2]): body["spec"]["replicas"] for body in found}

    def image(self, revision: str) -> str:
        body = self.objects.get(("Deployment", self.desired.child(revision)))
        return body["spec"]["template"]["spec"]["containers"][0]["image"] if body else "gone"

    def ready(self, revision: str) -> int:
        body = self.objects.get(("Deployment", self.desired.child(revision)))
        service = self.objects.get(("Service", self.desired.child(revision)))
        return min(self.pods.get(revision, 0), body["spec"]["replicas"]) if body and service else 0

    # --- how it is kept

    def _children(self) -> Children:
        def of(kind: str) -> tuple[Raw, ...]:
            return tuple(deepcopy(body) for (found, _), body in self.objects.items() if found == kind)

        deployments = of("Deployment")
        for body in deployments:
            ready = self.ready(body["metadata"]["name"].rpartition("-")[2])
            replicas = body["spec"]["replicas"]
            body["status"] = {
                "observedGeneration": body["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": ready,
            }  # fmt: skip
        slices = tuple(slice_of(body, self._serving(body)) for body in of("Service"))
        return Children(deployments, of("Service"), of("HTTPRoute"), slices)

    def _serving(self, service: Raw) -> int:
        revision = service["metadata"]["labels"].get(LABEL_REVISION, "")
        return self.ready(revision) if service["spec"]["selector"].get(LABEL_REVISION) == revision else 0

    def _create(self, body: Raw) -> None:
        key = body["kind"], body["metadata"]["name"]
        assert key not in self.objects, f"{key} exists"
        body = _defaulted(deepcopy(body))
        body["metadata"] |= {"uid": f"uid-{self.writes}", "generation": 1, "creationTimestamp": self.now.isoformat()}
        self.objects[key] = body
        self._touch(body, generation=False)

    def _replace(self, body: Raw) -> None:
        key = body["kind"], body["metadata"]["name"]
        held = self.objects[key]
        assert body["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"], "Conflict"
        new = _defaulted(deepcopy(body))
        new["metadata"]["generation"] = held["metadata"]["generation"]
        self.objects[key] = new
        self._touch(new, generation=new["spec"] != held["spec"])

    def _touch(self, body: Raw, *, generation: bool = True) -> None:
        self.writes += 1
        body["metadata"]["generation"] += int(generation)
        body["metadata"]["resourceVersion"] = str(self.writes)

    def by_hand(self, kind: str, name: str) -> Raw:
        """Return the object to be edited in place, as a person would."""
        body = self.objects[kind, name]
        self._touch(body)
        return body


def accepted_by_gateway(route: Raw) -> Raw:
    """Return what a gateway writes into a route's status that it has accepted."""
    generation = route["metadata"]["generation"]
    held = {
        "status": "True", "observedGeneration": generation, "reason": "Accepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    conditions = [{"type": "Accepted", **held}, {"type": "ResolvedRefs", **held, "reason": "ResolvedRefs"}]
    parent = route["spec"]["parentRefs"][0]
    return {"parentRef": parent, "controllerName": "example.org/stand-in", "conditions": conditions}


def slice_of(service: Raw, ready: int) -> Raw:
    """Return the EndpointSlice that the endpoint controller makes of a Service with so many ready pods."""
    metadata, port = service["metadata"], service["spec"]["ports"][0]
    labels = {**metadata.get("labels", {}), "kubernetes.io/service-name": metadata["name"]}
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{metadata['name']}-slice", "namespace": metadata["namespace"], "labels": labels},
        "endpoints": [{"addresses": [f"10.0.0.{n + 1}"], "conditions": {"ready": True}} for n in range(ready)],
        "ports": [{"name": port["name"], "port": port["targetPort"], "protocol": "TCP"}],
    }  # fmt: skip


def _defaulted(body: Raw) -> Raw:
    """Fill in a few defaults, as the API server does, so that what is kept differs from what was asked."""
    if body["kind"] == "Deployment":
        body["spec"]["template"]["spec"] = {"restartPolicy": "Always", **body["spec"]["template"]["spec"]}
    if body["kind"] == "Service":
        body["spec"] = {"clusterIP": "10.96.0.9", "sessionAffinity": "None", **body["spec"]}
    return body
