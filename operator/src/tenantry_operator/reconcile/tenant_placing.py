"""Finds the server of a Tenant: the one that it is on, or the one that it is to be placed on."""

import logging
from dataclasses import replace

import psycopg

from tenantry_crds import ConditionType, Tenant
from tenantry_operator.clients.kube import ApiError, RawObject
from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.placement import Candidate, Choice, Seat
from tenantry_operator.model.tenant import DesiredTenant, Marker, ObservedTenant, RegistryRow
from tenantry_operator.observe.registry import read_taken
from tenantry_operator.observe.tenant import observe_marker
from tenantry_operator.plan.capacity import BORNE_BY_ANY
from tenantry_operator.plan.placement import kept_login, place
from tenantry_operator.plan.status import Problem
from tenantry_operator.reconcile.addresses import KIND, Addresses, NoAddress

logger = logging.getLogger(__name__)


class NoPlace(Exception):
    """The tenant cannot be placed now; the problem says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class TenantPlacing:
    """Knows the servers as they are now; what it decides is remembered by the registry."""

    def __init__(self, servers: Servers, addresses: Addresses, cache: ObjectCache) -> None:
        self._servers = servers
        self._addresses = addresses
        self._cache = cache

    async def choices(self, tenant: Tenant, row: RegistryRow | None, registry: ServerAddress) -> tuple[Choice, ...]:
        """Return where the tenant is, or where it may be placed, the best first.

        Raises NoPlace, NoAddress, DatabaseError, psycopg.Error.
        """
        if row is not None:
            return (Choice(row.server, Seat(row.login or 1)),)
        asked = tenant.spec.database_server
        if asked is None and (there := await self._marked(TenantNames(tenant.metadata.name))) is not None:
            return (Choice(there),)
        if tenant.metadata.is_terminating:
            return (Choice(asked or self._addresses.default_server()),)
        async with self._servers.connection(registry) as connection:
            taken = await read_taken(connection)
        placement = place([candidate(body) for body in self._cache.all(KIND)], taken, asked=asked)
        if placement.problem is not None:
            raise NoPlace(placement.problem)
        return placement.choices

    async def _marked(self, names: TenantNames) -> str | None:
        """Name the server on which there is something of the tenant, though the registry has no row of it.

        With one server that need not be asked: the tenant goes there anyway.
        """
        servers = [candidate(body) for body in self._cache.all(KIND)]
        found: list[tuple[str, str]] = []
        for server in servers if len(servers) > 1 else ():
            marker = await self._marker(server.name, names) if server.ready else None
            if marker is not None:
                found.append((marker.state.value, server.name))
        return min(found)[1] if found else None  # "live" comes before "released"

    async def _marker(self, server: str, names: TenantNames) -> Marker | None:
        try:
            address = await self._addresses.address(server)
            async with self._servers.connection(address) as connection:
                return await observe_marker(connection, names)
        except (NoAddress, ApiError, DatabaseError, psycopg.Error) as error:
            logger.warning("a server was not asked for a tenant", extra={"server": server, "error": str(error)})
            return None


def candidate(body: RawObject) -> Candidate:
    """Read a DatabaseServer; of one that no pass came to an end over, what bounds it is not known yet."""
    spec, status, metadata = body["spec"], body.get("status") or {}, body["metadata"]
    ready = [one for one in status.get("conditions") or () if one["type"] == ConditionType.READY]
    limits, capacity = spec.get("limits") or {}, status.get("capacity") or {}
    most = capacity.get("tenants", BORNE_BY_ANY)
    return Candidate(
        metadata["name"],
        default=bool(spec.get("default")),
        ready=any(one["status"] == "True" for one in ready),
        leaving=bool(metadata.get("deletionTimestamp")),
        most_tenants=min(limits.get("tenants", most), most),
        logins=capacity.get("serviceLogins", 1),
        most_per_login=capacity.get("tenantsPerLogin", BORNE_BY_ANY),
    )


def seated(desired: DesiredTenant, observed: ObservedTenant, choice: Choice) -> DesiredTenant:
    """Give the tenant the seat that was chosen; without a row, the login that reaches it on the server."""
    seat = choice.seat
    if observed.row is None:
        login = kept_login(desired.names, observed.catalogue.memberships, otherwise=seat.login)
        seat = replace(seat, login=login)
    before = desired.drift.before
    # What was applied before had the same seat: a tenant that is given another one is drift.
    drift = replace(desired.drift, before=replace(before, seat=seat)) if before else desired.drift
    return replace(desired, seat=seat, drift=drift)
