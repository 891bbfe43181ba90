"""What is taken back from the roles that all tenants of a server share: each of it would be every tenant's."""

from tenantry_operator.model.names import TENANTS
from tenantry_operator.model.server import ServerCatalogue
from tenantry_operator.plan.actions import RevokeForeign, RevokeMembership

WHY = "every tenant of the server would be reached by it"

Stray = RevokeMembership | RevokeForeign


def stray_actions(catalogue: ServerCatalogue) -> tuple[Stray, ...]:
    """Return what to take back. Each may be refused to us, and stops nothing else: IsolationVerified names it then."""
    if TENANTS not in catalogue.roles:
        return ()
    memberships = (RevokeMembership(membership=one, reason=WHY) for one in sorted(catalogue.strays))
    grants = (RevokeForeign(grant=one, reason=WHY) for one in sorted(catalogue.group_grants))
    return (*memberships, *grants)
