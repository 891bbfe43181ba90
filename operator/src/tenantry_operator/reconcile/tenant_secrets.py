"""Looks at Tenants' Secrets where they are: beside the operator, where the watch tells, or in a Tenant's namespace.

Nobody but an administrator may follow the Secrets of all namespaces. So those are read one by one: by each pass over
their Tenant, and in turns by the sweep, a few of them each time.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from tenantry_crds import Tenant
from tenantry_crds import names as api
from tenantry_operator.clients.kube import SECRETS, ApiError, Forbidden, Kube, RawObject
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.tenant import DesiredTenant, ObservedSecret, ObservedTenant
from tenantry_operator.observe.secrets import observe_secret
from tenantry_operator.plan.namespace_manifests import SECRETS_ROLE
from tenantry_operator.plan.tenant_secret_place import may_look

logger = logging.getLogger(__name__)

TURN: Final = 50
"""Secrets that are read in one sweep, so that it asks the API server the same however many there are."""

SecretPlace = tuple[str, str]
"""Name and namespace."""


class TenantSecrets:
    """Reads Secrets of Tenants, and tells the cache of those that the watch does not bring."""

    def __init__(self, kube: Kube, cache: ObjectCache, *, namespace: str) -> None:
        self._kube = kube
        self._cache = cache
        self._beside = namespace
        self._last = Key("Secret", "", "")

    async def look(
        self, tenant: Tenant, desired: DesiredTenant, observed: ObservedTenant, *, hints: Iterable[SecretPlace]
    ) -> ObservedTenant:
        """Add the Secret, and those of this Tenant that are elsewhere. Raises ApiError.

        `hints` say where it may have been before; the Secret itself says whose it is.
        """
        at, binding = (desired.secret_name, desired.secret_namespace), tenant.status.binding
        places = {*hints, at, *({(binding.name, binding.namespace)} if binding else ())}
        if self._cache.get(Key("Secret", desired.secret_name, self._beside)) is not None:
            places.add((desired.secret_name, self._beside))
        seen = {place for place in places if place[1] == self._beside}
        if may_look(desired, observed.namespace):
            seen |= {place for place in places if place[1] == desired.secret_namespace}
        self._forget(places - seen)
        try:
            found = {place: await self._read(place, tenant) for place in sorted(seen)}
        except Forbidden as error:
            if desired.secret_namespace == self._beside:
                raise
            said = f"the Secret cannot be read; ClusterRole {SECRETS_ROLE} is what lets the operator: {error}"
            return replace(observed, secret_unread=said)
        stale = (secret for place, secret in found.items() if place != at)
        ours = tuple(secret for secret in stale if secret is not None and secret.ours)
        return replace(observed, secret=found.get(at), stale_secrets=ours)

    async def _read(self, place: SecretPlace, tenant: Tenant) -> ObservedSecret | None:
        name, namespace = place
        found = await observe_secret(self._kube, name, namespace, owner_uid=tenant.metadata.uid)
        if found is not None and found.ours:
            self.note(place, found.resource_version, tenant=tenant.metadata.name)
        else:
            self._forget({place})
        return found

    def note(self, place: SecretPlace, version: str, *, tenant: str) -> None:
        """Tell the cache of a Secret that the watch does not bring."""
        if place[1] == self._beside:
            return
        key = Key("Secret", *place)
        held = self._cache.get(key)
        if held is None or held["metadata"]["resourceVersion"] != version:
            self._cache.remove(key)
            self._cache.put("Secret", noted(place, version, tenant=tenant))

    def _forget(self, places: Iterable[SecretPlace]) -> None:
        for place in places:
            if place[1] != self._beside:
                self._cache.remove(Key("Secret", *place))

    async def take_turns(self) -> None:
        """Read the next few Secrets in Tenants' namespaces, as far as the API server lets us."""
        keys = sorted(key for key in self._cache.keys("Secret") if key.namespace != self._beside)
        after = [key for key in keys if key > self._last]
        turn = (after + [key for key in keys if key <= self._last])[:TURN]
        if turn:
            self._last = turn[-1]
        known = [self._cache.get(key) for key in turn]
        for key, body, version in zip(turn, known, await asyncio.gather(*map(self._version, turn)), strict=True):
            if body is None or version is None or self._cache.get(key) is not body:
                continue  # nobody knows, or a pass has looked meanwhile
            if version:
                self.note((key.name, key.namespace), version, tenant=body["metadata"]["labels"][api.LABEL_TENANT])
            else:
                self._cache.remove(key)

    async def _version(self, key: Key) -> str | None:
        """Return the version; none at all when it is not there, or not to be read any more; None if nobody knows."""
        try:
            found = await self._kube.get(SECRETS, key.name, namespace=key.namespace, metadata_only=True)
        except Forbidden:
            return ""
        except ApiError as error:
            logger.warning("a Secret cannot be looked at", extra={"secret": str(key), "error": str(error)})
            return None
        return str(found["metadata"]["resourceVersion"]) if found else ""


def noted(place: SecretPlace, version: str, *, tenant: str) -> RawObject:
    """Return what the cache holds of a Secret that the watch does not bring."""
    labels = {api.LABEL_TENANT: tenant}
    metadata = {"name": place[0], "namespace": place[1], "resourceVersion": version, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
