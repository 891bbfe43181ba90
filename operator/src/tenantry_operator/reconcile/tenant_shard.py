"""A Tenant that moves from one shard to another, under two operators that run.

The lock of the Tenant keeps their passes apart. It does not keep an operator that has not yet heard of the move from
undoing what the other one did. So the registry says whose the Tenant is, as of the last pass; who finds another shard
there than the Tenant's label says asks the API server itself before anything is done.
"""

import psycopg

from tenantry_crds import Tenant
from tenantry_operator.apply.registry import claim_shard
from tenantry_operator.clients.kube import TENANTS, Kube
from tenantry_operator.clients.postgres import ServerAddress, Servers
from tenantry_operator.clients.sqlstate import classify
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.fence import FenceError
from tenantry_operator.model.shard import Shard, shard_of
from tenantry_operator.model.tenant import RegistryRow


class MovedAway(FenceError):
    """The Tenant is another operator's by now."""


class TenantShards:
    """Makes sure of whose a Tenant is, and writes it down."""

    def __init__(self, shard: Shard, *, kube: Kube, cache: ObjectCache, servers: Servers) -> None:
        self._shard = shard
        self._kube = kube
        self._cache = cache
        self._servers = servers

    async def check(self, tenant: Tenant, row: RegistryRow | None) -> None:
        """Raise MovedAway when the Tenant is not ours any more. Raises ApiError."""
        if self._shard.is_only or not _says_another(tenant, row):
            return
        name = tenant.metadata.name
        found = await self._kube.get(TENANTS, name)
        if found is None or found["metadata"]["uid"] != tenant.metadata.uid:
            raise MovedAway(f"Tenant {name} is gone")
        self._cache.observed(TENANTS.kind, found)
        if not self._shard.owns(found):
            raise MovedAway(f"Tenant {name} is of shard {shard_of(found['metadata'].get('labels')) or 'default'} now")

    async def claim(self, tenant: Tenant, row: RegistryRow | None, registry: ServerAddress) -> None:
        """Write down whose the Tenant is, before anything else is done for it. Raises DatabaseError, FenceError."""
        if row is None or row.uid != tenant.metadata.uid or not _says_another(tenant, row):
            return
        try:
            async with self._servers.connection(registry) as connection:
                await claim_shard(connection, row.id, shard_of(tenant.metadata.labels) or None)
        except psycopg.Error as error:
            raise FenceError(f"whose the Tenant is could not be written: {classify(error).message}") from error


def _says_another(tenant: Tenant, row: RegistryRow | None) -> bool:
    return row is not None and (row.shard or "") != shard_of(tenant.metadata.labels)
