"""Reads a Tenant's namespace, and the objects in it."""

import asyncio

from tenantry_operator.clients.kube import NAMESPACES, Kube
from tenantry_operator.clients.resources import NAMESPACE_CHILDREN
from tenantry_operator.model.namespace import ObservedNamespace


async def observe_namespace(kube: Kube, name: str) -> ObservedNamespace | None:
    """Return the namespace and what is in it of the kinds that we make; None when there is none. Raises ApiError.

    What is in it is listed without a label: one that lost its label would be missing, and could not be made again.
    """
    body = await kube.get(NAMESPACES, name)
    if body is None:
        return None
    lists = await asyncio.gather(*(kube.list(kind, namespace=name) for kind in NAMESPACE_CHILDREN))
    return ObservedNamespace(body, tuple(child for children in lists for child in children))
