"""What people and the namespace controller do to Tenants' namespaces."""

from typing import Final

from tenantry_crds import names as api
from tenantry_operator.clients.kube import MERGE_PATCH, NAMESPACES, SECRETS, Kube, RawObject, Resource
from tenantry_operator.clients.resources import NAMESPACE_CHILDREN

TENANT_OWNED: Final = (NAMESPACES, *NAMESPACE_CHILDREN)
"""What is followed by the Tenant's label, wherever it is."""


async def edit_by_hand(
    kube: Kube, resource: Resource, name: str, changes: RawObject, *, namespace: str | None = None
) -> None:
    """Change an object as a person would, under a name of their own."""
    path, query = resource.path(name, namespace=namespace), {"fieldManager": "kubectl-edit"}
    await kube._call("PATCH", path, body=changes, query=query, content_type=MERGE_PATCH)


async def remove_namespace(kube: Kube, name: str) -> None:
    """Delete a namespace with all that is in it, as the namespace controller would: a bare API server has none."""
    await kube.delete(NAMESPACES, name)
    for resource in (SECRETS, *NAMESPACE_CHILDREN):
        for body in await kube.list(resource, namespace=name):
            await kube.delete(resource, body["metadata"]["name"], namespace=name)
    left = await kube.get(NAMESPACES, name)
    if left is not None:
        finalized = {**left, "spec": {**left["spec"], "finalizers": []}}
        await kube._call("PUT", NAMESPACES.path(name, subresource="finalize"), body=finalized)


async def remove_namespaces(kube: Kube) -> None:
    """Remove every namespace that bears a Tenant's label."""
    for body in await kube.list(NAMESPACES, labels=api.LABEL_TENANT):
        await remove_namespace(kube, body["metadata"]["name"])
