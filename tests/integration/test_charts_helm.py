"""The charts by helm on a real API server: install, upgrade, uninstall, and what they refuse."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_cluster.waiting import wait_until
from tenantry_crds.kinds import KINDS
from tenantry_testing.crd_examples import Body, example
from tenantry_testing.helm import NAMESPACE, Helm, HelmFailed
from tenantry_testing.kubectl import Kubectl


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout.of_checkout()


@pytest.fixture(scope="module")
def plane(layout: Layout) -> Iterator[ControlPlane]:
    """An API server of its own: the chart's policy would refuse what other tests delete."""
    with ControlPlane.start(layout.bin) as started:
        yield started


@pytest.fixture(scope="module")
def helm(layout: Layout, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(layout.bin / "helm", layout.root / "charts", plane.kubeconfig, home=tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def kubectl(layout: Layout, plane: ControlPlane) -> Kubectl:
    return Kubectl(layout.bin / "kubectl", plane.kubeconfig)


@pytest.fixture(scope="module")
def installed(helm: Helm, kubectl: Kubectl) -> str:
    """Both charts as a user installs them; the notes of the second."""
    helm.install("tenantry-crds")
    kubectl.wait_served(*(kind.crd_name for kind in KINDS))
    notes = helm.install("tenantry")
    wait_until(lambda: protects(kubectl), seconds=60, what="the policy is not in force")
    return notes


def protects(kubectl: Kubectl) -> bool:
    """Whether the policy is in force: the API server looks for new ones about once a second."""
    kubectl("apply", "-f", "-", stdin=example("Tenant", "guarded"))
    return kubectl.run("delete", "tenant", "guarded", "--dry-run=server").returncode != 0


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(found for found in objects if found["kind"] == kind and found["metadata"]["name"] == name)


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for found in objects:
        if found["kind"] == "Pod":
            yield found["metadata"]["name"], found["spec"]
        elif found["kind"] in {"Deployment", "ServiceDeployment"}:
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


@pytest.mark.parametrize("chart", ["tenantry", "tenantry-crds"])
def test_a_chart_has_no_faults_that_helm_finds(helm: Helm, chart: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(helm.charts / chart))


def test_every_pod_satisfies_the_restricted_standard_with_a_read_only_root(
    helm: Helm, kubectl: Kubectl, installed: str
) -> None:
    kubectl("create", "namespace", "restricted")
    kubectl("label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted")
    seen = []
    for name, spec in pods(helm.template("tenantry")):
        seen.append(name)
        bare = {key: value for key, value in spec.items() if key != "serviceAccountName"}
        pod: Body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "restricted"},
            "spec": bare,
        }
        kubectl("create", "--dry-run=server", "-f", "-", stdin=pod)
        assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in spec["containers"])
        assert spec["securityContext"]["runAsUser"] == 65532
    assert sorted(seen) == ["accounts", "tenantry-answers", "tenantry-operator"]


def test_the_operator_reads_secrets_of_its_own_namespace_only(helm: Helm) -> None:
    objects = helm.template("tenantry")
    wide = one(objects, "ClusterRole", "tenantry-operator")["rules"]
    assert not [rule for rule in wide if "secrets" in rule["resources"]]
    for rules in (wide, one(objects, "Role", "tenantry-operator")["rules"]):
        assert not [rule for rule in rules if "*" in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])]


def test_a_disruption_budget_exists_only_where_a_pod_can_go(helm: Helm) -> None:
    kinds = [found["kind"] for found in helm.template("tenantry", operator__replicas="1")]
    assert "PodDisruptionBudget" not in kinds
    budget = one(helm.template("tenantry", operator__replicas="2"), "PodDisruptionBudget", "tenantry-operator")
    assert budget["spec"]["maxUnavailable"] == 1


def test_a_service_mounts_the_log_in_of_each_server(helm: Helm) -> None:
    service = one(helm.template("tenantry", databaseServers="{second,primary}"), "ServiceDeployment", "accounts")
    mounted = {
        volume["secret"]["secretName"]: volume["secret"].get("optional")
        for volume in service["spec"]["template"]["spec"]["volumes"]
    }
    assert mounted == {
        "tenantry-accounts-database-primary": False,
        "tenantry-accounts-database-second": False,
        "tenantry-cursor-key": None,
    }


def test_a_service_is_published_only_at_a_gateway_that_is_named(helm: Helm) -> None:
    assert "gateway" not in one(helm.template("tenantry"), "ServiceDeployment", "accounts")["spec"]["traffic"]
    named = helm.template("tenantry", gateway__name="public", gateway__namespace="edge")
    assert one(named, "ServiceDeployment", "accounts")["spec"]["traffic"]["gateway"] == {
        "name": "public",
        "namespace": "edge",
        "pathPrefix": "/v1",
    }


def test_a_name_that_yaml_reads_as_something_else_stays_a_name(helm: Helm, tmp_path: Path) -> None:
    values = {
        "environment": "no",
        "registry": {"server": "on"},
        "databaseServers": ["null"],
        "gateway": {"name": "123", "namespace": "true"},
        "imagePullSecrets": ["0123"],
        "cursorKey": {"existingSecret": "1e3"},
        "services": {"accounts": {"image": {"repository": "12", "tag": "34"}}},
    }
    objects = template_of(helm, values, tmp_path)
    service = one(objects, "ServiceDeployment", "accounts")["spec"]
    assert service["traffic"]["gateway"] == {"name": "123", "namespace": "true", "pathPrefix": "/v1"}
    variables = environment_of(service)
    assert (variables["TENANTRY_ENVIRONMENT"], variables["TENANTRY_REGISTRY_SERVER"]) == ("no", "on")
    for _, pod in pods(objects):
        assert pod["imagePullSecrets"] == [{"name": "0123"}]
    pod = service["template"]["spec"]
    assert pod["containers"][0]["image"] == "12:34"
    assert pod["volumes"][-1]["secret"]["secretName"] == "1e3"


def test_a_service_takes_environment_variables_as_they_are_written(helm: Helm, tmp_path: Path) -> None:
    values = {
        "TENANTRY_BODY_LIMIT": 10_485_760,
        "TENANTRY_POOL_TIMEOUT": 2.5,
        "FLAG": True,
        "LINES": "a\nb: {{ c }}",
        "TENANTRY_LOG_LEVEL": "debug",
    }
    service = one(
        template_of(helm, {"services": {"accounts": {"env": values}}}, tmp_path), "ServiceDeployment", "accounts"
    )
    variables = environment_of(service["spec"])
    assert {name: variables[name] for name in values} == {
        "TENANTRY_BODY_LIMIT": "10485760",
        "TENANTRY_POOL_TIMEOUT": "2.5",
        "FLAG": "true",
        "LINES": "a\nb: {{ c }}",
        "TENANTRY_LOG_LEVEL": "debug",
    }


def template_of(helm: Helm, values: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Render with a file of values, as users write them; `--set` guesses types by rules of its own."""
    file = folder / "values.yaml"
    file.write_text(json.dumps(values))
    text = helm("template", "tenantry", str(helm.charts / "tenantry"), "--values", str(file))
    return [found for found in yaml.safe_load_all(text) if found]


def environment_of(service: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of the first container, each of which may stand there once."""
    found = service["template"]["spec"]["containers"][0]["env"]
    variables = {item["name"]: item["value"] for item in found}
    assert len(variables) == len(found)
    return variables


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("operator.replica=2", "additional properties 'replica' not allowed"),
        ("environment=Production!", "environment"),
        ("registry.server=Primary", "registry/server"),
        ("services.accounts.port=80", "port"),
        ("log.level=loud", "log/level"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, value: str, words: str) -> None:
    with pytest.raises(HelmFailed, match=words):
        helm("template", "tenantry", str(helm.charts / "tenantry"), "--set", value)


def test_another_namespace_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmFailed, match="--namespace tenantry-system"):
        helm("template", "tenantry", str(helm.charts / "tenantry"), namespace="default")


def test_the_notes_say_what_to_do_next(installed: str) -> None:
    assert "kind: DatabaseServer" in installed
    assert "tenantry tenant create-key acme" in installed
    assert "helm test tenantry" in installed


def cursor_key(kubectl: Kubectl) -> str:
    return kubectl("-n", NAMESPACE, "get", "secret", "tenantry-cursor-key", "-o", "jsonpath={.data.cursor-key}")


def test_an_upgrade_keeps_the_cursor_key(helm: Helm, kubectl: Kubectl, installed: str) -> None:
    before = cursor_key(kubectl)
    assert len(before) >= 32
    helm.install("tenantry", operator__workers="8")
    assert cursor_key(kubectl) == before


def test_an_upgrade_keeps_a_count_that_was_set_by_hand(helm: Helm, kubectl: Kubectl, installed: str) -> None:
    for what in ("servicedeployment/accounts", "deployment/tenantry-operator"):
        kubectl("-n", NAMESPACE, "scale", what, "--replicas=3")
        helm.install("tenantry", operator__workers="9")
        assert kubectl("-n", NAMESPACE, "get", what, "-o", "jsonpath={.spec.replicas}") == "3"


def test_the_registry_cannot_be_moved(helm: Helm, kubectl: Kubectl, installed: str) -> None:
    with pytest.raises(HelmFailed, match="this installation has server primary and database tenantry"):
        helm.install("tenantry", registry__server="other")
    change = '{"data": {"server": "other"}}'
    answer = kubectl.run("-n", NAMESPACE, "patch", "configmap", "tenantry-registry", "--type=merge", "-p", change)
    assert "field is immutable" in answer.stderr


@pytest.mark.parametrize("protection", [None, "Enabled"])
def test_a_protected_tenant_cannot_be_deleted(kubectl: Kubectl, installed: str, protection: str | None) -> None:
    name = f"kept-{protection or 'absent'}".lower()
    kubectl("apply", "-f", "-", stdin=example("Tenant", name, deletionProtection=protection))
    answer = kubectl.run("delete", "tenant", name)
    assert answer.returncode != 0
    assert f"Tenant {name} is protected: set spec.deletionProtection to Disabled" in answer.stderr
    assert kubectl("get", "tenant", name, "-o", "jsonpath={.metadata.deletionTimestamp}") == ""
    kubectl("patch", "tenant", name, "--type=merge", "-p", '{"spec": {"deletionProtection": "Disabled"}}')
    kubectl("delete", "tenant", name)
    assert kubectl.run("get", "tenant", name).returncode != 0


def test_the_definitions_and_the_tenants_survive_an_uninstallation(
    helm: Helm, kubectl: Kubectl, installed: str
) -> None:
    kubectl("apply", "-f", "-", stdin=example("Tenant", "survivor"))
    helm("uninstall", "tenantry-crds")
    kubectl("get", "tenant", "survivor")
    helm.install("tenantry-crds")
    kubectl("get", "tenant", "survivor")


def test_each_shard_has_an_operator_of_its_own(helm: Helm) -> None:
    objects = helm.template("tenantry", operator__shards="{east,west}", operator__replicas="2")

    def told(name: str) -> dict[str, str]:
        containers = one(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        given = {each["name"]: each.get("value", "") for each in containers[0]["env"]}
        return {key: given[key] for key in ("TENANTRY_SHARD", "TENANTRY_SHARDS") if key in given}

    assert told("tenantry-operator") == {"TENANTRY_SHARDS": "east,west"}
    assert told("tenantry-operator-east") == {"TENANTRY_SHARD": "east"}
    assert told("tenantry-operator-west") == {"TENANTRY_SHARD": "west"}
    selected = []
    for name in ("tenantry-operator", "tenantry-operator-east", "tenantry-operator-west"):
        deployment = one(objects, "Deployment", name)["spec"]
        selector = deployment["selector"]["matchLabels"]
        selected.append(selector)
        assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
        assert one(objects, "Service", name)["spec"]["selector"] == selector
        assert one(objects, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == selector
    assert len({json.dumps(each) for each in selected}) == 3, "no pod is of two Deployments"
    alone = one(helm.template("tenantry"), "Deployment", "tenantry-operator")["spec"]["template"]["spec"]
    assert not [each for each in alone["containers"][0]["env"] if "SHARD" in each["name"]]
