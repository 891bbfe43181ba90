"""Rights that are granted and rights that are used, and stand-ins for the controllers that a bare API server lacks."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tenantry_cluster.controlplane import ControlPlane
from tenantry_crds.names import LABEL_REVISION, LABEL_SERVICE_DEPLOYMENT
from tenantry_testing.kubectl import Kubectl

GATEWAY_GROUP = "gateway.networking.k8s.io"
FORBIDDEN = 403


class Right(NamedTuple):
    """One verb on one resource, with the subresource as in `tenants/status`."""

    group: str
    resource: str
    verb: str


def granted(objects: Iterable[Mapping[str, Any]]) -> list[Right]:
    """Return what the roles among the objects grant, one by one."""
    rules = [rule for found in objects if found["kind"] in {"Role", "ClusterRole"} for rule in found["rules"]]
    return [
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def used(plane: ControlPlane, user: str, *, refused: bool = False) -> set[Right]:
    """Return what the user asked of the API server, or what of it was refused for want of a right."""
    found = set()
    for event in plane.audited():
        who, what = event["user"], event.get("objectRef")
        if not (isinstance(who, dict) and isinstance(what, dict)) or who["username"] != user:
            continue
        answer = event.get("responseStatus")
        forbidden = isinstance(answer, dict) and answer.get("code") == FORBIDDEN
        if refused and not forbidden:
            continue
        subresource = f"/{what['subresource']}" if "subresource" in what else ""
        found.add(Right(what.get("apiGroup", ""), what["resource"] + subresource, str(event["verb"])))
    return found


def use_token(kubeconfig: Path, token: str, target: Path) -> Path:
    """Write the kubeconfig with a token in the place of the administrator's certificate."""
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"] = [{**found, "user": {"token": token}} for found in content["users"]]
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump(content))
    return target


@dataclass(frozen=True)
class StandInControllers:
    """Says of Deployments, Services and routes what their controllers would say if all went well."""

    kubectl: Kubectl
    namespace: str

    def install_gateway_api(self) -> None:
        """Make the two types of the Gateway API known, without their schemas."""
        for plural, kind in (("gateways", "Gateway"), ("httproutes", "HTTPRoute")):
            self.kubectl("apply", "-f", "-", stdin=_loose_definition(plural, kind))
            self.kubectl.wait_served(f"{plural}.{GATEWAY_GROUP}")

    def finish_namespace(self, name: str) -> None:
        """Let a namespace go that is being deleted."""
        body = json.loads(self.kubectl("get", "namespace", name, "-o", "json"))
        body["spec"]["finalizers"] = []
        self.kubectl("replace", "--raw", f"/api/v1/namespaces/{name}/finalize", "-f", "-", stdin=body)

    def finish_jobs(self, namespace: str) -> None:
        """Say of every Job that it ended well."""
        for body in json.loads(self.kubectl("-n", namespace, "get", "jobs", "-o", "json"))["items"]:
            change = json.dumps({"status": job_ended("Complete", now=datetime.now(UTC))})
            name = body["metadata"]["name"]
            self.kubectl("-n", namespace, "patch", "job", name, "--subresource=status", "--type=merge", "-p", change)

    def settle(self) -> None:
        """Give every object the status that it waits for."""
        for body in self._items("deployments"):
            self._run_pods(body)
        for body in self._items("httproutes"):
            self._accept(body)

    def _items(self, plural: str) -> list[dict[str, Any]]:
        listed = json.loads(self.kubectl("-n", self.namespace, "get", plural, "-o", "json"))
        items: list[dict[str, Any]] = listed["items"]
        return items

    def _run_pods(self, body: dict[str, Any]) -> None:
        wanted, generation = body["spec"]["replicas"], body["metadata"]["generation"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted)
        if body["status"].get("observedGeneration") == generation and body["status"].get("replicas", 0) == wanted:
            return
        self._write_status("deployment", body, {"observedGeneration": generation, **counts})
        labels = body["spec"]["selector"]["matchLabels"]
        if LABEL_REVISION in labels:
            self.kubectl("apply", "-f", "-", stdin=self._endpoints(body["metadata"]["name"], labels, wanted))

    def _endpoints(self, service: str, labels: Mapping[str, str], count: int) -> dict[str, Any]:
        owner = labels[LABEL_SERVICE_DEPLOYMENT]
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": service,
                "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": service, LABEL_SERVICE_DEPLOYMENT: owner},
            },
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": [f"10.1.0.{number + 1}"], "conditions": {"ready": True}} for number in range(count)
            ],
        }

    def _accept(self, body: dict[str, Any]) -> None:
        generation = body["metadata"]["generation"]
        parents = (body.get("status") or {}).get("parents") or []
        if parents and parents[0]["conditions"][0]["observedGeneration"] == generation:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        shared = {"status": "True", "observedGeneration": generation, "lastTransitionTime": now, "message": ""}
        conditions = [{"type": kind, "reason": kind, **shared} for kind in ("Accepted", "ResolvedRefs")]
        parent = {"parentRef": body["spec"]["parentRefs"][0], "controllerName": "example.com/stand-in"}
        self._write_status("httproute", body, {"parents": [{**parent, "conditions": conditions}]})

    def _write_status(self, kind: str, body: dict[str, Any], status: dict[str, Any]) -> None:
        # The object may be gone or changed by now: the next look tells.
        name, change = body["metadata"]["name"], json.dumps({"status": status})
        self.kubectl.run(
            "-n", self.namespace, "patch", kind, name, "--subresource=status", "--type=merge", "-p", change
        )


def job_ended(kind: str, *, now: datetime, message: str = "") -> dict[str, Any]:
    """Return the status of a Job that ended: Complete or Failed, as the API server takes it of a controller."""
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
    shared = {"status": "True", "lastTransitionTime": time, "lastProbeTime": time, "message": message}
    ended = {"completionTime": time, "succeeded": 1} if kind == "Complete" else {"failed": 1}
    conditions = [{"type": one, "reason": one, **shared} for one in (before, kind)]
    return {"startTime": time, "conditions": conditions, **ended}


def _loose_definition(plural: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GATEWAY_GROUP}",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api"},
        },
        "spec": {
            "group": GATEWAY_GROUP,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }
