"""What the plan decides, one situation after the other, in a cluster that is kept in memory."""

import pytest

from tenantry_crds import Reason
from tenantry_operator.plan.service import DeleteChild, ReplaceChild, ScaleDeployment
from tenantry_testing.rollout_memory import REFUSED_IMAGE, MemoryCluster, service_deployment


@pytest.fixture
def serving() -> MemoryCluster:
    """Image a serves with two pods."""
    cluster = MemoryCluster()
    cluster.settle()
    assert (cluster.weights(), cluster.selected(), cluster.replicas()) == ({"a": 100}, "a", {"a": 2})
    return cluster


def test_first_release_makes_four_children_and_waits() -> None:
    cluster = MemoryCluster()
    plan = cluster.plan()
    kinds = [action.body["kind"] for action in plan.actions if not isinstance(action, ScaleDeployment)]
    assert kinds == ["Deployment", "Service", "Service", "HTTPRoute"]
    cluster.play(plan.actions)
    assert cluster.plan().actions == ()


def test_steady_state_writes_nothing(serving: MemoryCluster) -> None:
    before = serving.writes
    serving.settle()
    assert serving.writes == before


def test_weight_follows_ready_endpoints_and_the_old_side_keeps_its_pods(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.reconcile()
    assert serving.weights() == {"a": 100}
    serving.grow(serving.desired.revision, 1)
    serving.reconcile()
    assert serving.weights() == {"a": 50, "b": 50}
    serving.grow(serving.desired.revision, 1)
    serving.reconcile()
    assert serving.weights() == {"b": 100}
    assert serving.replicas() == {"a": 2, "b": 2}


def test_service_moves_only_when_the_gateway_has_taken_the_weights(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.reconcile()
    serving.grow(serving.desired.revision, 2)
    serving.reconcile()
    assert serving.selected() == "a"
    serving.take()
    serving.reconcile()
    assert serving.selected() == "b"


def test_old_side_is_scaled_in_after_the_drain_and_not_before(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    for _ in range(3):
        serving.reconcile()
        serving.turn(0)
    serving.reconcile()
    serving.turn(14.9)
    serving.reconcile()
    assert serving.replicas() == {"a": 2, "b": 2}
    serving.turn(0.2)
    serving.reconcile()
    assert serving.replicas() == {"a": 0, "b": 2}


def test_a_revision_that_serves_keeps_its_port_until_the_next_one_takes_over(serving: MemoryCluster) -> None:
    def ports(*names: str) -> list[int]:
        return [serving.objects["Service", name]["spec"]["ports"][0]["targetPort"] for name in names]

    old = serving.desired.child(serving.desired.revision)
    serving.ask(image="b", service={"port": 8000, "targetPort": 9000})
    new = serving.desired.child(serving.desired.revision)
    serving.reconcile()
    assert ports(old, new, "shop") == [8000, 9000, 8000]
    del serving.objects["Service", old]
    serving.reconcile()
    assert ports(old) == [8000]
    serving.settle()
    assert ports(old, new, "shop") == [8000, 9000, 9000]


@pytest.mark.parametrize("year", [2100, 9999])
def test_times_of_the_future_are_written_anew_and_the_drain_ends(serving: MemoryCluster, year: int) -> None:
    serving.ask(image="b")
    for _ in range(3):
        serving.reconcile()
        serving.turn()
    serving.reconcile()
    for kind, annotation in (("Service", "selector-moved-at"), ("HTTPRoute", "weights-taken-at")):
        annotations = serving.by_hand(kind, "shop")["metadata"]["annotations"]
        annotations[f"tenantry.dev/{annotation}"] = f"{year}-12-31T23:59:59+00:00"
    serving.settle()
    assert serving.replicas() == {"a": 0, "b": 2}


def test_a_gateway_that_never_answers_keeps_the_old_side(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.reconcile()
    serving.grow(serving.desired.revision, 2)
    for _ in range(5):
        serving.reconcile()
        serving.now = serving.now.replace(hour=serving.now.hour + 1)
    assert (serving.selected(), serving.replicas()) == ("a", {"a": 2, "b": 2})


def test_the_last_spec_wins_and_the_abandoned_revision_is_drained(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.reconcile()
    serving.grow(serving.desired.revision, 1)
    serving.reconcile()
    serving.ask(image="c")
    serving.reconcile()
    assert serving.weights() == {"a": 100}
    serving.settle()
    assert (serving.weights(), serving.replicas()) == ({"c": 100}, {"a": 0, "b": 0, "c": 2})


def test_going_back_midway_is_a_change_of_weights(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.reconcile()
    serving.grow(serving.desired.revision, 1)
    serving.reconcile()
    assert serving.weights() == {"a": 50, "b": 50}
    serving.ask(image="a")
    serving.reconcile()
    assert serving.weights() == {"a": 100}
    assert serving.replicas() == {"a": 2, "b": 2}
    serving.settle()
    assert serving.replicas() == {"a": 2, "b": 0}


def test_an_old_revision_comes_back_from_the_history(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.settle()
    serving.ask(image="a")
    serving.settle()
    assert (serving.weights(), serving.selected(), serving.replicas()) == ({"a": 100}, "a", {"a": 2, "b": 0})


def test_a_bad_image_gets_no_request_and_the_fix_goes_forward(serving: MemoryCluster) -> None:
    serving.broken.add("bad")
    serving.ask(image="bad")
    serving.settle()
    assert (serving.weights(), serving.selected()) == ({"a": 100}, "a")
    serving.ask(image="c")
    serving.settle()
    assert (serving.weights(), serving.replicas()) == ({"c": 100}, {"a": 0, "bad": 0, "c": 2})


def test_a_bad_first_image_is_followed_by_the_fix() -> None:
    cluster = MemoryCluster(service_deployment(image="bad"), broken={"bad"})
    cluster.settle()
    cluster.ask(image="b")
    cluster.settle()
    assert (cluster.weights(), cluster.selected(), cluster.replicas()) == ({"b": 100}, "b", {"bad": 0, "b": 2})


def test_a_refused_template_makes_no_revision_and_the_rest_is_still_kept(serving: MemoryCluster) -> None:
    serving.ask(image=REFUSED_IMAGE, replicas=3)
    plan = serving.settle()
    assert plan.blocked is not None
    assert plan.blocked.reason is Reason.INVALID_TEMPLATE
    assert (serving.weights(), serving.replicas()) == ({"a": 100}, {"a": 3})


def test_a_refused_first_template_makes_nothing() -> None:
    cluster = MemoryCluster(service_deployment(image=REFUSED_IMAGE))
    plan = cluster.plan()
    assert plan.actions == ()
    assert plan.blocked is not None


@pytest.mark.parametrize("kind", ["Deployment", "Service", "HTTPRoute"])
def test_an_object_of_somebody_else_is_left_alone(serving: MemoryCluster, kind: str) -> None:
    for key, body in serving.objects.items():
        if key[0] == kind:
            body["metadata"]["ownerReferences"] = [{"uid": "uid-of-another", "controller": True}]
    del serving.objects["Service" if kind != "Service" else "HTTPRoute", "shop"]
    plan = serving.plan()
    assert plan.actions == ()
    assert plan.blocked is not None
    assert plan.blocked.reason is Reason.NOT_OURS
    assert f"{kind} shop" in plan.blocked.message


def test_a_child_of_an_earlier_object_of_the_same_name_is_not_ours(serving: MemoryCluster) -> None:
    serving.body["metadata"]["uid"] = "uid-of-the-next"
    plan = serving.plan()
    assert plan.blocked is not None
    assert plan.blocked.reason is Reason.NOT_OURS


def test_an_orphan_with_our_label_is_adopted(serving: MemoryCluster) -> None:
    for body in serving.objects.values():
        body["metadata"]["ownerReferences"] = []
    serving.settle()
    owners = [body["metadata"]["ownerReferences"][0]["uid"] for body in serving.objects.values()]
    assert set(owners) == {"uid-of-shop"}


@pytest.mark.parametrize("kind", ["Deployment", "Service", "HTTPRoute"])
def test_a_child_deleted_by_hand_comes_back(serving: MemoryCluster, kind: str) -> None:
    for key in [key for key in serving.objects if key[0] == kind]:
        del serving.objects[key]
    serving.settle()
    assert (serving.weights(), serving.selected(), serving.replicas()) == ({"a": 100}, "a", {"a": 2})


def test_a_deployment_scaled_by_hand_is_scaled_back(serving: MemoryCluster) -> None:
    name = serving.desired.child(serving.desired.revision)
    serving.by_hand("Deployment", name)["spec"]["replicas"] = 0
    assert serving.plan().actions == (ScaleDeployment(name, 2, "2 pods are wanted; it had 0"),)


def test_what_the_user_changes_is_told_as_an_update_and_no_repair(serving: MemoryCluster) -> None:
    serving.body["status"] = {"observedGeneration": serving.body["metadata"]["generation"]}
    gateway = {"name": "web", "namespace": "edge", "hostname": "other.example"}
    serving.ask(traffic={"gateway": gateway})
    (action,) = serving.plan().actions
    assert isinstance(action, ReplaceChild)
    assert (action.body["kind"], action.event) == ("HTTPRoute", Reason.UPDATED)


def test_what_a_hand_adds_to_the_pods_is_taken_out(serving: MemoryCluster) -> None:
    name = serving.desired.child(serving.desired.revision)
    serving.by_hand("Deployment", name)["spec"]["template"]["spec"]["hostNetwork"] = True
    (action,) = serving.plan().actions
    assert isinstance(action, ReplaceChild)
    assert action.event is Reason.REPAIRED
    serving.settle()
    assert "hostNetwork" not in serving.objects["Deployment", name]["spec"]["template"]["spec"]


def test_weights_edited_by_hand_are_written_anew(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.settle()
    references = serving.by_hand("HTTPRoute", "shop")["spec"]["rules"][0]["backendRefs"]
    old = next(name for kind, name in serving.objects if kind == "Deployment" and serving.image(name[5:]) == "a")
    references.append({**references[0], "name": old, "weight": 50})
    assert serving.weights() == {"b": 100, "a": 50}
    serving.reconcile()
    assert serving.weights() == {"b": 100}


def test_a_port_added_by_hand_is_taken_out_and_what_the_cluster_allocated_stays(serving: MemoryCluster) -> None:
    body = serving.by_hand("Service", "shop")
    body["spec"]["ports"].append({"name": "more", "port": 9})
    serving.reconcile()
    spec = serving.objects["Service", "shop"]["spec"]
    assert [port["port"] for port in spec["ports"]] == [8000]
    assert spec["clusterIP"] == "10.96.0.9"


def test_history_is_kept_to_its_limit_those_promoted_last_first(serving: MemoryCluster) -> None:
    for image in "bcdef":
        serving.ask(image=image)
        serving.settle()
    assert serving.replicas() == {"f": 2, "e": 0, "d": 0, "c": 0}
    services = [name for kind, name in serving.objects if kind == "Service"]
    assert len(services) == 5


def test_a_service_labelled_by_a_user_is_not_deleted(serving: MemoryCluster) -> None:
    labels = {"tenantry.dev/service-deployment": "shop"}
    body = {"kind": "Service", "metadata": {"name": "shop-mine", "namespace": "apps", "labels": labels}}
    serving.objects["Service", "shop-mine"] = {
        **body,
        "spec": {"selector": {}, "ports": [{"name": "x", "targetPort": 1}]},
    }
    assert serving.plan().actions == ()


def test_the_route_goes_when_no_gateway_is_named_any_more(serving: MemoryCluster) -> None:
    serving.ask(traffic={"drainSeconds": 0})
    (action,) = serving.plan().actions
    assert isinstance(action, DeleteChild)
    assert action.body["kind"] == "HTTPRoute"


def test_without_a_gateway_the_old_side_drains_from_the_move_of_the_service() -> None:
    cluster = MemoryCluster(service_deployment(traffic={"drainSeconds": 30}))
    cluster.settle()
    cluster.ask(image="b")
    cluster.reconcile()
    cluster.turn(1)
    cluster.reconcile()
    assert (cluster.selected(), cluster.replicas()) == ("b", {"a": 2, "b": 2})
    cluster.turn(29)
    cluster.reconcile()
    assert cluster.replicas() == {"a": 2, "b": 2}
    cluster.turn(2)
    cluster.reconcile()
    assert cluster.replicas() == {"a": 0, "b": 2}


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_scaling_changes_no_revision(serving: MemoryCluster, replicas: int) -> None:
    serving.ask(replicas=replicas)
    serving.settle()
    assert serving.replicas() == {"a": replicas}
    assert serving.plan().situation.promoted


def test_scaling_midway_reaches_both_sides(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.reconcile()
    serving.ask(replicas=4)
    serving.reconcile()
    assert serving.replicas() == {"a": 4, "b": 4}


def test_from_zero_a_release_goes_through_without_a_pod(serving: MemoryCluster) -> None:
    serving.ask(replicas=0)
    serving.settle()
    serving.ask(image="b")
    serving.settle()
    assert (serving.weights(), serving.selected(), serving.replicas()) == ({"b": 100}, "b", {"a": 0, "b": 0})


def test_a_deadline_changes_the_deployment_and_not_the_revision(serving: MemoryCluster) -> None:
    serving.ask(progressDeadlineSeconds=30)
    (action,) = serving.plan().actions
    assert isinstance(action, ReplaceChild)
    assert "asks for another Deployment" in action.reason
    assert action.body["spec"]["progressDeadlineSeconds"] == 30


def test_names_of_forty_characters_fit() -> None:
    body = service_deployment()
    body["metadata"]["name"] = "s" * 40
    cluster = MemoryCluster(body)
    cluster.settle()
    assert max(len(name) for _, name in cluster.objects) <= 63


def test_requests_stay_where_pods_are_ready_when_the_gaining_side_has_none(serving: MemoryCluster) -> None:
    stable = serving.desired.revision
    serving.ask(image="b")
    serving.reconcile()
    serving.grow(serving.desired.revision, 1)
    serving.reconcile()
    serving.grow(stable, -2)
    serving.ask(image="c")
    serving.reconcile()
    assert serving.weights() == {"b": 100}
    serving.grow(stable, 2)
    serving.reconcile()
    assert serving.weights() == {"a": 100}


def test_a_promoted_deployment_deleted_by_hand_leaves_the_draining_side_in_charge(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    for _ in range(3):
        serving.reconcile()
        serving.turn(0)
    serving.reconcile()
    revision = serving.desired.revision
    assert (serving.selected(), serving.replicas()) == ("b", {"a": 2, "b": 2})
    del serving.objects["Deployment", serving.desired.child(revision)]
    serving.pods[revision] = 0
    serving.reconcile()
    serving.turn(0)
    serving.grow(revision, -1)
    serving.reconcile()
    assert (serving.selected(), serving.weights()) == ("a", {"a": 50, "b": 50})
    serving.settle()
    assert (serving.selected(), serving.replicas()) == ("b", {"a": 0, "b": 2})


def test_what_the_service_selects_is_not_scaled_in_before_it_selects_something_else(serving: MemoryCluster) -> None:
    old = serving.desired.child(serving.desired.revision)
    serving.ask(image="b")
    serving.settle()
    serving.by_hand("Deployment", old)["spec"]["replicas"] = 1
    selector = serving.by_hand("Service", "shop")["spec"]["selector"]
    selector["tenantry.dev/revision"] = old.removeprefix("shop-")
    plan = serving.plan()
    assert not any(isinstance(action, ScaleDeployment) for action in plan.actions)
    serving.play(plan.actions)
    assert (serving.selected(), serving.replicas()) == ("b", {"a": 1, "b": 2})
    serving.settle()
    assert serving.replicas() == {"a": 0, "b": 2}
