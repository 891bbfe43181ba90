"""A Tenant's namespace and its objects as JSON, with all that the API server would fill in."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from tenantry_crds import names as api
from tenantry_operator.model.namespace import Binding, DesiredNamespace, Raw, Subject

Body = dict[str, Any]

QUOTA_NAME: Final = "tenantry"
LIMITS_NAME: Final = "tenantry"
POLICY_NAME: Final = "tenantry-default-deny"
ROLES: Final = ("view", "edit", "admin")
SECRETS_ROLE: Final = "tenantry-tenant-secrets"
"""The ClusterRole of the chart that lets one read and write Secrets whose names one knows."""
SECRETS_BINDING: Final = "tenantry-credentials"
RBAC_GROUP: Final = "rbac.authorization.k8s.io"
DNS_NAMESPACE: Final = "kube-system"
NAME_LABEL: Final = "kubernetes.io/metadata.name"
POD_SECURITY: Final = "pod-security.kubernetes.io"
UNITS: Final[Mapping[str, Decimal]] = {
    **{unit: Decimal(f"1e{exponent}") for unit, exponent in (("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3))},
    **{unit: Decimal(10) ** exponent for unit, exponent in (("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18))},
    **{f"{unit}i": Decimal(1024) ** (power + 1) for power, unit in enumerate("KMGTPE")},
}


def binding_name(role: str) -> str:
    return f"tenantry-{role}"


RESERVED: Final = frozenset(
    {("ResourceQuota", QUOTA_NAME), ("LimitRange", LIMITS_NAME), ("NetworkPolicy", POLICY_NAME)}
    | {("RoleBinding", name) for name in (SECRETS_BINDING, *map(binding_name, ROLES))}
)
"""Kind and name of all that is ever made in a namespace. What else is there is somebody's, and left alone."""


def namespace(desired: DesiredNamespace, *, tenant: str, uid: str) -> Body:
    """Render the namespace. The UID is what says that it is this Tenant's."""
    labels = _labels(tenant)
    for mode in ("enforce", "warn", "audit"):
        labels[f"{POD_SECURITY}/{mode}"] = desired.pod_security
        labels[f"{POD_SECURITY}/{mode}-version"] = "latest"
    metadata = {"name": desired.name, "labels": labels, "annotations": {api.ANNOTATION_OWNER_UID: uid}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def children(desired: DesiredNamespace, *, tenant: str, database_port: int) -> Iterator[Body]:
    """Render the objects in the namespace; what bounds a workload comes before those who may start one.

    Our own way in is first: it takes a moment until the API server knows of it.
    """
    if (opening := way_in(desired, tenant=tenant)) is not None:
        yield opening
    if desired.quota:
        yield _child(desired, "v1", "ResourceQuota", QUOTA_NAME, tenant, spec={"hard": dict(desired.quota)})
    if desired.limits:
        yield _child(desired, "v1", "LimitRange", LIMITS_NAME, tenant, spec={"limits": [_limits(desired.limits)]})
    if desired.default_deny:
        spec = _default_deny(database_port)
        yield _child(desired, "networking.k8s.io/v1", "NetworkPolicy", POLICY_NAME, tenant, spec=spec)
    for binding in desired.bindings:
        yield _binding(desired, binding, tenant, name=binding_name(binding.role))


def way_in(desired: DesiredNamespace, *, tenant: str) -> Body | None:
    """Render what lets the operator keep the Secret with the credentials in the namespace."""
    if desired.keeper is None:
        return None
    return _binding(desired, Binding(SECRETS_ROLE, (desired.keeper,)), tenant, name=SECRETS_BINDING)


def restored(observed: Raw, rendered: Raw) -> Body:
    """Return the observed object with everything of ours as rendered; labels and annotations of others stay."""
    seen, ours = observed["metadata"], rendered["metadata"]
    metadata = {**seen, "labels": {**(seen.get("labels") or {}), **ours["labels"]}}
    kept = {key: text for key, text in (seen.get("annotations") or {}).items() if key != api.ANNOTATION_STATE}
    annotations = {**kept, **ours.get("annotations", {})}
    if annotations or "annotations" in seen:
        metadata["annotations"] = annotations
    content = {key: rendered[key] for key in ("spec", "subjects") if key in rendered}
    return {**observed, "metadata": metadata, **content}


def released(observed: Raw) -> Body:
    """Return the namespace with the mark that the next Tenant of its name may have it."""
    seen = observed["metadata"]
    annotations = {**(seen.get("annotations") or {}), api.ANNOTATION_STATE: "released"}
    return {**observed, "metadata": {**seen, "annotations": annotations}}


def differs(observed: Raw, rendered: Raw) -> bool:
    """Say whether the object has something of ours otherwise than rendered. Quantities are compared as numbers."""
    wanted = restored(observed, rendered)
    return any(_plain(observed.get(key)) != _plain(wanted.get(key)) for key in ("metadata", "spec", "subjects"))


def binds_another_role(observed: Raw, rendered: Raw) -> bool:
    """Whether a RoleBinding would have to be made anew: its roleRef cannot be changed."""
    return bool(rendered["kind"] == "RoleBinding" and observed.get("roleRef") != rendered["roleRef"])


def amount(quantity: str) -> Decimal:
    """Read a quantity, as the API takes one and as the API server writes it down. Raises ValueError for any other."""
    digits = quantity.rstrip("numkKMGTPEi")
    unit = UNITS.get(quantity[len(digits) :])
    if unit is None or not digits.replace(".", "", 1).isdigit():
        raise ValueError(f"{quantity!r} is no quantity")
    return Decimal(digits) * unit


def _plain(value: object) -> object:
    """Bring what means the same to the same form: quantities to numbers, empty lists to none at all."""
    if isinstance(value, Mapping):
        plain = {key: _plain(one) for key, one in value.items()}
        return {key: one for key, one in plain.items() if one != []}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        try:
            return amount(value)
        except ValueError:
            return value
    return value


def _labels(tenant: str) -> dict[str, str]:
    return {api.LABEL_TENANT: tenant, "app.kubernetes.io/managed-by": api.FIELD_MANAGER}


def _child(desired: DesiredNamespace, version: str, kind: str, name: str, tenant: str, **content: object) -> Body:
    metadata = {"name": name, "namespace": desired.name, "labels": _labels(tenant)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _limits(given: Mapping[str, Mapping[str, str]]) -> Body:
    """Fill in what the API server would: limits from max, requests from limits, else from min."""
    default = {**given.get("max", {}), **given.get("default", {})}
    request = {**given.get("min", {}), **default, **given.get("defaultRequest", {})}
    filled = {**given, "default": default, "defaultRequest": request}
    return {"type": "Container", **{key: dict(one) for key, one in filled.items() if one}}


def _default_deny(database_port: int) -> Body:
    """Pods of the namespace reach each other, the cluster's DNS and the database's port, and nothing else.

    Where the database is, is a name that may move; so its port is open to anywhere, and the database asks for a
    password.
    """
    dns = {"namespaceSelector": {"matchLabels": {NAME_LABEL: DNS_NAMESPACE}}}
    neighbours: Body = {"podSelector": {}}
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [neighbours]}],
        "egress": [
            {"to": [neighbours]},
            {"to": [dns], "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            {"ports": [{"protocol": "TCP", "port": database_port}]},
        ],
    }


def _binding(desired: DesiredNamespace, binding: Binding, tenant: str, *, name: str) -> Body:
    return _child(
        desired,
        f"{RBAC_GROUP}/v1",
        "RoleBinding",
        name,
        tenant,
        roleRef={"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": binding.role},
        subjects=[_subject(subject) for subject in binding.subjects],
    )


def _subject(subject: Subject) -> Body:
    if subject.kind == "ServiceAccount":
        return {"kind": subject.kind, "name": subject.name, "namespace": subject.namespace}
    return {"apiGroup": RBAC_GROUP, "kind": subject.kind, "name": subject.name}
