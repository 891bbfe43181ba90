"""Looks up what a Tenant must know before it takes data over by force."""

from dataclasses import replace

from tenantry_operator.clients.kube import TENANTS, Kube
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant
from tenantry_operator.observe.secrets import observe_secret
from tenantry_operator.plan.tenant_adoption import uids_in_question


async def with_departed(kube: Kube, desired: DesiredTenant, observed: ObservedTenant) -> ObservedTenant:
    """Say which of the Tenants that the data names are gone: asked of the API server itself, never of a cache.

    The Secret of one that is gone comes along, so that the password in it goes on to hold.
    """
    asked = uids_in_question(desired, observed)
    if not asked:
        return observed
    there = {body["metadata"]["uid"] for body in await kube.list(TENANTS, metadata_only=True)}
    if desired.uid not in there:
        # A list that does not even show the one who asks says nothing about the others.
        return observed
    found = replace(observed, departed=asked - there)
    if found.secret is None or found.secret.ours:
        return found
    for uid in sorted(found.departed):
        left = await observe_secret(kube, found.secret.name, found.secret.namespace, owner_uid=uid)
        if left is not None and left.ours:
            # Without the mark it is written anew, and bears our UID from then on.
            return replace(found, secret=replace(left, applied=None))
    return found
