"""The cluster's DNS as a pod: CoreDNS, which knows the cluster's names and no others."""

import json

from tenantry_cluster.arguments import SERVICE_DNS

# An unknown name must be told to be unknown at once: without an answer for `.` a client waits and tries again.
COREFILE = """\
cluster.local:1053 in-addr.arpa:1053 ip6.arpa:1053 {
    errors
    health :8080
    ready :8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    reload
}
.:1053 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""
LABELS = {"k8s-app": "kube-dns"}
NAME = {"name": "coredns", "namespace": "kube-system"}


def manifests(image: str) -> str:
    """A List of all that CoreDNS needs, as JSON for `kubectl apply`."""
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": NAME},
        *_access(),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": NAME, "data": {"Corefile": COREFILE}},
        _deployment(image),
        _service(),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _access() -> list[dict[str, object]]:
    group = "rbac.authorization.k8s.io"
    watch = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": watch},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch},
    ]
    name = {"name": "system:coredns"}
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": name, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name["name"]},
            "subjects": [{"kind": "ServiceAccount", **NAME}],
        },
    ]


def _deployment(image: str) -> dict[str, object]:
    container = {
        "name": "coredns",
        "image": image,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        # 1053 and not 53: a port below 1024 would need a capability.
        "ports": [{"name": "dns", "containerPort": 1053, "protocol": "UDP"}, {"name": "ready", "containerPort": 8181}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "ready"}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 10},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "170Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": NAME | {"labels": LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }


def _service() -> dict[str, object]:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 1053},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 1053},
        {"name": "ready", "port": 8181, "protocol": "TCP", "targetPort": 8181},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        # Programs look for DNS under this name.
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": LABELS},
        "spec": {"clusterIP": SERVICE_DNS, "selector": LABELS, "ports": ports},
    }
