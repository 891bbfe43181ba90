"""Makes, replaces and deletes a Tenant's namespace and the objects in it."""

from tenantry_operator.clients.kube import NAMESPACES, Kube, RawObject, Resource
from tenantry_operator.clients.resources import NAMESPACE_CHILDREN
from tenantry_operator.plan.actions import CreateObject, DeleteObject, NamespaceAction, ReplaceObject

_RESOURCES = {resource.kind: resource for resource in (NAMESPACES, *NAMESPACE_CHILDREN)}


async def apply_on_namespace(kube: Kube, action: NamespaceAction) -> RawObject | None:
    """Do the action; return what was written. Raises ApiError.

    Only what was observed is replaced or deleted: a change or an object that came meanwhile raises Conflict.
    """
    match action:
        case CreateObject(body=body):
            return await kube.create(resource_of(body["kind"]), dict(body))
        case ReplaceObject(body=body):
            return await kube.replace(resource_of(body["kind"]), dict(body))
        case DeleteObject(kind=kind, name=name, namespace=namespace, uid=uid):
            await kube.delete(resource_of(kind), name, namespace=namespace or None, uid=uid)
            return None


def resource_of(kind: str) -> Resource:
    return _RESOURCES[kind]
