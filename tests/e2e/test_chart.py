"""The charts on the running system: what they install, what they refuse, and the demo that is run again."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tenantry_cluster.waiting import wait_until
from tenantry_testing.demo.facts import CHART, CRDS_CHART, SYSTEM, TENANT
from tenantry_testing.demo.programs import ProgramFailed
from tenantry_testing.demo.record import read_record
from tenantry_testing.running import MadeTenant, Running, tenant_manifest

OPERATOR = "deployment/tenantry-operator"


def operator_pod(running: Running) -> dict[str, Any]:
    """The pod that leads: the Lease names it, for a while also one that was killed."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        lease = running.programs.object("lease", "tenantry-operator", f"--namespace={SYSTEM}")
        holder = lease["spec"]["holderIdentity"]
        pods = running.programs.items("pods", f"--namespace={SYSTEM}", f"--field-selector=metadata.name={holder}")
        found.extend(pod for pod in pods if "deletionTimestamp" not in pod["metadata"])
        return bool(found)

    wait_until(is_there, seconds=60, what="no pod that is there leads")
    return found[0]


def test_helm_test_passes(running: Running) -> None:
    said = running.helm("test", CHART, f"--namespace={SYSTEM}", "--timeout=90s")
    assert "Succeeded" in said


def test_both_releases_are_deployed(running: Running) -> None:
    found = json.loads(running.helm("list", f"--namespace={SYSTEM}", "-o", "json"))
    assert {release["name"]: release["status"] for release in found} == {CHART: "deployed", CRDS_CHART: "deployed"}


def test_the_notes_say_what_to_do_next(running: Running) -> None:
    notes = running.helm("get", "notes", CHART, f"--namespace={SYSTEM}")
    assert "kubectl" in notes
    assert "Tenant" in notes


@pytest.mark.parametrize("setting", ["operator.replica=2", "operator.replicas=many", "nonsense=true"])
def test_a_wrong_value_is_refused(running: Running, setting: str) -> None:
    chart = str(running.layout.root / "charts" / CHART)
    with pytest.raises(ProgramFailed, match="values don't meet the specifications of the schema"):
        running.helm("template", CHART, chart, "--set", setting)


def test_the_operator_runs_with_nothing_to_spare(running: Running) -> None:
    pod = operator_pod(running)
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in pod["spec"]["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        assert {"livenessProbe", "readinessProbe", "resources"} <= set(container)


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("delete", "tenants.tenantry.dev"),
        ("create", "clusterroles"),
        ("get", "nodes"),
        ("create", "pods"),
        ("get", "secrets --namespace=kube-system"),
        ("bind", "clusterroles/cluster-admin"),
    ],
)
def test_the_operator_may_do_no_more_than_it_does(running: Running, verb: str, what: str) -> None:
    account = operator_pod(running)["spec"]["serviceAccountName"]
    user = f"--as=system:serviceaccount:{SYSTEM}:{account}"
    assert "no" in running.refused("auth", "can-i", verb, *what.split(), user).splitlines()


def test_the_operator_reaches_no_namespace_but_the_tenants(running: Running) -> None:
    tenant, own, foreign = MadeTenant("e2e-bounds", running), "e2e-bounds", "e2e-foreign"
    as_operator = f"--as=system:serviceaccount:{SYSTEM}:{operator_pod(running)['spec']['serviceAccountName']}"
    quota = ("create", "quota", "mine", "--hard=pods=1", "--dry-run=server", as_operator)
    delete = ("delete", "namespace", "--dry-run=server", as_operator)
    running.kubectl("create", "namespace", foreign)
    running.kubectl("apply", "-f", "-", stdin=tenant_manifest(tenant.name, namespace={"name": own}))
    try:
        tenant.wait_ready()
        assert "no tenant's" in running.refused(*delete, foreign)
        assert "no tenant's" in running.refused(*quota, f"--namespace={foreign}")
        assert running.kubectl(*delete, own)
        assert running.kubectl(*quota, f"--namespace={own}")
    finally:
        tenant.delete()
        running.kubectl("delete", "namespace", foreign, "--wait=false")
    assert "NotFound" in running.refused("get", "namespace", own)


def test_the_operator_tells_its_figures_and_its_health(running: Running) -> None:
    pod = f"/api/v1/namespaces/{SYSTEM}/pods/{operator_pod(running)['metadata']['name']}:8080/proxy"
    assert running.kubectl("get", "--raw", f"{pod}/healthz")
    assert "tenantry_" in running.kubectl("get", "--raw", f"{pod}/metrics")


def test_the_next_pod_leads_when_the_first_is_gone(running: Running) -> None:
    before = operator_pod(running)["metadata"]["name"]
    running.kubectl("delete", "pod", before, f"--namespace={SYSTEM}", "--timeout=60s")
    running.kubectl("rollout", "status", OPERATOR, f"--namespace={SYSTEM}", "--timeout=90s")
    name = "e2e-after-restart"
    running.kubectl(
        "apply", "-f", "-", stdin=tenant_manifest(name, deletionProtection="Disabled", deletionPolicy="Delete")
    )
    running.kubectl("wait", f"tenant/{name}", "--for=condition=Ready", "--timeout=60s")
    assert operator_pod(running)["metadata"]["name"] != before
    running.kubectl("delete", "tenant", name, "--timeout=60s")


def test_the_demo_changes_nothing_when_it_is_run_again(running: Running) -> None:
    before = generations(running)
    again = subprocess.run(
        [sys.executable, "-m", "tenantry_testing.demo", "up"], capture_output=True, text=True, check=False, timeout=110
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "FAIL" not in again.stdout
    assert generations(running) == before
    assert read_record(running.layout).key_of(TENANT) == running.record.key_of(TENANT)


def generations(running: Running) -> dict[str, int]:
    """Of every object that the demo asks for: a generation counts the changes of what is asked.

    What other tests of this suite made is left out, by the object's name or by its namespace's: a namespace that is
    being deleted empties while this is read.
    """
    kinds = "tenants,databaseservers,servicedeployments,deployments,httproutes,gateways"
    found = {}
    for item in running.programs.items(kinds, "--all-namespaces"):
        names = [item["metadata"].get("namespace", ""), item["metadata"]["name"]]
        if not any(name.startswith("e2e-") for name in names):
            found[f"{item['kind']} {'/'.join(names)}"] = item["metadata"]["generation"]
    return found


def test_the_demo_is_not_removed_under_a_tenant_of_the_users(running: Running) -> None:
    name = "e2e-somebodys"
    running.kubectl(
        "apply", "-f", "-", stdin=tenant_manifest(name, deletionProtection="Disabled", deletionPolicy="Delete")
    )
    try:
        _assert_the_demo_stays(running, f"tenant/{name}")
    finally:
        running.kubectl("delete", "tenant", name, "--timeout=60s")


def test_the_demo_is_not_removed_under_a_service_of_the_users(running: Running) -> None:
    name = "e2e-somebodys"
    sample = json.loads(running.kubectl("get", "servicedeployment", "greeting", "-n", "greeting", "-o", "json"))
    body = {
        "apiVersion": sample["apiVersion"],
        "kind": sample["kind"],
        "metadata": {"name": name, "namespace": "greeting"},
        "spec": {**sample["spec"], "replicas": 0, "traffic": {}},
    }
    running.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    try:
        _assert_the_demo_stays(running, f"servicedeployment/{name}")
    finally:
        running.kubectl("delete", "servicedeployment", name, "-n", "greeting", "--timeout=60s")


def _assert_the_demo_stays(running: Running, because_of: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "tenantry_testing.demo", "down"], capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode != 0
    assert because_of in refused.stdout + refused.stderr
    assert running.kubectl("get", "tenant", TENANT, "-o", "name")
