"""A ServiceDeployment on the cluster: real pods, the real gateway, and requests that must not fail meanwhile."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tenantry_testing.demo.images import GREETING_TAG
from tenantry_testing.demo.programs import ProgramFailed
from tenantry_testing.running import Running
from tenantry_testing.steady_requests import SteadyRequests

DRAIN_SECONDS = 2
MISSING_IMAGE = "tenantry.example/no-such-image:0"


@dataclass(frozen=True)
class Greeting:
    """A ServiceDeployment of the greeting example in a namespace of its own."""

    running: Running
    namespace: str
    name: str = "greeting"

    @property
    def url(self) -> str:
        return f"{self.running.gateway_url}/{self.namespace}"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.running.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"]
        return found

    def ask(self, greeting: str, *, image: str = GREETING_TAG) -> None:
        """Apply the service with pods that answer with this greeting."""
        container = {
            "name": "greeting", "image": image, "env": [{"name": "GREETING", "value": greeting}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8000}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        }  # fmt: skip
        gateway = {"name": "tenantry", "namespace": "tenantry-gateway", "pathPrefix": f"/{self.namespace}"}
        spec = {
            "replicas": 2, "template": {"spec": {"containers": [container]}},
            "service": {"port": 8000, "appProtocol": "http"},
            "traffic": {"gateway": gateway, "drainSeconds": DRAIN_SECONDS}, "progressDeadlineSeconds": 10,
        }  # fmt: skip
        kind = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "ServiceDeployment", "metadata": {"name": self.name}}
        self.kubectl("apply", "-f", "-", stdin=json.dumps({**kind, "spec": spec}))

    def wait(self, condition: str = "Ready") -> None:
        self.kubectl("wait", f"sd/{self.name}", f"--for=condition={condition}", "--timeout=90s")

    def condition(self, kind: str) -> dict[str, Any]:
        status = json.loads(self.kubectl("get", "sd", self.name, "-o", "json"))["status"]
        return next(item for item in status["conditions"] if item["type"] == kind)

    def replicas(self) -> dict[str, int]:
        """Return what each greeting's Deployment was told to have."""
        return {_says(body): body["spec"]["replicas"] for body in self.objects("deployments")}

    def deployment(self) -> str:
        """Return the name of the Deployment that serves."""
        (name,) = (body["metadata"]["name"] for body in self.objects("deployments") if body["spec"]["replicas"])
        return str(name)


def _says(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])


def until(holds: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Look four times a second until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.25)


def _answers(url: str) -> bool:
    with SteadyRequests(url, rate=10) as requests:
        time.sleep(0.5)
    return bool(requests.answers) and not requests.faults


@pytest.fixture
def greeting(running: Running) -> Iterator[Greeting]:
    """Two pods that say "one", published at the gateway."""
    made = Greeting(running, f"e2e-{uuid.uuid4().hex[:8]}")
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace, "labels": enforce}}
    running.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    try:
        made.ask("one")
        made.wait()
        # A gateway may take a moment more than it says to reach the very first pods.
        until(lambda: _answers(made.url), "the gateway reaches the pods")
        yield made
    except ProgramFailed as failure:
        seen = made.kubectl("get", "sd,deploy,pods,httproutes", "-o", "wide")
        raise AssertionError(f"{failure}\n{seen}") from failure
    finally:
        running.kubectl("delete", "namespace", made.namespace, "--wait=false")


def test_rolling_update_loses_no_request(greeting: Greeting) -> None:
    with SteadyRequests(greeting.url) as requests:
        until(lambda: len(requests.answers) > 20, "requests are answered")
        greeting.ask("two")
        greeting.wait()
        until(lambda: requests.greetings[-20:] == ["two"] * 20, "the new revision answers alone")
    assert requests.faults == []
    assert set(requests.greetings) == {"one", "two"}
    assert greeting.replicas() == {"one": 0, "two": 2}


def test_back_midway_loses_no_request(greeting: Greeting) -> None:
    with SteadyRequests(greeting.url) as requests:
        greeting.ask("two")
        until(lambda: "two" in requests.greetings, "the new revision gets its first request")
        greeting.ask("one")
        greeting.wait()
        until(lambda: requests.greetings[-20:] == ["one"] * 20, "the old revision answers alone")
    assert requests.faults == []
    assert greeting.replicas() == {"one": 2, "two": 0}


def test_operator_killed_midway_loses_no_request(greeting: Greeting) -> None:
    operator = ("-n", "tenantry-system", "delete", "pod", "-l", "app.kubernetes.io/component=operator")
    with SteadyRequests(greeting.url) as requests:
        greeting.ask("two")
        until(lambda: "two" in requests.greetings, "the new revision gets its first request")
        greeting.running.kubectl(*operator, "--grace-period=0", "--force")
        greeting.wait()
    greeting.running.kubectl("-n", "tenantry-system", "rollout", "status", "deployment/tenantry-operator")
    assert requests.faults == []
    assert greeting.replicas() == {"one": 0, "two": 2}


def test_bad_image_serves_on_says_why_and_the_fix_goes_forward(greeting: Greeting) -> None:
    with SteadyRequests(greeting.url) as requests:
        greeting.ask("bad", image=MISSING_IMAGE)
        greeting.wait("Stalled")
        assert greeting.condition("Stalled")["reason"] == "ProgressDeadlineExceeded"
        said = f"ImagePullBackOff, the image {MISSING_IMAGE}"
        until(lambda: said in greeting.condition("Stalled")["message"], "the message says what the pods wait for")
        assert greeting.condition("Available")["status"] == "True"
        assert set(requests.greetings) == {"one"}
        greeting.ask("three")
        greeting.wait()
    assert requests.faults == []
    assert greeting.replicas() == {"one": 0, "bad": 0, "three": 2}


def test_kubectl_scale_up_and_down_loses_no_request(greeting: Greeting) -> None:
    with SteadyRequests(greeting.url) as requests:
        for replicas in (4, 1):
            greeting.kubectl("scale", "sd", greeting.name, f"--replicas={replicas}")
            greeting.wait()
            until(lambda: greeting.replicas() == {"one": replicas}, f"{replicas} replicas")  # noqa: B023
            until(lambda: _running(greeting) == replicas, f"{replicas} pods")  # noqa: B023
    assert requests.faults == []


def _running(greeting: Greeting) -> int:
    pods = greeting.objects("pods")
    return sum("deletionTimestamp" not in pod["metadata"] for pod in pods)


def test_hand_edits_are_undone_and_lose_no_request(greeting: Greeting) -> None:
    name = greeting.deployment()
    env = [{"name": "greeting", "env": [{"name": "GREETING", "value": "by hand"}]}]
    with SteadyRequests(greeting.url) as requests:
        greeting.kubectl("scale", "deployment", name, "--replicas=5")
        until(lambda: greeting.replicas() == {"one": 2}, "the hand's scale is undone")
        greeting.kubectl(
            "patch", "deployment", name, "-p", json.dumps({"spec": {"template": {"spec": {"containers": env}}}})
        )
        until(lambda: greeting.replicas() == {"one": 2}, "the hand's pods are undone")
        greeting.kubectl("label", "service", greeting.name, "tenantry.dev/service-deployment=other", "--overwrite")
        until(
            lambda: len(greeting.objects("services", "-l", f"tenantry.dev/service-deployment={greeting.name}")) == 2,
            "label",
        )
        greeting.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    assert requests.faults == []
    events = [event.get("reason") for event in greeting.objects("events")]
    assert "Repaired" in events


@pytest.mark.parametrize("kind", ["httproute", "service", "deployment"])
def test_children_deleted_by_hand_come_back(greeting: Greeting, kind: str) -> None:
    greeting.kubectl("delete", kind, "--all", "--wait=true")
    until(lambda: bool(greeting.objects(kind)), f"{kind} is there again")
    greeting.wait()
    with SteadyRequests(greeting.url) as requests:
        until(lambda: requests.greetings[-5:] == ["one"] * 5, "the service answers")


def test_children_go_with_the_service(greeting: Greeting) -> None:
    greeting.kubectl("delete", "sd", greeting.name, "--timeout=60s")
    kinds = "deployments,services,httproutes,endpointslices"
    until(lambda: not greeting.objects(kinds), "everything is gone")
