"""The resource types that the operator reads or writes."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, name: str = "", *, namespace: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of one object, or of the collection; without a namespace, of the whole cluster."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.kind} {name} needs a namespace")
        parts = [root + within, self.plural, *([quote(name, safe="")] if name else [])]
        return "/".join(parts + ([subresource] if subresource else []))


def _tenantry(plural: str, kind: str, *, namespaced: bool) -> Resource:
    return Resource("tenantry.dev", "v1alpha1", plural, kind, namespaced)


def _core(plural: str, kind: str, *, namespaced: bool = True) -> Resource:
    return Resource("", "v1", plural, kind, namespaced)


TENANTS = _tenantry("tenants", "Tenant", namespaced=False)
DATABASESERVERS = _tenantry("databaseservers", "DatabaseServer", namespaced=False)
MIGRATIONRUNS = _tenantry("migrationruns", "MigrationRun", namespaced=False)
SERVICEDEPLOYMENTS = _tenantry("servicedeployments", "ServiceDeployment", namespaced=True)

NAMESPACES = _core("namespaces", "Namespace", namespaced=False)
SECRETS = _core("secrets", "Secret")
SERVICES = _core("services", "Service")
PODS = _core("pods", "Pod")
PERSISTENTVOLUMECLAIMS = _core("persistentvolumeclaims", "PersistentVolumeClaim")
CONFIGMAPS = _core("configmaps", "ConfigMap")
RESOURCEQUOTAS = _core("resourcequotas", "ResourceQuota")
LIMITRANGES = _core("limitranges", "LimitRange")

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
JOBS = Resource("batch", "v1", "jobs", "Job", namespaced=True)
REPLICASETS = Resource("apps", "v1", "replicasets", "ReplicaSet", namespaced=True)
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", namespaced=True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", namespaced=True)
GATEWAYS = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway", namespaced=True)
HTTPROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", namespaced=True)
NETWORKPOLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", namespaced=True)
ROLEBINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True)
NAMESPACE_CHILDREN = (RESOURCEQUOTAS, LIMITRANGES, NETWORKPOLICIES, ROLEBINDINGS)
"""What is made in a Tenant's namespace."""

CUSTOMRESOURCEDEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
