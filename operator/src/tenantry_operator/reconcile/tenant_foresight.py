"""What a pass over a Tenant would do, without doing it: the first half of a pass, by the same code."""

from dataclasses import dataclass, replace

from tenantry_crds import Tenant
from tenantry_operator.clients.postgres import ServerAddress
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant
from tenantry_operator.observe.secrets import observe_secret
from tenantry_operator.plan.tenant import Plan, plan_tenant
from tenantry_operator.plan.tenant_secret_place import may_look
from tenantry_operator.reconcile.tenant import TenantReconciler


@dataclass(frozen=True)
class Foreseen:
    """What is there, what is wanted, and what leads from the one to the other."""

    address: ServerAddress
    desired: DesiredTenant
    observed: ObservedTenant
    plan: Plan
    prepared: bool
    """Whether the server is ready for tenants; a pass waits until it is."""


class TenantForesight(TenantReconciler):
    """Looks and plans as the operator does. Give it a client and connections that cannot write."""

    async def foresee(self, tenant: Tenant) -> Foreseen:
        """Observe and plan. Raises Blocked, NeverPlaced, ApiError."""
        _, address, desired, observed, _, prepared = await self.look(tenant, await self._registry())
        if observed.secret is None and may_look(desired, observed.namespace):
            # A pass over a Tenant that is new finds a foreign Secret when it makes its own; a plan looks before.
            uid = tenant.metadata.uid
            found = await observe_secret(self._kube, desired.secret_name, desired.secret_namespace, owner_uid=uid)
            observed = replace(observed, secret=found)
        return Foreseen(address, desired, observed, plan_tenant(desired, observed), prepared)
