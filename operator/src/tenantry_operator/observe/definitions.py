"""Reads the definitions that the cluster serves."""

from collections.abc import Mapping

from tenantry_crds.kinds import KINDS
from tenantry_operator.clients.kube import CUSTOMRESOURCEDEFINITIONS, Kube, RawObject


async def read_definitions(kube: Kube) -> Mapping[str, RawObject | None]:
    """Return the CustomResourceDefinition of each kind of ours by name; None where there is none. Raises ApiError."""
    return {kind.crd_name: await kube.get(CUSTOMRESOURCEDEFINITIONS, kind.crd_name) for kind in KINDS}
