"""What a pass makes of drift: what is left, what is counted, what is told, and what comes back again and again."""

from collections.abc import Sequence

from tenantry_crds import Tenant
from tenantry_crds.reasons import Reason
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.names import is_customers_role
from tenantry_operator.model.tenant import DesiredTenant
from tenantry_operator.plan.actions import TAKEN_BACK, RevokeForeign
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant import Plan
from tenantry_operator.plan.tenant_reporting import BROKEN, describe
from tenantry_operator.reconcile.tenant_events import DriftTold


def drift_left(plan: Plan, done: Sequence[object]) -> tuple[str, ...]:
    """Name what drifted and is not put right, each once."""
    return tuple(dict.fromkeys(describe(action) for action in plan.drift if action not in done))


def drift_told(tenant: Tenant, desired: DesiredTenant, plan: Plan) -> DriftTold:
    """Return what an Event is to say. What the status lists already was told."""
    known = {one.what for one in tenant.status.drift}
    reported = dict.fromkeys(describe(action) for action in plan.drift if action in plan.held)
    changed = desired.drift.before is not None or desired.drift.unknown
    return DriftTold(changed, plan.drift, tuple(what for what in reported if what not in known))


def count_drift(metrics: Metrics, tenant: Tenant, plan: Plan, *, done: Sequence[object]) -> None:
    """Count what was found once, however many passes see it, and what was repaired."""
    known = {one.what for one in tenant.status.drift}
    for action in plan.drift:
        kind = type(action).__name__
        if describe(action) not in known:
            metrics.drift_found.labels(kind).inc()
        if action in done:
            metrics.drift_repaired.labels(kind).inc()


def only_left_out(problem: Problem | None) -> bool:
    """Whether all was done but what only an administrator can undo, or what drift is left as it is."""
    left_out = BROKEN | {Reason.PRIVILEGES_MISSING, Reason.EXTENSION_UNAVAILABLE}
    return problem is not None and problem.lasting and problem.reason in left_out


class TakenBack:
    """Remembers what each Tenant's last pass took back, to notice what does not hold."""

    def __init__(self) -> None:
        self._before: dict[str, frozenset[object]] = {}

    def again(self, name: str, done: Sequence[object]) -> Problem | None:
        """Say so when this pass took back what the one before had taken back.

        What another tenant gave of its own is left out: it may do so as often as it likes, and its victim is well.
        """
        before = self._before.pop(name, frozenset())
        now = frozenset(action for action in done if isinstance(action, TAKEN_BACK) and not _is_their_own(action))
        if now:
            self._before[name] = now
        if not (again := now & before):
            return None
        said = f"this was taken back and is there again: {'; '.join(sorted(map(str, again)))[:500]}"
        return Problem(Reason.PRIVILEGES_MISSING, said, lasting=True)


def _is_their_own(action: object) -> bool:
    return isinstance(action, RevokeForeign) and is_customers_role(action.grant.owner)
