"""A real API server with a ServiceDeployment on it, and stand-ins for what is not there: kubelet, controllers, gateway.

The API server is real: it validates, defaults, counts generations and refuses conflicts. The stand-ins write only what
the real ones write: a Deployment's status, EndpointSlices of Services, pods with their containers' states, and the
status of routes. The real ones are met by the suite on the cluster.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenantry_cluster import Layout
from tenantry_cluster.binaries import find_go
from tenantry_cluster.running import run
from tenantry_crds.names import LABEL_REVISION
from tenantry_operator.clients.kube import (
    DEPLOYMENTS,
    ENDPOINTSLICES,
    GATEWAYS,
    HTTPROUTES,
    NAMESPACES,
    PODS,
    SERVICEDEPLOYMENTS,
    SERVICES,
    Kube,
    Resource,
)
from tenantry_operator.engine.cache import ObjectCache, key_of
from tenantry_operator.engine.queue import Result
from tenantry_operator.reconcile.service import ServiceDeploymentReconciler
from tenantry_testing.fake_clock import START, FakeClock
from tenantry_testing.rollout_memory import accepted_by_gateway, service_deployment, slice_of

Raw = dict[str, Any]
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)


def copy_gateway_api(layout: Layout, folder: Path) -> Path:
    """Fill the folder with the CRDs of Gateway and HTTPRoute, as the Go module of the cluster's programs has them."""
    where = ["-C", f"{layout.binaries_module}"]
    module = "sigs.k8s.io/gateway-api"
    go = find_go()
    run([go, *where, "mod", "download", module])
    source = Path(run([go, *where, "list", "-m", "-f", "{{.Dir}}", module]).strip()) / "config/crd/standard"
    for plural in ("gateways", "httproutes"):
        name = f"{GATEWAYS.group}_{plural}.yaml"
        (folder / name).write_text((source / name).read_text())
    return folder


@dataclass
class RolloutWorld:
    """One ServiceDeployment in a namespace of its own. Time is a clock that `converge` moves; images are names only.

    Pods of an image in `broken` never get ready. The gateway judges routes unless `gateway_stopped`.
    """

    users: Kube
    operators: Kube
    namespace: str = field(default_factory=lambda: f"rollout-{uuid.uuid4().hex[:8]}")
    name: str = "shop"
    broken: set[str] = field(default_factory=set)
    gateway_stopped: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    cache: ObjectCache = field(default_factory=ObjectCache)

    async def begin(self, **spec: Any) -> None:
        """Make namespace, Gateway and ServiceDeployment."""
        self.clock.advance((datetime.now(UTC) - START).total_seconds())
        await self.users.create(
            NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        )
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self._named("default")}
        await self.users.create(SERVICEACCOUNTS, account)
        listener = {"name": "web", "port": 8000, "protocol": "HTTP"}
        await self.users.create(GATEWAYS, {
            "apiVersion": GATEWAYS.api_version, "kind": "Gateway", "metadata": self._named("web"),
            "spec": {"gatewayClassName": "stand-in", "listeners": [listener]},
        })  # fmt: skip
        traffic = {"gateway": {"name": "web", "hostname": "shop.example"}, "drainSeconds": 10}
        body = service_deployment(**{"traffic": traffic, **spec})
        await self.users.create(SERVICEDEPLOYMENTS, {**body, "metadata": self._named(self.name)})

    def reconciler(self) -> ServiceDeploymentReconciler:
        """Make one as after a restart: it knows nothing."""
        return ServiceDeploymentReconciler(kube=self.operators, cache=self.cache, clock=self.clock)

    # --- the user

    async def ask(self, *, image: str | None = None, **spec: Any) -> None:
        if image:
            spec["template"] = {"spec": {"containers": [{"name": "app", "image": image}]}}
        await self.users.merge_patch(SERVICEDEPLOYMENTS, self.name, {"spec": spec}, namespace=self.namespace)

    async def body(self) -> Raw:
        found = await self.users.get(SERVICEDEPLOYMENTS, self.name, namespace=self.namespace)
        assert found is not None
        return found

    async def status(self) -> Raw:
        return (await self.body()).get("status") or {}

    async def condition(self, kind: str) -> Raw:
        return next((item for item in (await self.status())["conditions"] if item["type"] == kind), {})

    async def children(self, resource: Resource) -> dict[str, Raw]:
        return {item["metadata"]["name"]: item for item in await self.users.list(resource, namespace=self.namespace)}

    async def images(self) -> dict[str, int]:
        """Return how many replicas each image's Deployment was told to have."""
        found = (await self.children(DEPLOYMENTS)).values()
        return {_image(body): body["spec"]["replicas"] for body in found}

    async def weights(self) -> dict[str, int]:
        """Return the weights that stand in the route, by image."""
        deployments = await self.children(DEPLOYMENTS)
        route = (await self.children(HTTPROUTES))[self.name]
        references = route["spec"]["rules"][0]["backendRefs"]
        return {_image(deployments[item["name"]]): item["weight"] for item in references}

    async def selected(self) -> str:
        """Return the image that Service `<name>` selects."""
        service = (await self.children(SERVICES))[self.name]
        deployment = f"{self.name}-{service['spec']['selector'][LABEL_REVISION]}"
        return _image((await self.children(DEPLOYMENTS))[deployment])

    # --- the operator

    async def reconcile(self, reconciler: ServiceDeploymentReconciler | None = None) -> Result:
        """Run one pass on what the watch would have brought."""
        body = await self.body()
        self.cache.observed(SERVICEDEPLOYMENTS.kind, body)
        return await (reconciler or self.reconciler()).reconcile(key_of(SERVICEDEPLOYMENTS.kind, body))

    async def converge(self, *, turns: int = 20) -> Result:
        """Let operator and stand-ins take turns until the operator waits for nothing; return its last answer."""
        result = Result()
        for _ in range(turns):
            result = await self.reconcile()
            changed = await self.turn()
            if result == Result() and not changed:
                return result
            self.clock.advance(max(result.requeue_after or 0.0, 0.1))
        return result

    async def swept(self) -> bool:
        """Say whether a sweep finds that something differs."""
        self.cache.observed(SERVICEDEPLOYMENTS.kind, await self.body())
        return bool([key async for key in self.reconciler().sweep()])

    # --- the stand-ins

    async def turn(self) -> bool:
        """Play controllers, kubelet and gateway once; say whether any of them had something to write."""
        plays: tuple[Callable[[Raw], Any], ...] = (self._run_pods, self._count_endpoints, self._judge)
        changed = False
        for resource, play in zip((DEPLOYMENTS, SERVICES, HTTPROUTES), plays, strict=True):
            for body in (await self.children(resource)).values():
                changed |= await play(body)
        return changed

    async def _run_pods(self, deployment: Raw) -> bool:
        replicas, image = deployment["spec"]["replicas"], _image(deployment)
        status = {
            "observedGeneration": deployment["metadata"]["generation"], "replicas": replicas,
            "updatedReplicas": replicas, "readyReplicas": 0 if image in self.broken else replicas,
        }  # fmt: skip
        seen = {"replicas": 0, "updatedReplicas": 0, "readyReplicas": 0, **deployment.get("status", {})}
        if {key: seen.get(key) for key in status} == status:
            return False
        if image in self.broken and replicas:
            await self._fail_a_pod(deployment, image)
        await self._write_status(DEPLOYMENTS, deployment, {**deployment.get("status", {}), **status})
        return True

    async def _fail_a_pod(self, deployment: Raw, image: str) -> None:
        template = deployment["spec"]["template"]
        metadata = {**self._named(f"{deployment['metadata']['name']}-0"), "labels": template["metadata"]["labels"]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        if await self.users.get(PODS, metadata["name"], namespace=self.namespace) is None:
            pod = await self.users.create(PODS, body)
            waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
            container = {"name": "app", "image": image, "imageID": "", "ready": False, "restartCount": 0}
            await self._write_status(PODS, pod, {"containerStatuses": [{**container, "state": waiting}]})

    async def _count_endpoints(self, service: Raw) -> bool:
        revision = service["metadata"].get("labels", {}).get(LABEL_REVISION)
        deployment = (await self.children(DEPLOYMENTS)).get(f"{self.name}-{revision}")
        if revision is None:
            return False
        ready = deployment.get("status", {}).get("readyReplicas", 0) if deployment else 0
        wanted = slice_of(service, ready)
        seen = (await self.children(ENDPOINTSLICES)).get(wanted["metadata"]["name"])
        if seen and len(seen.get("endpoints") or []) == ready:
            return False
        await self.users.apply(ENDPOINTSLICES, wanted)
        return True

    async def _judge(self, route: Raw) -> bool:
        wanted = [accepted_by_gateway(route)]
        parents = (route.get("status") or {}).get("parents") or []
        judged = [[item["observedGeneration"] for item in parent["conditions"]] for parent in parents]
        if self.gateway_stopped or judged == [[item["observedGeneration"] for item in wanted[0]["conditions"]]]:
            return False
        await self._write_status(HTTPROUTES, route, {"parents": wanted})
        return True

    async def _write_status(self, resource: Resource, body: Raw, status: Raw) -> None:
        patch = [{"op": "add", "path": "/status", "value": status}]
        name = body["metadata"]["name"]
        await self.users.json_patch(resource, name, patch, namespace=self.namespace, subresource="status")

    def _named(self, name: str) -> Raw:
        return {"name": name, "namespace": self.namespace}


def _image(deployment: Raw) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
