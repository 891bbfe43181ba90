"""Looks at all tenants' schemas at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import psycopg

from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.model.migration import Member, ObservedFleet
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.pool import POOL_SCHEMA
from tenantry_operator.observe.migration import Placed, read_placed, read_versions
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.reconcile.migration_desired import members, pool_member, tenant_line
from tenantry_operator.reconcile.migration_moving import Memory


@dataclass
class Fleet:
    """What was seen, brought up to date by what was done since."""

    observed: ObservedFleet
    memory: Memory
    unreachable: dict[str, str] = field(default_factory=dict)
    """Server to what was said."""
    moved: dict[str, str] = field(default_factory=dict)
    """Tenant to the revision that it was moved to."""

    def now(self) -> ObservedFleet:
        members = tuple(
            replace(one, version=self.moved[one.name]) if one.name in self.moved else one
            for one in self.observed.members
        )
        return replace(self.observed, members=members, failures=dict(self.memory.failures))


class FleetView:
    """Asks the registry, and then every schema; raises DatabaseError or psycopg.Error when the registry is silent."""

    def __init__(self, servers: Servers, addresses: Addresses, cache: ObjectCache) -> None:
        self._servers = servers
        self._addresses = addresses
        self._cache = cache

    async def look(self, registry: ServerAddress, memory: Memory) -> Fleet:
        """Ask every schema for its version; of a server that does not answer, the registry's word is taken."""
        async with self._servers.connection(registry) as connection:
            released, everybody = await read_placed(connection)
        placed = [one for one in everybody if one.schema != POOL_SCHEMA]
        unreachable: dict[str, str] = {}
        versions: dict[str, str] = {}
        for place in sorted({(one.server, one.database) for one in placed}):
            here = [one for one in placed if (one.server, one.database) == place]
            try:
                versions |= await self._versions(place, here)
            except (NoAddress, DatabaseError, psycopg.Error) as error:
                unreachable[place[0]] = str(error)
        bodies = {one["metadata"]["name"]: one for one in self._cache.all("Tenant")}
        pools = await self._pools({one.server: one for one in everybody if one.schema == POOL_SCHEMA}, unreachable)
        observed = ObservedFleet(tenant_line(), released or "", (*members(placed, versions, bodies), *pools))
        return Fleet(observed, memory, unreachable)

    async def _pools(self, used: Mapping[str, Placed], unreachable: dict[str, str]) -> list[Member]:
        """Ask every server for its pool: one that is empty now is moved too, for whoever comes next.

        Of a server that does not answer, the registry's word on a tenant of the pool is taken.
        """
        pools: list[Member] = []
        for server in sorted({*used, *(one["metadata"]["name"] for one in self._cache.all("DatabaseServer"))}):
            placed = used.get(server)
            database, version = (placed.database, placed.version) if placed else ("", None)
            try:
                address = await self._addresses.address(server)
                database = database or address.database
                async with self._servers.connection(address) as connection:
                    version = (await read_versions(connection, (POOL_SCHEMA,))).get(POOL_SCHEMA, version)
            except (NoAddress, DatabaseError, psycopg.Error) as error:
                if placed is not None:
                    unreachable[server] = str(error)
            if version is not None:
                pools.append(pool_member(server, database, version))
        return pools

    async def _versions(self, place: tuple[str, str], here: list[Placed]) -> dict[str, str]:
        server, database = place
        address = await self._addresses.address(server)
        async with self._servers.connection(address, database=database) as connection:
            schemas = {TenantNames(one.name).service_schema: one.name for one in here}
            return {schemas[schema]: said for schema, said in (await read_versions(connection, schemas)).items()}
