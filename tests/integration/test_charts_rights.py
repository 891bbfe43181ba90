"""The operator's rights, as the chart grants them: all that it asks for, and nothing that it does not use.

A real operator runs with the token of its service account through a Tenant's and a ServiceDeployment's life; the API
server's audit log tells what it asked and what it was refused.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.layout import Layout
from tenantry_cluster.waiting import wait_until
from tenantry_crds.kinds import KINDS
from tenantry_testing.crd_examples import BACKUP, Body, example
from tenantry_testing.helm import NAMESPACE, Helm
from tenantry_testing.kubectl import Kubectl
from tenantry_testing.operator_process import OperatorProcess
from tenantry_testing.postgres import PostgresServer
from tenantry_testing.rights import Right, StandInControllers, granted, use_token, used

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:tenantry-operator"
SECONDS = 90.0
UNSEEN = {
    # Asked by an admission plugin of some clusters in the operator's name, never by the operator.
    Right("tenantry.dev", "servicedeployments/finalizers", "update"),
    # Asked for one object only when the watch has missed a change of it.
    Right("tenantry.dev", "tenants", "get"),
    Right("tenantry.dev", "databaseservers", "get"),
    Right("tenantry.dev", "servicedeployments", "get"),
    Right("tenantry.dev", "migrationruns", "get"),
    # Never asked for: the API server looks for it when a RoleBinding is written.
    Right("rbac.authorization.k8s.io", "clusterroles", "bind"),
}


FURNISHED: Body = {
    "quota": {"pods": "9"},
    "limits": {"default": {"cpu": "1"}},
    "roleBindings": [
        {"role": role, "subjects": [{"kind": "User", "name": "jane"}]} for role in ("view", "edit", "admin")
    ],
}


class World:
    """A control plane with the charts' rights, a Postgres server, and an operator that has those rights only."""

    def __init__(self, plane: ControlPlane, postgres: PostgresServer, folder: Path) -> None:
        layout = Layout.of_checkout()
        self.plane = plane
        self.kubectl = Kubectl(layout.bin / "kubectl", plane.kubeconfig)
        self.helm = Helm(layout.bin / "helm", layout.root / "charts", plane.kubeconfig, home=folder / "helm")
        self.controllers = StandInControllers(self.kubectl, namespace="default")
        self.reach: dict[str, bool] = {}
        """What the operator may do with Secrets while there is a Tenant with a namespace."""
        self._postgres = postgres
        self._folder = folder

    def install(self) -> list[Right]:
        """Install the CRDs and the rights alone; return what is granted."""
        self.helm.install("tenantry-crds")
        self.kubectl.wait_served(*(kind.crd_name for kind in KINDS))
        objects = self.helm.template("tenantry")
        kinds = ("ServiceAccount", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
        rights = [found for found in objects if "rbac" in found["apiVersion"] or found["kind"] in kinds]
        for found in rights:
            self.kubectl("apply", "-f", "-", stdin=found)
        return granted(objects)

    def operator(self) -> OperatorProcess:
        token = self.kubectl("create", "token", "tenantry-operator", "-n", NAMESPACE).strip()
        kubeconfig = use_token(self.plane.kubeconfig, token, self._folder / "operator.kubeconfig")
        environment = {
            "TENANTRY_REGISTRY_SERVER": "primary",
            "TENANTRY_SWEEP_INTERVAL": "1",
            "TENANTRY_JOB_POD": '{"image": "tenantry.example/operator:1"}',
        }
        return OperatorProcess(kubeconfig, self._folder / "operator.log", env=environment)

    def make_server(self) -> None:
        login = self._postgres.make_operator("rights_operator", databases=("rights_app", "rights_registry"))
        self._secret("primary-credentials", username=login.user, password=login.password)
        self._secret("primary-ca", **{"ca.crt": self._postgres.ca_file.read_text()})
        body = example(
            "DatabaseServer",
            "primary",
            host=self._postgres.host,
            port=self._postgres.port,
            database="rights_app",
            default=True,
            tls={"caSecretRef": {"name": "primary-ca"}},
            credentialsSecretRef={"name": "primary-credentials"},
        )
        self.kubectl("apply", "-f", "-", stdin=body)

    def wait_ready(self, name: str) -> None:
        def is_ready() -> bool:
            self.controllers.settle()
            body = json.loads(self.kubectl("get", name, "-o", "json"))
            ready = [found["status"] for found in body["status"].get("conditions", []) if found["type"] == "Ready"]
            return ready == ["True"] and body["status"]["observedGeneration"] == body["metadata"]["generation"]

        wait_until(is_ready, seconds=SECONDS, what=f"{name} did not become Ready")

    def wait_used(self, group: str, resource: str, verb: str) -> None:
        right = Right(group, resource, verb)

        def is_used() -> bool:
            self.controllers.settle()
            return right in used(self.plane, ACCOUNT)

        wait_until(is_used, seconds=SECONDS, what=f"the operator did not {verb} {resource}")

    def look_at_reach(self) -> None:
        """Find out what the operator may do with Secrets in the Tenant's namespace, and elsewhere."""
        for place in ("acme", "default", "kube-system"):
            for verb in ("get", "update", "delete", "list", "watch"):
                asked = ("auth", "can-i", verb, "secrets", "-n", place, "--as", ACCOUNT)
                self.reach[f"{verb} {place}"] = self.kubectl.run(*asked).stdout.strip() == "yes"
        # What its rights allow and the bounds do not.
        metadata = {"name": "theirs", "namespace": "acme"}
        theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        self.kubectl("apply", "-f", "-", stdin=theirs)
        itself = ("--clusterrole=tenantry-tenant-secrets", f"--user={ACCOUNT}")
        for what, command in {
            "delete theirs": ("-n", "acme", "delete", "secret", "theirs"),
            "bind itself": ("-n", "default", "create", "rolebinding", "mine", *itself),
        }.items():
            self.reach[what] = self.kubectl.run(*command, "--as", ACCOUNT).returncode == 0

    def _secret(self, name: str, **values: str) -> None:
        metadata = {"name": name, "namespace": NAMESPACE}
        self.kubectl(
            "apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
        )


def live_as_a_tenant(world: World) -> None:
    world.make_server()
    world.wait_ready("databaseserver/primary")
    body = example("Tenant", "acme", deletionProtection="Disabled", deletionPolicy="Delete", namespace=FURNISHED)
    world.kubectl("apply", "-f", "-", stdin=body)
    world.wait_ready("tenant/acme")
    world.kubectl("-n", "acme", "delete", "secret", "acme-database")
    wait_until(
        lambda: world.kubectl.run("-n", "acme", "get", "secret", "acme-database").returncode == 0,
        seconds=SECONDS,
        what="the Secret did not come back",
    )
    world.kubectl("apply", "-f", "-", stdin=example("MigrationRun", "to-what-is-there"))
    world.wait_ready("migrationrun/to-what-is-there")
    change = '{"stringData": {"username": "somebody"}}'
    world.kubectl("-n", "acme", "patch", "secret", "acme-database", "--type=merge", "-p", change)
    world.wait_used("", "secrets", "update")
    world.look_at_reach()
    live_in_a_namespace(world)
    world.kubectl("delete", "tenant", "acme", "--wait=false")
    world.wait_used("", "namespaces", "delete")
    world.controllers.finish_namespace("acme")
    world.kubectl("wait", "--for=delete", "tenant/acme", f"--timeout={SECONDS:.0f}s")
    # The first drop makes the breaker's memory, the second one changes it.
    policies: Body = {"deletionProtection": "Disabled", "deletionPolicy": "BackupThenDelete"}
    world.kubectl("apply", "-f", "-", stdin=example("Tenant", "second", **policies, backup=BACKUP))
    world.wait_ready("tenant/second")
    world.kubectl("delete", "tenant", "second", "--wait=false")
    # Nothing runs it here: its end is said in the place of the kubelet.
    world.wait_used("batch", "jobs", "create")
    world.controllers.finish_jobs(NAMESPACE)
    world.kubectl("wait", "--for=delete", "tenant/second", f"--timeout={SECONDS:.0f}s")


def live_in_a_namespace(world: World) -> None:
    """Change by hand all that the operator keeps, and then let it take away what may be taken away."""
    hands = (
        ("", "namespaces", "acme", '{"metadata": {"labels": {"pod-security.kubernetes.io/warn": null}}}'),
        ("", "resourcequotas", "tenantry", '{"spec": {"hard": {"pods": "99"}}}'),
        ("", "limitranges", "tenantry", '{"spec": {"limits": []}}'),
        ("networking.k8s.io", "networkpolicies", "tenantry-default-deny", '{"spec": {"egress": [{}]}}'),
        ("rbac.authorization.k8s.io", "rolebindings", "tenantry-admin", '{"subjects": []}'),
    )
    for group, resource, name, change in hands:
        world.kubectl("-n", "acme", "patch", resource, name, "--type=merge", "-p", change)
        world.wait_used(group, resource, "update")
    world.wait_ready("tenant/acme")
    emptied = '{"spec": {"namespace": {"quota": null, "limits": null, "networkPolicy": "None", "roleBindings": null}}}'
    world.kubectl("patch", "tenant", "acme", "--type=merge", "-p", emptied)
    for group, resource, _, _ in hands[1:]:
        world.wait_used(group, resource, "delete")


def live_as_a_service(world: World) -> None:
    traffic = {"gateway": {"name": "public"}, "drainSeconds": 0}

    def apply(image: str, **changes: object) -> None:
        template = {"spec": {"containers": [{"name": "app", "image": image}]}}
        body = example("ServiceDeployment", "web", template=template, revisionHistoryLimit=0, **changes)  # type: ignore[arg-type]
        world.kubectl("apply", "-f", "-", stdin=body)

    apply("example.com/app:1", traffic=traffic)
    world.wait_ready("servicedeployment/web")
    world.kubectl("label", "deployment", "--all", "tenantry.dev/service-deployment=other", "--overwrite")
    world.wait_used("apps", "deployments", "update")
    world.kubectl("patch", "service", "web", "--type=merge", "-p", '{"spec": {"selector": {"a": "b"}}}')
    world.wait_used("", "services", "update")
    apply("example.com/app:2", traffic=traffic)
    world.wait_used("apps", "deployments", "delete")
    world.wait_ready("servicedeployment/web")
    apply("example.com/app:2")
    world.wait_used("gateway.networking.k8s.io", "httproutes", "delete")
    world.kubectl("delete", "servicedeployment", "web")


@pytest.fixture(scope="module")
def lived(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, set[Right]]]:
    """The world in which an operator has lived, and the rights that it had."""
    folder = tmp_path_factory.mktemp("rights")
    with ControlPlane.start(Layout.of_checkout().bin, audit=True) as plane:
        world = World(plane, postgres, folder)
        rights = world.install()
        world.controllers.install_gateway_api()
        with world.operator():
            live_as_a_tenant(world)
            live_as_a_service(world)
        yield world, set(rights)


def test_the_operator_is_refused_nothing(lived: tuple[World, set[Right]]) -> None:
    world, _ = lived
    # A binding that was made just now is not known to the API server at once; the Secret is written as soon as it is.
    assert used(world.plane, ACCOUNT, refused=True) - {Right("", "secrets", "create")} == set()


def test_the_operator_reaches_no_secret_but_those_of_tenants(lived: tuple[World, set[Right]]) -> None:
    world, _ = lived
    assert sorted(what for what, may in world.reach.items() if may) == ["delete acme", "get acme", "update acme"]


def test_the_operator_uses_every_right_that_it_has(lived: tuple[World, set[Right]]) -> None:
    world, rights = lived
    assert sorted(rights - used(world.plane, ACCOUNT) - UNSEEN) == []
