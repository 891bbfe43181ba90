"""What holds a Tenant that was deleted, beyond its own protection: a CRD that leaves, and the breaker."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import psycopg

from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.clients.kube import CUSTOMRESOURCEDEFINITIONS, ApiError, Kube
from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.breaker import Breaker
from tenantry_operator.model.tenant import DesiredTenant
from tenantry_operator.observe.registry import count_all_tenants
from tenantry_operator.plan.actions import TenantAction
from tenantry_operator.plan.breaker import drops_data
from tenantry_operator.plan.status import Problem
from tenantry_operator.reconcile.tenant_blocked import Blocked
from tenantry_operator.reconcile.tenant_execution import database_problem, kubernetes_problem


class TenantHold:
    """Asked in each pass of a Tenant that leaves; it knows whom the breaker holds, to wake them when it is reset."""

    def __init__(self, kube: Kube, servers: Servers, breaker: Breaker) -> None:
        self._kube = kube
        self._servers = servers
        self._breaker = breaker
        self._held: set[str] = set()

    async def looked_at(self, desired: DesiredTenant) -> DesiredTenant:
        """Say of a Tenant that leaves whether its CRD leaves, too. Raises Blocked when nobody tells."""
        if desired.deletion is None:
            return desired
        try:
            body = await self._kube.get(CUSTOMRESOURCEDEFINITIONS, api.TENANTS_CRD)
        except ApiError as error:
            raise Blocked(kubernetes_problem(error), desired=desired) from error
        # One that cannot be found is one that has gone just now.
        leaves = body is None or bool(body["metadata"].get("deletionTimestamp"))
        return replace(desired, deletion=replace(desired.deletion, definition_leaves=leaves))

    async def from_dropping(
        self, desired: DesiredTenant, actions: Sequence[TenantAction], registry: ServerAddress
    ) -> Problem | None:
        """Have the breaker take note that data is going to be dropped; say why it may not be."""
        name = desired.names.name
        self._held.discard(name)
        if not drops_data(actions):
            return None
        try:
            async with self._servers.connection(registry) as connection:
                tenants = await count_all_tenants(connection)
            latch = await self._breaker.begin_drop(uid=desired.uid, name=name, tenants=tenants)
        except (DatabaseError, psycopg.Error) as error:
            return database_problem(error, server=registry.name)
        except ApiError as error:
            return kubernetes_problem(error)
        if latch is None:
            return None
        self._held.add(name)
        said = (
            f"the breaker is open since {latch.since:%Y-%m-%dT%H:%M:%SZ}: {latch.message}. No data is dropped until "
            "`tenantry breaker reset`; `tenantry breaker status` names the Tenants that wait"
        )
        return Problem(Reason.BREAKER_OPEN, said, lasting=True)

    async def released(self) -> Collection[str]:
        """Name those whom the breaker held and holds no more. Raises ApiError."""
        latch = await self._breaker.latch()
        if latch is not None:
            return ()
        released, self._held = self._held, set()
        return released
