"""Looks at all tenants' schemas at once."""

from dataclasses import dataclass, field, replace

import psycopg

from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.model.migration import ObservedFleet
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.migration import Placed, read_placed, read_versions
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.reconcile.migration_desired import members, tenant_line
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
            released, placed = await read_placed(connection)
        unreachable: dict[str, str] = {}
        versions: dict[str, str] = {}
        for place in sorted({(one.server, one.database) for one in placed}):
            here = [one for one in placed if (one.server, one.database) == place]
            try:
                versions |= await self._versions(place, here)
            except (NoAddress, DatabaseError, psycopg.Error) as error:
                unreachable[place[0]] = str(error)
        bodies = {one["metadata"]["name"]: one for one in self._cache.all("Tenant")}
        observed = ObservedFleet(tenant_line(), released or "", members(placed, versions, bodies))
        return Fleet(observed, memory, unreachable)

    async def _versions(self, place: tuple[str, str], here: list[Placed]) -> dict[str, str]:
        server, database = place
        address = await self._addresses.address(server)
        async with self._servers.connection(address, database=database) as connection:
            schemas = {TenantNames(one.name).service_schema: one.name for one in here}
            return {schemas[schema]: said for schema, said in (await read_versions(connection, schemas)).items()}
