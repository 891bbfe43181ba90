"""How a pass over a Tenant ends before its time."""

from tenantry_crds import Tenant
from tenantry_crds.reasons import Reason
from tenantry_operator.model.tenant import DesiredTenant, RegistryRow
from tenantry_operator.plan.status import Problem


class Blocked(Exception):
    """The pass cannot go on; the problem says why."""

    def __init__(self, problem: Problem, *, desired: DesiredTenant | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.desired = desired


class NeverPlaced(Exception):
    """A Tenant that leaves was never given a place, so that nothing of it is anywhere."""


def check_place(tenant: Tenant, row: RegistryRow | None) -> None:
    """Raise Blocked when the Tenant asks for another server than the one that has its data."""
    asked = tenant.spec.database_server
    if row is not None and asked is not None and asked != row.server:
        said = f"the data of {tenant.metadata.name} is on DatabaseServer {row.server}, the Tenant asks for {asked}"
        raise Blocked(Problem(Reason.NOT_OURS, said, lasting=True))
