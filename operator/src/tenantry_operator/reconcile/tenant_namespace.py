"""The namespace in a Tenant's pass: what is asked for, which versions were seen and left, what a refusal means."""

from collections.abc import Iterator, Sequence

from tenantry_crds import absent
from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_crds.tenant import Tenant, TenantSpec
from tenantry_crds.tenantnamespace import NetworkPolicyMode, TenantLimits, TenantNamespace
from tenantry_operator.clients.kube import ApiError, Invalid, Kube, RawObject
from tenantry_operator.engine.cache import ObjectCache, key_of
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.namespace import Binding, DesiredNamespace, ObservedNamespace, Raw, Subject, version_of
from tenantry_operator.observe.namespace import observe_namespace
from tenantry_operator.plan.actions import CreateObject, DeleteObject, NamespaceAction, ReplaceObject
from tenantry_operator.plan.namespace_manifests import RESERVED
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant_namespace import is_ours

Children = frozenset[tuple[Key, str]]
"""The namespace and our objects in it, each with its version."""


def desired_namespace(spec: TenantSpec, tenant: str, *, system: str) -> DesiredNamespace | None:
    """Say what the Tenant asks for; None when it asks for no namespace. `system` is the operator's own."""
    given = spec.namespace
    if given is None:
        return None
    effective = absent.namespace(given, tenant)
    return DesiredNamespace(
        name=effective.name,
        pod_security=effective.pod_security.value,
        default_deny=effective.network_policy is NetworkPolicyMode.DEFAULT_DENY,
        quota=given.quota or {},
        limits=_limits(given.limits),
        bindings=tuple(_bindings(given, effective.name)),
        keeper=Subject("ServiceAccount", api.SERVICE_ACCOUNT, system),
    )


async def look_at_namespace(kube: Kube, desired: DesiredNamespace | None) -> ObservedNamespace | None:
    """Return what there is under the wanted name; a Tenant that asks for no namespace has none. Raises ApiError."""
    return await observe_namespace(kube, desired.name) if desired else None


async def has_namespace(kube: Kube, tenant: Tenant, *, system: str) -> bool:
    """Whether there is a namespace that was made for this Tenant. Raises ApiError."""
    observed = await look_at_namespace(kube, desired_namespace(tenant.spec, tenant.metadata.name, system=system))
    return observed is not None and is_ours(observed, uid=tenant.metadata.uid)


def _limits(given: TenantLimits | None) -> dict[str, dict[str, str]]:
    said: dict[str, dict[str, str]] = given.model_dump(by_alias=True, exclude_none=True) if given else {}
    return {key: amounts for key, amounts in said.items() if amounts}


def _bindings(given: TenantNamespace, name: str) -> Iterator[Binding]:
    for binding in given.role_bindings or ():
        yield Binding(
            binding.role.value,
            tuple(Subject(one.kind.value, one.name, one.namespace or name) for one in binding.subjects),
        )


def versions_seen(observed: ObservedNamespace | None) -> Children:
    """Return the versions of the namespace and of what in it is ours by its name."""
    return frozenset(_version(body) for body in _bodies(observed))


def versions_now(cache: ObjectCache, seen: Children) -> Children:
    """Return the versions that the watch has of the same objects; one that is gone has none."""
    now = ((key, cache.get(key)) for key, _ in seen)
    return frozenset((key, version_of(key.kind, body["metadata"]) if body else "") for key, body in now)


class ChildVersions:
    """Collects what a pass made, changed and removed."""

    def __init__(self) -> None:
        self._written: dict[Key, str] = {}
        self._removed: set[Key] = set()

    @property
    def gave_rights(self) -> bool:
        """Whether somebody may do something since a moment ago, of which the API server may not know yet."""
        return any(key.kind == "RoleBinding" for key in self._written)

    def note(self, action: NamespaceAction, written: RawObject | None, cache: ObjectCache) -> None:
        """Remember it, and tell the cache, so that the event that follows tells nothing new and starts no pass."""
        if isinstance(action, DeleteObject):
            self._removed.add(Key(action.kind, action.name, action.namespace))
        elif written is not None:
            key, version = _version(written)
            self._removed.discard(key)
            self._written[key] = version
            kind, metadata = written["kind"], written["metadata"]
            cache.put(kind, {"apiVersion": written["apiVersion"], "kind": kind, "metadata": metadata})

    def after(self, observed: ObservedNamespace | None) -> Children:
        """Return the versions at which all of it is now."""
        left = {**dict(versions_seen(observed)), **self._written}
        return frozenset((key, version) for key, version in left.items() if key not in self._removed)


def is_namespace_itself(action: NamespaceAction) -> bool:
    kind = action.kind if isinstance(action, DeleteObject) else action.body["kind"]
    return bool(kind == "Namespace")


def namespace_refused(action: NamespaceAction, error: ApiError) -> Problem:
    """Say what it means that the API server did not do as asked. A body that it refuses is the spec's to mend."""
    if isinstance(action, DeleteObject):
        what = f"{action.kind} {action.name}"
    else:
        what = f"{action.body['kind']} {action.body['metadata']['name']}"
    if isinstance(error, Invalid) and isinstance(action, CreateObject | ReplaceObject):
        return Problem(Reason.INVALID_SPEC, f"spec.namespace: the {what} is refused: {error.message}", lasting=True)
    return Problem(Reason.KUBERNETES_ERROR, f"{what}: {error}", lasting=not error.transient)


def tenant_of(kind: str, obj: RawObject, cache: ObjectCache) -> Sequence[Key]:
    """Name the Tenant that a namespace, or an object in one, was made for; none if nothing of it was changed.

    A quota changes with each pod that it counts, which is nobody's business here.
    """
    metadata = obj["metadata"]
    owner = (metadata.get("labels") or {}).get(api.LABEL_TENANT)
    if owner is None:
        return ()
    held = cache.get(key_of(kind, obj))
    if held is not None and version_of(kind, held["metadata"]) == version_of(kind, metadata):
        return ()
    return (Key("Tenant", owner),)


def _bodies(observed: ObservedNamespace | None) -> Iterator[Raw]:
    if observed is not None:
        yield observed.body
        for body in observed.children:
            if (body["kind"], body["metadata"]["name"]) in RESERVED:
                yield body


def _version(body: Raw) -> tuple[Key, str]:
    return key_of(body["kind"], body), version_of(body["kind"], body["metadata"])
