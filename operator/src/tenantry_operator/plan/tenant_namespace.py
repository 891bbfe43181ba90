"""What to do about a Tenant's namespace. It has no owner in Kubernetes' sense: garbage collection knows no Retain."""

from collections.abc import Iterator, Mapping

from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.model.adoption import Adoption
from tenantry_operator.model.namespace import DesiredNamespace, ObservedNamespace, Raw
from tenantry_operator.model.tenant import DesiredTenant, Leaving
from tenantry_operator.plan import namespace_manifests as manifests
from tenantry_operator.plan.actions import CreateObject, DeleteObject, NamespaceAction, ReplaceObject
from tenantry_operator.plan.status import Problem

LEAVES = "the Tenant is being deleted"
UNWANTED = "the spec does not ask for it any more"


def namespace_problem(desired: DesiredTenant, observed: ObservedNamespace | None) -> Problem | None:
    """Say what keeps the namespace from being made as wanted, if anything does."""
    wanted = desired.namespace
    if wanted is None or observed is None:
        return None
    if not is_ours(observed, uid=desired.uid):
        if not is_released(observed, tenant=desired.names.name):
            return _not_ours(f"namespace {wanted.name} exists and was not made for this Tenant; it is left as it is")
        if desired.adoption is Adoption.NEVER:
            said = f"namespace {wanted.name} was released by an earlier Tenant, and spec.adoptionPolicy is Never"
            return _not_ours(said)
    return _terminating(observed) if is_terminating(observed) else None


def _not_ours(said: str) -> Problem:
    cure = "Remove it, or have the Tenant with another spec.namespace.name: delete it with Retain and apply it anew"
    return Problem(Reason.NOT_OURS, f"{said}. {cure}", lasting=True)


def namespace_actions(desired: DesiredTenant, observed: ObservedNamespace | None) -> tuple[NamespaceAction, ...]:
    """Make the namespace and what belongs in it, and put right what is otherwise. Nothing while there is a problem."""
    wanted = desired.namespace
    if wanted is None or namespace_problem(desired, observed) is not None:
        return ()
    return (*_itself(desired, wanted, observed), *_children(desired, wanted, observed))


def namespace_leaving(
    desired: DesiredTenant, observed: ObservedNamespace | None, *, leaving: Leaving
) -> tuple[NamespaceAction, ...]:
    """Mark the namespace as released, or delete it. One that is not this Tenant's is neither."""
    if desired.namespace is None or observed is None or not is_ours(observed, uid=desired.uid):
        return ()
    if is_terminating(observed):
        return ()
    if leaving is Leaving.DELETE:
        return (_delete(observed.body, LEAVES),)
    if is_released(observed, tenant=desired.names.name):
        return ()
    return (ReplaceObject(body=manifests.released(observed.body), reason=LEAVES),)


def namespace_waited_for(
    desired: DesiredTenant, observed: ObservedNamespace | None, *, leaving: Leaving
) -> Problem | None:
    """Say what a Tenant that leaves with its namespace has to wait for."""
    if desired.namespace is None or observed is None or leaving is not Leaving.DELETE:
        return None
    return _terminating(observed) if is_ours(observed, uid=desired.uid) else None


def is_ours(observed: ObservedNamespace, *, uid: str) -> bool:
    """Whether it was made for, or taken over by, the Tenant of this UID; a name or a label proves nothing."""
    return _annotations(observed).get(api.ANNOTATION_OWNER_UID) == uid


def is_released(observed: ObservedNamespace, *, tenant: str) -> bool:
    """Whether an earlier Tenant of the name left it behind for the next one."""
    annotations, labels = _annotations(observed), observed.body["metadata"].get("labels") or {}
    marked = api.ANNOTATION_OWNER_UID in annotations and annotations.get(api.ANNOTATION_STATE) == "released"
    return marked and labels.get(api.LABEL_TENANT) == tenant


def is_terminating(observed: ObservedNamespace) -> bool:
    return bool(observed.body["metadata"].get("deletionTimestamp"))


def _annotations(observed: ObservedNamespace) -> Mapping[str, str]:
    found: Mapping[str, str] = observed.body["metadata"].get("annotations") or {}
    return found


def _terminating(observed: ObservedNamespace) -> Problem:
    name = observed.body["metadata"]["name"]
    conditions = (observed.body.get("status") or {}).get("conditions") or ()
    told = [f"{one.get('reason')}: {one.get('message')}" for one in conditions if one.get("status") == "True"]
    said = f"namespace {name} is being deleted, and not gone yet"
    return Problem(Reason.NAMESPACE_TERMINATING, f"{said}: {'; '.join(told)}" if told else said)


def _itself(
    desired: DesiredTenant, wanted: DesiredNamespace, observed: ObservedNamespace | None
) -> Iterator[NamespaceAction]:
    body = manifests.namespace(wanted, tenant=desired.names.name, uid=desired.uid)
    if observed is None:
        yield CreateObject(body=body, reason="there is no namespace")
    elif not is_ours(observed, uid=desired.uid):
        yield ReplaceObject(body=manifests.restored(observed.body, body), reason="released by an earlier Tenant")
    elif manifests.differs(observed.body, body):
        yield ReplaceObject(body=manifests.restored(observed.body, body), reason="the namespace's labels are wrong")


def _children(
    desired: DesiredTenant, wanted: DesiredNamespace, observed: ObservedNamespace | None
) -> Iterator[NamespaceAction]:
    there = {_key(body): body for body in (observed.children if observed else ())}
    rendered = manifests.children(wanted, tenant=desired.names.name, database_port=desired.place.port)
    expected = {_key(body): body for body in rendered}
    for key, body in there.items():
        if key in manifests.RESERVED and key not in expected and not _leaves(body):
            yield _delete(body, UNWANTED)
    for key, body in expected.items():
        yield from child_actions(there.get(key), body)


def child_actions(observed: Raw | None, rendered: manifests.Body) -> Iterator[NamespaceAction]:
    """Make an object in the namespace as it is rendered."""
    if observed is None:
        yield CreateObject(body=rendered, reason=f"there is no {rendered['kind']}")
    elif manifests.binds_another_role(observed, rendered):
        yield _delete(observed, "it binds another role")
        yield CreateObject(body=rendered, reason="the one of its name bound another role")
    elif manifests.differs(observed, rendered):
        yield ReplaceObject(body=manifests.restored(observed, rendered), reason=f"the {rendered['kind']} is wrong")


def _leaves(body: Raw) -> bool:
    return bool(body["metadata"].get("deletionTimestamp"))


def _delete(body: Raw, reason: str) -> DeleteObject:
    metadata = body["metadata"]
    return DeleteObject(
        kind=body["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        uid=metadata["uid"],
        reason=reason,
    )


def _key(body: Raw) -> tuple[str, str]:
    return body["kind"], body["metadata"]["name"]
