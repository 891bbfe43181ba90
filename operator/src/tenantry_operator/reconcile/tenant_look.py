"""What a pass over a Tenant knows before it decides."""

from typing import NamedTuple

from tenantry_operator.clients.postgres import ServerAddress
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant
from tenantry_operator.observe.registry import Registered, in_bulk
from tenantry_operator.reconcile.tenant_namespace import versions_seen
from tenantry_operator.reconcile.tenant_sweep import Seen, digest


class Look(NamedTuple):
    """What a pass knows before it decides."""

    registered: Registered
    address: ServerAddress
    desired: DesiredTenant
    observed: ObservedTenant
    facts: str
    prepared: bool
    """Whether the server is ready for tenants; a pass waits until it is."""

    def seen(self) -> Seen:
        """Return what the sweep compares with, to find what has changed since."""
        secret = self.observed.secret
        held = (secret.name, secret.namespace, secret.resource_version) if secret else None
        children = versions_seen(self.observed.namespace)
        row, released = in_bulk(self.registered.row), self.registered.released
        isolation, ways = self.desired.isolation, self.observed.ways
        facts = digest(self.facts, self.desired.service_tables)
        return Seen(self.desired.place, row, released, facts, held, children, isolation, ways)
