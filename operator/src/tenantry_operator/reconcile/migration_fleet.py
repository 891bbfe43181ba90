"""Looks at all tenants' schemas at once."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import psycopg

from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.migration import Member, ObservedFleet
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.pool import POOL_SCHEMA
from tenantry_operator.observe.migration import Placed, read_placed, read_versions
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.reconcile.migration_desired import members, pool_member, tenant_line
from tenantry_operator.reconcile.migration_moving import Memory

AT_ONCE: Final = 4
"""Databases of tenants that are asked side by side."""


@dataclass
class Fleet:
    """What was seen, brought up to date by what was done since."""

    observed: ObservedFleet
    memory: Memory
    unreachable: dict[str, str] = field(default_factory=dict)
    """Server to what was said."""
    moved: dict[str, str] = field(default_factory=dict)
    """Tenant's id to the revision that it was moved to: who is deleted and made again is another one."""

    def now(self) -> ObservedFleet:
        members = tuple(
            replace(one, version=self.moved[one.id]) if one.id in self.moved else one for one in self.observed.members
        )
        failures = {one.name: said for one in members if (said := self.memory.failures.get(one.life))}
        return replace(self.observed, members=members, failures=failures)


class FleetView:
    """Asks the registry, and then every schema; raises DatabaseError or psycopg.Error when the registry is silent."""

    def __init__(self, servers: Servers, addresses: Addresses, cache: ObjectCache) -> None:
        self._servers = servers
        self._addresses = addresses
        self._cache = cache

    async def look(
        self, registry: ServerAddress, memory: Memory, *, moved: Mapping[str, str] = MappingProxyType({})
    ) -> Fleet:
        """Ask every schema for its version; of a server that does not answer, the registry's word is taken.

        Of the tenants that this very pass has `moved`, the revision is known, and of those in a database of their own
        that this run has asked; but where the registry says another one, as of who was restored since, it is not.
        """
        async with self._servers.connection(registry) as connection:
            released, everybody = await read_placed(connection)
        placed = [one for one in everybody if one.schema != POOL_SCHEMA]
        unreachable: dict[str, str] = {}
        told = {**moved, **memory.apart}
        versions = {one.id: told[one.id] for one in placed if one.id in told and told[one.id] == one.version}
        memory.apart = {id_: version for id_, version in memory.apart.items() if id_ in versions}
        apart = [one for one in placed if is_apart(one)]
        shared = [one for one in placed if not is_apart(one) and one.id not in versions]
        for place in sorted({(one.server, one.database) for one in shared}):
            here = [one for one in shared if (one.server, one.database) == place]
            try:
                versions |= await self._versions(place, here)
            except (NoAddress, DatabaseError, psycopg.Error) as error:
                unreachable[place[0]] = str(error)
        turns = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._ask_apart(one, memory, turns) for one in apart if one.id not in versions))
        versions |= {one.id: memory.apart[one.id] for one in apart if one.id in memory.apart}
        bodies = {one["metadata"]["name"]: one for one in self._cache.all("Tenant")}
        pools = await self._pools({one.server: one for one in everybody if one.schema == POOL_SCHEMA}, unreachable)
        observed = ObservedFleet(tenant_line(), released or "", (*members(placed, versions, bodies), *pools))
        memory.keep(one.life for one in observed.members)
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

    async def _ask_apart(self, one: Placed, memory: Memory, turns: asyncio.Semaphore) -> None:
        """Ask a schema that is in a database of its own; of one that does not answer, the registry's word is taken.

        What keeps it from answering is said when it is to be moved.
        """
        try:
            async with turns:
                memory.apart |= await self._versions((one.server, one.database), [one])
        except (NoAddress, DatabaseError, psycopg.Error):
            return

    async def _versions(self, place: tuple[str, str], here: list[Placed]) -> dict[str, str]:
        server, database = place
        address = await self._addresses.address(server)
        async with self._servers.connection(address, database=database) as connection:
            schemas = {TenantNames(one.name).service_schema: one.id for one in here}
            return {schemas[schema]: said for schema, said in (await read_versions(connection, schemas)).items()}


def is_apart(placed: Placed) -> bool:
    """Whether the schema is in a database of its own, so that looking at it takes a connection of its own."""
    return placed.isolation == Isolation.DATABASE
