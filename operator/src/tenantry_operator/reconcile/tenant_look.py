"""What a pass over a Tenant knows before it decides."""

from typing import NamedTuple

from tenantry_operator.clients.postgres import ServerAddress
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant
from tenantry_operator.observe.registry import Registered


class Look(NamedTuple):
    """What a pass knows before it decides."""

    registered: Registered
    address: ServerAddress
    desired: DesiredTenant
    observed: ObservedTenant
    facts: str
    prepared: bool
    """Whether the server is ready for tenants; a pass waits until it is."""
