"""What a pass does with the plan's word on credentials: when to look again, what to tell, what to count."""

from collections.abc import Iterable
from datetime import datetime

from tenantry_crds import Tenant, absent
from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.engine.clock import Clock
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.credentials import DesiredCredentials
from tenantry_operator.plan.actions import RetireLogin, WriteSecret


def desired_credentials(tenant: Tenant, *, now: datetime) -> DesiredCredentials:
    """Say when the Tenant's credentials are to be replaced, and what its Secret is to hold besides."""
    given = tenant.spec.credentials
    return DesiredCredentials(
        now=now,
        interval=absent.rotation_interval(tenant.spec),
        overlap=absent.rotation_overlap(tenant.spec),
        rotate=tenant.metadata.annotations.get(api.ANNOTATION_ROTATE),
        template=(given and given.template) or {},
    )


class Timers:
    """Remembers when each Tenant is to be looked at again; a new process learns it from a pass, or is told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, datetime] = {}

    def set(self, name: str, due: datetime | None) -> None:
        if due is None:
            self._due.pop(name, None)
        else:
            self._due[name] = due

    def due(self, name: str) -> datetime | None:
        return self._due.get(name)

    def is_due(self, name: str) -> bool:
        """Whether the time has come: then a pass is needed, though nothing has changed."""
        left = self.left(name)
        return left is not None and left <= 0

    def left(self, name: str) -> float | None:
        """Return the seconds until then."""
        due = self._due.get(name)
        return None if due is None else max(0.0, (due - self._clock.now()).total_seconds())


def credentials_told(done: Iterable[object]) -> tuple[str, Reason, str] | None:
    """Return the type, reason and message of the Event about credentials, if there is anything to tell."""
    for action in done:
        if isinstance(action, WriteSecret) and action.lost:
            where = f"{action.namespace}/{action.name}"
            return "Warning", Reason.SECRET_LOST, f"Secret {where} was gone; {action.login} has a new password"
        if isinstance(action, WriteSecret) and action.rotated:
            return "Normal", Reason.ROTATED, f"Secret {action.namespace}/{action.name} names {action.login} now"
        if isinstance(action, RetireLogin) and action.replaced:
            return "Normal", Reason.RETIRED, f"{action.role} was dropped: {action.reason}"
    return None


def count(metrics: Metrics, planned: Iterable[object], done: Iterable[object]) -> None:
    """Count rotations by what became of them, and lost Secrets."""
    carried_out = [action for action in done if isinstance(action, WriteSecret | RetireLogin)]
    for action in planned:
        if not isinstance(action, WriteSecret | RetireLogin):
            continue
        happened = action in carried_out
        if isinstance(action, WriteSecret) and action.rotated:
            metrics.rotations.labels("published" if happened else "failed").inc()
        elif isinstance(action, WriteSecret) and action.lost and happened:
            metrics.secrets_lost.inc()
        elif isinstance(action, RetireLogin) and action.replaced:
            metrics.rotations.labels("retired" if happened else "failed").inc()
