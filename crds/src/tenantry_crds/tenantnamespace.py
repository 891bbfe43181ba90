"""The namespace of a Tenant: what its workloads may use, reach and be, and who may work in it."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from tenantry_crds.base import DnsLabel, Part, Rule

# Kubernetes' own form without signs and exponents; no value reaches 2^63, at which Kubernetes cuts off.
QUANTITY = r"^([0-9]{1,15}|[0-9]{1,6}([.][0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?|[0-9]{1,3}([.][0-9]{1,3})?(P|Pi))$"
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"

Quantity = Annotated[str, Field(min_length=1, max_length=16, pattern=QUANTITY)]
Quantities = dict[str, Quantity]


class NetworkPolicyMode(StrEnum):
    DEFAULT_DENY = "DefaultDeny"
    NONE = "None"


class PodSecurity(StrEnum):
    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


class BoundRole(StrEnum):
    """Kubernetes' own ClusterRoles for users of a namespace; the operator may bind these and no other."""

    VIEW = "view"
    EDIT = "edit"
    ADMIN = "admin"


class SubjectKind(StrEnum):
    USER = "User"
    GROUP = "Group"
    SERVICE_ACCOUNT = "ServiceAccount"


class TenantSubject(Part):
    """Who gets a role."""

    kind: Annotated[SubjectKind, Field(description="What the name is of.")]
    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=PRINTABLE,
            description="The name of the user, the group or the service account, as the API server knows it.",
        ),
    ]
    namespace: Annotated[
        DnsLabel | None,
        Field(description="Namespace of the service account. Absent: the tenant's namespace."),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-subject-has-a-namespace-only-as-a-service-account",
            rule="self.kind == 'ServiceAccount' || !has(self.__namespace__)",
            message="only a ServiceAccount has a namespace",
            field_path=".namespace",
        ),
    )


class TenantRoleBinding(Part):
    """One role in the tenant's namespace, and who gets it."""

    role: Annotated[BoundRole, Field(description="The ClusterRole of Kubernetes that is granted in the namespace.")]
    subjects: Annotated[
        tuple[TenantSubject, ...],
        Field(
            min_length=1,
            max_length=32,
            description="Who gets the role.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ]


class TenantLimits(Part):
    """What a container may use and gets if it says nothing, by resource, as in cpu: 500m. Absent: no LimitRange."""

    default: Annotated[
        Quantities | None,
        Field(max_length=16, description="Limits of a container that names none. Absent: as max."),
    ] = None
    default_request: Annotated[
        Quantities | None,
        Field(max_length=16, description="Requests of a container that names none. Absent: as default, else as min."),
    ] = None
    min: Annotated[Quantities | None, Field(max_length=16, description="The least that a container may ask for.")] = (
        None
    )
    max: Annotated[Quantities | None, Field(max_length=16, description="The most that a container may use.")] = None


class TenantNamespace(Part):
    """A namespace of the tenant's own."""

    name: Annotated[
        DnsLabel | None,
        Field(
            description="Name of the namespace; it must not exist yet. It cannot be changed. Absent: the Tenant's name."
        ),
    ] = None
    quota: Annotated[
        Quantities | None,
        Field(
            max_length=32,
            description="What all objects of the namespace may use together, by resource of a ResourceQuota, as in "
            "requests.cpu: 2 or pods: 20. Absent: no ResourceQuota.",
        ),
    ] = None
    limits: Annotated[
        TenantLimits | None,
        Field(description="What one container may use, as in a LimitRange. Absent: no LimitRange."),
    ] = None
    network_policy: Annotated[
        NetworkPolicyMode | None,
        Field(
            description="DefaultDeny: pods reach each other, the cluster's DNS and the port of the database, and "
            "nothing else; nobody else reaches them. It holds where the cluster's network plugin enforces "
            "NetworkPolicies. None: no policy. Absent: DefaultDeny."
        ),
    ] = None
    pod_security: Annotated[
        PodSecurity | None,
        Field(description="The Pod Security Standard that is enforced, warned of and audited. Absent: restricted."),
    ] = None
    role_bindings: Annotated[
        tuple[TenantRoleBinding, ...] | None,
        Field(
            max_length=3,
            description="Who may work in the namespace, by role. Absent: nobody beyond those who may in the cluster.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["role"]},
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-namespace-is-not-the-systems",
            rule="!has(self.name) || !(self.name == 'default' || self.name.startsWith('kube-')"
            " || self.name.startsWith('tenantry'))",
            message="default, and names that start with kube- or tenantry, are the system's own",
            field_path=".name",
        ),
    )


class EffectiveNamespace(Part):
    """The namespace, including what the spec leaves out."""

    name: Annotated[str, Field(max_length=63, description="Name of the namespace.")]
    network_policy: Annotated[NetworkPolicyMode, Field(description="What pods may reach and be reached from.")]
    pod_security: Annotated[PodSecurity, Field(description="The Pod Security Standard that is enforced.")]
