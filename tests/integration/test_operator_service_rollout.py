"""Releases on a real API server: what it defaults, refuses, counts. Kubelet, controllers and gateway are stand-ins."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from tenantry_cluster import Layout
from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.clients.kube import (
    DEPLOYMENTS,
    EVENTS,
    GATEWAYS,
    HTTPROUTES,
    SERVICEDEPLOYMENTS,
    SERVICES,
    ApiUnreachable,
    Kube,
    load_configuration,
)
from tenantry_operator.engine.queue import Result
from tenantry_testing.manifests import apply_crds
from tenantry_testing.rollout_world import RolloutWorld, copy_gateway_api

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server of its own: other modules install other definitions of the Gateway API."""
    layout = Layout.of_checkout()
    gateway_api = copy_gateway_api(layout, tmp_path_factory.mktemp("gateway-api"))
    with ControlPlane.start(layout.bin) as plane:
        for folder in (layout.root / "crds" / "manifests", gateway_api):
            apply_crds(layout.bin / "kubectl", plane.kubeconfig, folder)
        yield plane


@pytest.fixture
def requests() -> Counter[str]:
    """The operator's requests, by method. A dry run counts as what it is: a request that writes nothing."""
    return Counter()


@pytest.fixture
async def world(plane: ControlPlane, requests: Counter[str]) -> AsyncIterator[RolloutWorld]:
    configuration = await load_configuration(plane.kubeconfig)
    counted = Kube(configuration, answered=lambda method, _: requests.update([method]))
    async with Kube(configuration) as users, counted as operators:
        yield RolloutWorld(users, operators)


@pytest.fixture
async def serving(world: RolloutWorld, requests: Counter[str]) -> RolloutWorld:
    """Image a serves with two pods, and the operator has nothing to do."""
    await world.begin()
    assert await world.converge() == Result()
    assert (await world.condition("Ready"))["status"] == "True"
    requests.clear()
    return world


def written(requests: Counter[str]) -> int:
    return sum(requests[method] for method in WRITES)


async def test_first_release(world: RolloutWorld) -> None:
    await world.begin(replicas=3)
    await world.converge()
    status = await world.status()
    assert status["phase"] == "Healthy"
    assert (status["replicas"], status["stable"]["readyReplicas"], status["stable"]["image"]) == (3, 3, "a")
    assert status["weights"] == {"desired": 100, "applied": 100}
    assert status["observedGeneration"] == 1
    assert (await world.weights(), await world.selected()) == ({"a": 100}, "a")


async def test_pods_are_restricted_probed_and_drained(serving: RolloutWorld) -> None:
    (deployment,) = (await serving.children(DEPLOYMENTS)).values()
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["readinessProbe"]["tcpSocket"] == {"port": 8000}
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert pod["terminationGracePeriodSeconds"] == 35
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


async def test_children_are_deleted_with_their_owner(serving: RolloutWorld) -> None:
    uid = (await serving.body())["metadata"]["uid"]
    for resource in (DEPLOYMENTS, SERVICES, HTTPROUTES):
        for child in (await serving.children(resource)).values():
            (owner,) = child["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["controller"]) == (uid, True)


async def test_steady_state_writes_nothing_and_the_sweep_finds_nothing(
    serving: RolloutWorld, requests: Counter[str]
) -> None:
    for _ in range(3):
        await serving.reconcile()
    assert not await serving.swept()
    assert written(requests) == 0


async def test_sweep_costs_one_list_per_kind_of_child(serving: RolloutWorld, requests: Counter[str]) -> None:
    await serving.swept()
    assert requests == {"GET": 4}


async def test_release_and_back(serving: RolloutWorld) -> None:
    await serving.ask(image="b")
    await serving.converge()
    assert (await serving.weights(), await serving.selected()) == ({"b": 100}, "b")
    assert await serving.images() == {"a": 0, "b": 2}
    await serving.ask(image="a")
    await serving.converge()
    assert (await serving.weights(), await serving.images()) == ({"a": 100}, {"a": 2, "b": 0})
    assert [entry["image"] for entry in (await serving.status())["history"]] == ["a", "b"]


async def test_the_last_spec_wins(serving: RolloutWorld) -> None:
    await serving.ask(image="b")
    await serving.reconcile()
    await serving.turn()
    await serving.ask(image="c")
    await serving.converge()
    assert (await serving.weights(), await serving.images()) == ({"c": 100}, {"a": 0, "b": 0, "c": 2})


async def test_bad_image_stalls_with_its_reason_and_the_fix_goes_forward(serving: RolloutWorld) -> None:
    serving.broken.add("bad")
    await serving.ask(image="bad", progressDeadlineSeconds=30)
    for _ in range(4):
        await serving.reconcile()
        await serving.turn()
        serving.clock.advance(20)
    stalled = await serving.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ProgressDeadlineExceeded")
    assert "ImagePullBackOff, the image bad cannot be pulled" in stalled["message"]
    assert (await serving.condition("Progressing"))["status"] == "False"
    assert (await serving.condition("Available"))["status"] == "True"
    assert await serving.weights() == {"a": 100}
    await serving.ask(image="c")
    await serving.converge()
    assert await serving.weights() == {"c": 100}
    assert (await serving.condition("Ready"))["status"] == "True"


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"containers": [{"name": "app", "image": "a", "ports": [{"containerPort": 0}]}]}, "containerPort"),
        ({"containers": [{"name": "app", "image": "a"}], "restartPolicy": "Never"}, "restartPolicy"),
        ({"containers": [{"name": "app", "image": "a", "imagePulPolicy": "Always"}]}, "imagePulPolicy"),
        ({"containers": [{"name": "app", "image": "a", "env": [{"name": "A"}, {"name": "A"}]}]}, "duplicate"),
        ({"containers": [{"name": "app", "image": "a", "securityContext": "none"}]}, "securityContext"),
        ({"containers": [{"name": "app", "image": "a", "lifecycle": ["none"]}]}, "lifecycle"),
        ({"containers": [{"name": "app", "image": "a"}], "securityContext": ["none"]}, "securityContext"),
    ],
)
async def test_a_template_that_the_cluster_refuses_makes_no_revision(
    serving: RolloutWorld, pod: dict[str, object], said: str
) -> None:
    await serving.ask(template={"spec": pod})
    await serving.reconcile()
    stalled = await serving.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidTemplate")
    assert said in stalled["message"]
    assert await serving.images() == {"a": 2}
    assert (await serving.condition("Available"))["status"] == "True"


@pytest.mark.parametrize("labels", ["web", {"tier": 1}], ids=["text", "number"])
async def test_labels_that_are_none_are_refused_and_the_sweep_goes_on(serving: RolloutWorld, labels: object) -> None:
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "a"}]}}
    await serving.ask(template=template)
    await serving.reconcile()
    stalled = await serving.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidTemplate")
    assert "labels" in stalled["message"]
    assert await serving.images() == {"a": 2}
    assert await serving.swept()


async def test_one_that_cannot_be_judged_hides_no_other_from_the_sweep(serving: RolloutWorld) -> None:
    good = await serving.body()
    # As a defect of ours would have it: nothing that the API server keeps is without a uid.
    odd = {**good, "metadata": {**good["metadata"], "name": "odd"}}
    del odd["metadata"]["uid"]
    await serving.users.delete(HTTPROUTES, serving.name, namespace=serving.namespace)
    for body in (odd, good):
        serving.cache.observed(SERVICEDEPLOYMENTS.kind, body)
    assert {key.name async for key in serving.reconciler().sweep()} == {"odd", serving.name}


async def test_a_serving_revision_that_lost_its_label_in_a_release_keeps_the_traffic(serving: RolloutWorld) -> None:
    (name,) = await serving.children(DEPLOYMENTS)
    serving.broken.add("b")
    await serving.ask(image="b")
    await serving.converge(turns=4)
    lost = {"metadata": {"labels": {"tenantry.dev/service-deployment": None}}}
    for resource in (DEPLOYMENTS, SERVICES):
        await serving.users.merge_patch(resource, name, lost, namespace=serving.namespace)
        await serving.converge(turns=4)
        assert (await serving.weights(), await serving.images()) == ({"a": 100}, {"a": 2, "b": 2})
        found = (await serving.children(resource))[name]["metadata"]["labels"]
        assert found["tenantry.dev/service-deployment"] == serving.name


async def test_a_name_that_another_took_in_a_release_is_told_and_tried_with_patience(serving: RolloutWorld) -> None:
    (name,) = await serving.children(DEPLOYMENTS)
    serving.broken.add("b")
    await serving.ask(image="b")
    await serving.converge(turns=4)
    await serving.users.delete(SERVICES, name, namespace=serving.namespace)
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": serving.namespace}}
    await serving.users.create(SERVICES, {**theirs, "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}}})
    assert (await serving.reconcile()).failed
    assert "already exists" in (await serving.condition("Ready"))["message"]
    await serving.users.delete(SERVICES, name, namespace=serving.namespace)
    await serving.converge(turns=4)
    assert await serving.weights() == {"a": 100}


async def test_scale_subresource(serving: RolloutWorld) -> None:
    await serving.users.scale(SERVICEDEPLOYMENTS, serving.name, 5, namespace=serving.namespace)
    await serving.converge()
    assert await serving.images() == {"a": 5}
    scale = await serving.users.merge_patch(
        SERVICEDEPLOYMENTS, serving.name, {}, namespace=serving.namespace, subresource="scale"
    )
    assert scale["status"] == {"replicas": 5, "selector": "tenantry.dev/service-deployment=shop"}


async def test_hand_edits_are_found_by_the_sweep_and_repaired(serving: RolloutWorld, requests: Counter[str]) -> None:
    (name,) = await serving.children(DEPLOYMENTS)
    where = serving.namespace
    edits = [
        (DEPLOYMENTS, name, {"spec": {"replicas": 7}}),
        (DEPLOYMENTS, name, {"spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}}),
        (DEPLOYMENTS, name, {"spec": {"paused": True}}),
        (SERVICES, serving.name, {"spec": {"selector": {"more": "than-ours"}}}),
        (SERVICES, name, {"spec": {"sessionAffinity": "None", "ports": [{"name": "other", "port": 81}]}}),
        (HTTPROUTES, serving.name, {"spec": {"hostnames": ["elsewhere.example"]}}),
        (DEPLOYMENTS, name, {"metadata": {"labels": {"tenantry.dev/service-deployment": None}}}),
        (SERVICES, serving.name, {"metadata": {"ownerReferences": None}}),
    ]
    before = await _worlds(serving)
    for resource, child, change in edits:
        await serving.users.merge_patch(resource, child, change, namespace=where)
        assert await serving.swept(), change
        await serving.converge()
        assert await _worlds(serving) == before, change
        assert not await serving.swept(), change
    notes = [event["reason"] for event in await serving.users.list(EVENTS, namespace=where)]
    assert "Repaired" in notes


async def _worlds(world: RolloutWorld) -> dict[str, object]:
    """Return the specs, labels and owners of all children."""
    kinds = [await world.children(resource) for resource in (DEPLOYMENTS, SERVICES, HTTPROUTES)]
    return {
        f"{body['kind']}/{name}": (body["spec"], body["metadata"]["labels"], body["metadata"]["ownerReferences"])
        for children in kinds
        for name, body in children.items()
    }


@pytest.mark.parametrize("resource", [DEPLOYMENTS, SERVICES, HTTPROUTES], ids=lambda resource: resource.kind)
async def test_children_deleted_by_hand_come_back(serving: RolloutWorld, resource: object) -> None:
    for kind in (DEPLOYMENTS, SERVICES, HTTPROUTES):
        for name in await serving.children(kind) if kind == resource else ():
            await serving.users.delete(kind, name, namespace=serving.namespace)
    assert await serving.swept()
    await serving.converge()
    assert (await serving.weights(), await serving.selected(), await serving.images()) == ({"a": 100}, "a", {"a": 2})


async def test_an_object_of_somebody_else_is_never_overwritten(world: RolloutWorld) -> None:
    await world.begin()
    spec = {"ports": [{"port": 80}], "selector": {"app": "theirs"}}
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": world.namespace}}
    made = await world.users.create(SERVICES, {**theirs, "spec": spec})
    await world.reconcile()
    stalled = await world.condition("Stalled")
    assert (stalled["reason"], stalled["status"]) == ("NotOurs", "True")
    assert "Service shop" in stalled["message"]
    assert (await world.children(SERVICES))["shop"] == made
    assert await world.children(DEPLOYMENTS) == {}
    await world.users.delete(SERVICES, "shop", namespace=world.namespace)
    await world.converge()
    assert (await world.condition("Ready"))["status"] == "True"


async def test_a_gateway_that_is_not_there_is_named(world: RolloutWorld) -> None:
    world.gateway_stopped = True
    await world.begin()
    await world.users.delete(GATEWAYS, "web", namespace=world.namespace)
    await world.converge(turns=4)
    ready = await world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "GatewayNotFound")
    assert f"{world.namespace}/web" in ready["message"]


async def test_a_stopped_gateway_delays_a_release_and_loses_nothing(serving: RolloutWorld) -> None:
    serving.gateway_stopped = True
    await serving.ask(image="b")
    await serving.converge(turns=6)
    assert (await serving.condition("Ready"))["reason"] == "WaitingForRoute"
    assert (await serving.selected(), await serving.images()) == ("a", {"a": 2, "b": 2})
    serving.gateway_stopped = False
    await serving.converge()
    assert (await serving.selected(), await serving.images()) == ("b", {"a": 0, "b": 2})


async def test_names_of_forty_characters(world: RolloutWorld) -> None:
    world.name = "s" * 40
    await world.begin()
    await world.converge()
    assert (await world.condition("Ready"))["status"] == "True"


class _KilledError(Exception):
    """The process ends here."""


class _MortalKube(Kube):
    """Ends the process before its n-th write, or right after it, when the answer is lost."""

    left = 1_000_000
    after = False

    async def _request(self, method: str, url: str, **words: object) -> dict[str, object]:
        if method == "GET":
            return await super()._request(method, url, **words)  # type: ignore[arg-type]
        self.left -= 1
        if self.left < 0:
            raise _KilledError
        answer = await super()._request(method, url, **words)  # type: ignore[arg-type]
        if self.left == 0 and self.after:
            raise _KilledError
        return answer


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_every_write_of_a_release(plane: ControlPlane, after: bool) -> None:
    """Two releases, in which each process does only a few writes more than the one before it."""
    configuration = await load_configuration(plane.kubeconfig)
    async with Kube(configuration) as users, _MortalKube(configuration) as mortal:
        world = RolloutWorld(users, mortal)
        await world.begin()
        mortal.after = after
        for image in ("a", "b"):
            await world.ask(image=image)
            deaths = 0
            for life in range(60):
                mortal.left = 1 + life % 3
                try:
                    await world.reconcile()
                except _KilledError:
                    deaths += 1
                await world.turn()
                world.clock.advance(2)
            assert deaths > 2
            mortal.left = 1_000_000
            assert await world.converge() == Result()
            assert (await world.weights(), await world.selected()) == ({image: 100}, image)
        assert await world.images() == {"a": 0, "b": 2}
        assert len(await world.children(SERVICES)) == 3


async def test_an_api_server_that_does_not_answer_is_tried_again(serving: RolloutWorld) -> None:
    reconciler = serving.reconciler()
    configuration = serving.operators._configuration
    host, configuration.host = configuration.host, "https://127.0.0.1:1"
    try:
        with pytest.raises(ApiUnreachable):
            await serving.users.list(SERVICES)
        key = next(iter(serving.cache.keys("ServiceDeployment")))
        assert (await reconciler.reconcile(key)).failed
    finally:
        configuration.host = host
