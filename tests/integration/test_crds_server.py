"""What the real API server accepts and refuses, with the field that it names."""

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from pydantic import JsonValue

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_crds.base import Part
from tenantry_crds.kinds import KINDS, Kind
from tenantry_testing.crd_examples import (
    BAD_INPUTS,
    FUTURE_TEMPLATE,
    RULE_EXAMPLES,
    SPECS,
    BadInput,
    Body,
    RuleExample,
    example,
)
from tenantry_testing.kubectl import Kubectl


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(Layout.of_checkout().bin / "kubectl", control_plane.kubeconfig)


@pytest.fixture
def stored(kubectl: Kubectl) -> Iterator[Callable[[Body], Body]]:
    """Create an object for one test."""
    bodies: list[Body] = []

    def create(body: Body) -> Body:
        answer: Body = json.loads(kubectl("create", "-f", "-", "-o", "json", stdin=body))
        bodies.append(body)
        return answer

    yield create
    for body in bodies:
        kubectl("delete", "-f", "-", stdin=body)


def message_of(rule_name: str) -> str:
    waiting: list[type[Part]] = [Part]
    while waiting:
        part = waiting.pop()
        waiting += part.__subclasses__()
        for rule in part.rules:
            if rule.name == rule_name:
                return rule.message
    raise LookupError(rule_name)


@pytest.mark.parametrize("case", RULE_EXAMPLES, ids=lambda case: case.rule)
def test_a_rule_accepts_one_and_refuses_the_other(
    kubectl: Kubectl, stored: Callable[[Body], Body], case: RuleExample
) -> None:
    before, accepted, refused = case.before, case.accepted, case.refused
    verb = "create"
    if before is not None:
        stored(before)
        verb = "apply"
    kubectl(verb, "--dry-run=server", "-f", "-", stdin=accepted)
    answer = kubectl.run(verb, "--dry-run=server", "-f", "-", stdin=refused)
    assert answer.returncode != 0
    assert f"{case.field}: Invalid value: {message_of(case.rule)}" in answer.stderr


@pytest.mark.parametrize("kind", SPECS)
def test_the_plain_example_is_accepted(kubectl: Kubectl, kind: str) -> None:
    kubectl("create", "--dry-run=server", "-f", "-", stdin=example(kind, "plain"))


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.what)
def test_bad_input_is_refused_with_its_field(kubectl: Kubectl, bad: BadInput) -> None:
    answer = kubectl.run("apply", "-f", "-", stdin=bad.body)
    assert answer.returncode != 0
    assert bad.field in answer.stderr
    assert "NotFound" in kubectl.run("get", "-f", "-", stdin=bad.body).stderr


def patch(kubectl: Kubectl, name: str, spec: dict[str, JsonValue]) -> subprocess.CompletedProcess[str]:
    return kubectl.run("patch", "tenant", name, "--type=merge", "-p", json.dumps({"spec": spec}))


@pytest.mark.parametrize("field", ["databaseServer", "isolation"])
def test_an_immutable_field_cannot_be_changed_by_way_of_null(
    kubectl: Kubectl, stored: Callable[[Body], Body], field: str
) -> None:
    stored(example("Tenant", "by-null", databaseServer="primary"))
    answer = patch(kubectl, "by-null", {field: None})
    assert answer.returncode != 0
    assert f"spec.{field}" in answer.stderr
    kept = json.loads(kubectl("get", "tenant", "by-null", "-o", "json"))
    assert kept["spec"] == {**SPECS["Tenant"], "databaseServer": "primary"}


def test_a_server_cannot_be_chosen_later(kubectl: Kubectl, stored: Callable[[Body], Body]) -> None:
    stored(example("Tenant", "chosen-late"))
    answer = patch(kubectl, "chosen-late", {"databaseServer": "primary"})
    assert answer.returncode != 0
    assert "spec.databaseServer" in answer.stderr


def test_before_the_first_pass_the_status_says_that_nothing_is_observed(
    kubectl: Kubectl, stored: Callable[[Body], Body]
) -> None:
    for kind in SPECS:
        assert stored(example(kind, "fresh"))["status"] == {"observedGeneration": -1}


def test_unknown_fields_of_a_pod_template_are_kept(kubectl: Kubectl, stored: Callable[[Body], Body]) -> None:
    spec = stored(example("ServiceDeployment", "future", template=FUTURE_TEMPLATE))["spec"]
    assert isinstance(spec, dict)
    assert spec["template"] == FUTURE_TEMPLATE


def test_a_service_can_be_scaled(kubectl: Kubectl, stored: Callable[[Body], Body]) -> None:
    stored(example("ServiceDeployment", "scaled"))
    kubectl("scale", "servicedeployment", "scaled", "--replicas=3")
    assert kubectl("get", "sd", "scaled", "-o", "jsonpath={.spec.replicas}") == "3"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_columns_are_shown(kubectl: Kubectl, stored: Callable[[Body], Body], kind: Kind) -> None:
    stored(example(kind.name, "columns"))
    head = kubectl("get", kind.short_name, "columns", "-o", "wide").splitlines()[0].split()
    assert head == ["NAME", *(column.name.upper() for column in kind.columns)]
