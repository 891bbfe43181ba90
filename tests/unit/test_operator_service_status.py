"""What a status says, after kstatus, and which reasons it uses."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tenantry_crds import Condition, Reason, ServiceDeploymentPhase, ServiceDeploymentStatus
from tenantry_crds.reasontable import TABLE
from tenantry_operator.model.service_observed import pod_seen
from tenantry_operator.plan.service_status import Failure, refused_status, service_status, shows, wait_of
from tenantry_testing.rollout_memory import REFUSED_IMAGE, START, MemoryCluster, service_deployment

NOTHING = ServiceDeploymentStatus()


@pytest.fixture
def serving() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.settle()
    return cluster


def told(cluster: MemoryCluster, previous: ServiceDeploymentStatus = NOTHING) -> ServiceDeploymentStatus:
    return service_status(cluster.plan(), previous)


def conditions(status: ServiceDeploymentStatus) -> dict[str, Condition]:
    return {condition.type: condition for condition in status.conditions}


def holding(status: ServiceDeploymentStatus) -> set[str]:
    return {condition.type for condition in status.conditions if condition.status == "True"}


def test_healthy(serving: MemoryCluster) -> None:
    status = told(serving)
    assert status.phase is ServiceDeploymentPhase.HEALTHY
    assert holding(status) == {"Ready", "Available", "Progressing"}
    assert status.updating is None
    assert status.stable is not None
    assert (status.stable.ready_replicas, status.replicas) == (2, 2)


def test_in_the_middle_of_a_release(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.reconcile()
    serving.grow(serving.desired.revision, 1)
    serving.reconcile()
    status = told(serving)
    assert status.phase is ServiceDeploymentPhase.PROGRESSING
    assert holding(status) == {"Reconciling", "Available", "Progressing"}
    assert conditions(status)["Ready"].reason == Reason.WAITING_FOR_REPLICAS
    assert status.weights is not None
    assert (status.weights.desired, status.weights.applied) == (50, 0)
    serving.take()
    later = told(serving).weights
    assert later is not None
    assert later.applied == 50
    assert status.updating is not None
    assert status.updating.image == "b"


def test_draining_is_said_and_looked_at_when_it_ends(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    for _ in range(3):
        serving.reconcile()
        serving.turn(0)
    serving.reconcile()
    wait = wait_of(serving.plan())
    assert wait is not None
    assert (wait.reason, wait.seconds) == (Reason.DRAINING, 15)


def test_pods_lost_after_the_release_are_degraded_and_not_a_release(serving: MemoryCluster) -> None:
    serving.grow(serving.desired.revision, -2)
    serving.now += timedelta(days=1)
    status = told(serving)
    assert status.phase is ServiceDeploymentPhase.DEGRADED
    assert holding(status) == {"Reconciling", "Progressing"}
    assert conditions(status)["Available"].reason == Reason.MINIMUM_REPLICAS_UNAVAILABLE


def test_deadline_stalls_and_the_old_side_is_available(serving: MemoryCluster) -> None:
    serving.broken.add("bad")
    serving.ask(image="bad")
    serving.reconcile()
    serving.now += timedelta(seconds=599)
    assert "Stalled" not in holding(told(serving))
    serving.now += timedelta(seconds=2)
    status = told(serving)
    assert holding(status) == {"Stalled", "Available"}
    assert conditions(status)["Stalled"].reason == Reason.PROGRESS_DEADLINE_EXCEEDED
    assert status.phase is ServiceDeploymentPhase.DEGRADED


def test_a_revision_scaled_up_again_has_its_deadline_from_its_pods(serving: MemoryCluster) -> None:
    serving.ask(image="b")
    serving.settle()
    serving.now += timedelta(days=1)
    serving.broken.add("a")
    serving.ask(image="a")
    serving.reconcile()
    plan = serving.plan()
    pod = pod_seen({"metadata": {"creationTimestamp": serving.now.isoformat()}})
    plan = type(plan)(_with_pods(plan.situation, pod), plan.actions)
    assert "Stalled" not in holding(service_status(plan, NOTHING))


def _with_pods(situation: Any, pod: object) -> Any:
    observed = type(situation.observed)(**{**vars(situation.observed), "pods": (pod,)})
    return type(situation)(**{**vars(situation), "observed": observed})


def test_a_refused_template_stalls(serving: MemoryCluster) -> None:
    serving.ask(image=REFUSED_IMAGE)
    status = told(serving)
    assert holding(status) == {"Stalled", "Available"}
    assert {conditions(status)[kind].reason for kind in ("Ready", "Stalled", "Progressing")} == {"InvalidTemplate"}
    assert wait_of(serving.plan()) is None


def test_zero_replicas_are_ready(serving: MemoryCluster) -> None:
    serving.ask(replicas=0)
    serving.settle()
    assert conditions(told(serving))["Ready"].reason == Reason.SCALED_TO_ZERO


def test_a_failed_write_is_retried_and_says_so(serving: MemoryCluster) -> None:
    status = service_status(serving.plan(), NOTHING, failure=Failure(Reason.KUBERNETES_ERROR, "denied"))
    assert conditions(status)["Ready"].reason == Reason.KUBERNETES_ERROR
    assert conditions(status)["Reconciling"].reason == Reason.RETRYING
    assert "Stalled" not in holding(status)


def test_times_change_only_with_the_status(serving: MemoryCluster) -> None:
    first = told(serving)
    serving.now += timedelta(hours=1)
    assert told(serving, first) == first
    assert shows(serving.plan(), first)
    serving.grow(serving.desired.revision, -1)
    assert not shows(serving.plan(), first)
    second = conditions(told(serving, first))
    assert second["Ready"].last_transition_time == serving.now.replace(microsecond=0)
    assert second["Available"].last_transition_time == conditions(first)["Available"].last_transition_time


def test_an_unknown_spec_stalls_and_keeps_the_rest(serving: MemoryCluster) -> None:
    status = refused_status(7, told(serving), error="strategy.type: Canary", now=START)
    assert holding(status) == {"Stalled", "Available", "Progressing"}
    assert status.observed_generation == 7
    assert status.stable is not None


def test_every_reason_stands_in_the_table_for_its_condition(serving: MemoryCluster) -> None:
    allowed = {(entry.reason, kind) for entry in TABLE for kind in entry.conditions}
    worlds = [MemoryCluster(), serving, MemoryCluster(service_deployment(image=REFUSED_IMAGE))]
    for image in ("b", "bad", REFUSED_IMAGE, "c"):
        cluster = MemoryCluster(broken={"bad"})
        cluster.settle()
        cluster.ask(image=image)
        worlds.append(cluster)
    for cluster in worlds:
        for _ in range(5):
            for condition in told(cluster).conditions:
                assert (condition.reason, condition.type) in allowed
            for action in cluster.plan().actions[:2]:
                cluster.do(action)
            cluster.turn(200)


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, "ImagePullBackOff, the image web:1 cannot be pulled"),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, "ImagePullBackOff, the image web:1 cannot be pulled"),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, "ContainerCreating, the image web:1"),
        ({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no Secret x"}}}, "no Secret x"),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}},
            "CrashLoopBackOff, it ended with exit code 3",
        ),
        (
            {"state": {"running": {}}, "restartCount": 2, "lastState": {"terminated": {"exitCode": 3}}},
            "CrashLoopBackOff, it ended with exit code 3",
        ),
    ],
)
def test_pods_tell_what_they_wait_for(container: dict[str, Any], said: str) -> None:
    status = {"containerStatuses": [{"name": "app", "image": "web:1", "ready": False, **container}]}
    assert said in pod_seen({"metadata": {}, "status": status}).trouble


def test_an_unscheduled_pod_says_so() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: insufficient memory"}
    assert "insufficient memory" in pod_seen({"metadata": {}, "status": {"conditions": [condition]}}).trouble


def test_the_status_is_json(serving: MemoryCluster) -> None:
    written = told(serving).model_dump(by_alias=True, exclude_none=True, mode="json")
    assert ServiceDeploymentStatus.model_validate(json.loads(json.dumps(written))) == told(serving)
