"""The status of a Tenant."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from tenantry_crds import (
    Binding,
    ConditionType,
    Lifecycle,
    MigrationStatus,
    Tenant,
    TenantPhase,
    TenantStatus,
    absent,
)
from tenantry_crds.reasons import Reason
from tenantry_operator.model.tenant import DesiredTenant
from tenantry_operator.plan.credentials_status import credentials_message, credentials_status
from tenantry_operator.plan.status import Problem, Said, conditions, overall
from tenantry_operator.plan.tenant_isolation import IsolationVerdict, isolation_said, verified_at
from tenantry_operator.plan.tenant_reader import has_reader
from tenantry_operator.plan.tenant_reporting import drift_listed, drift_said
from tenantry_operator.plan.tenant_rotation import Rotation

WELL = {
    Lifecycle.ACTIVE: (Reason.PROVISIONED, TenantPhase.READY, "schemas, roles and credentials are in place"),
    Lifecycle.SUSPENDED: (
        Reason.SUSPENDED,
        TenantPhase.SUSPENDED,
        "suspended: nobody logs in, and the services refuse the tenant; data and credentials are kept",
    ),
    Lifecycle.ARCHIVED: (
        Reason.ARCHIVED,
        TenantPhase.ARCHIVED,
        "archived: there is no login and no Secret, and the services refuse the tenant; the data is kept",
    ),
}
"""What is said of a Tenant that is as its lifecycle wants it."""

DROP_BEGUN = "the drop had begun before spec.deletionPolicy became Retain: it cannot be undone, and is finished"
HOLDING = frozenset({Reason.PROTECTED, Reason.CRD_TERMINATING, Reason.BREAKER_OPEN})
ABOUT_CREDENTIALS = frozenset({Reason.KUBERNETES_ERROR})
WITHOUT_NAMESPACE = frozenset({Reason.NOT_OURS, Reason.NAMESPACE_TERMINATING})


@dataclass(frozen=True)
class TenantVerdict:
    """What a pass came to."""

    problem: Problem | None = None
    desired: DesiredTenant | None = None
    """None when the pass did not come so far as to know."""
    id: str = ""
    version: str | None = None
    database_in_place: bool = False
    credentials_in_place: bool = False
    drift: tuple[str, ...] | None = None
    """What was changed by hand and is not put right; None when the pass did not come so far as to look."""
    access_taken: bool | None = None
    """Whether nobody gets at the data; None when the pass did not look."""
    rotation: Rotation | None = None
    """How it stands with the logins, if the plan was carried out."""
    finishes_drop: bool = False
    """Whether the rest is dropped, since a drop had begun, though the policy is to keep the data by now."""
    half_gone: bool = False
    """Whether an earlier pass has begun to let a Tenant go that is held now."""
    isolation: IsolationVerdict | None = None
    """None when the pass did not come so far as to look."""
    credentials_problem: Problem | None = None
    """Why nothing was done about the credentials."""
    namespace: "NamespaceVerdict | None" = None
    """None when the pass did not come so far as to look at it."""


@dataclass(frozen=True)
class NamespaceVerdict:
    """What a pass came to about the namespace; without a problem it is in place."""

    problem: Problem | None = None


def tenant_status(tenant: Tenant, verdict: TenantVerdict, *, now: datetime) -> TenantStatus:
    """Say what is; of what the pass did not learn, the last word stays."""
    before = tenant.status
    said = conditions(_said(tenant, verdict), before.conditions, generation=tenant.metadata.generation, now=now)
    changes: dict[str, object] = {
        "observed_generation": tenant.metadata.generation,
        "phase": _phase(tenant, verdict),
        "conditions": said,
        "effective": absent.effective(tenant.spec, tenant.metadata.name),
        "drift": drift_listed(verdict.drift, before.drift, now=now),
        "verified_at": verified_at(isolation_said(verdict.isolation), before.verified_at, now=now),
    }
    return before.model_copy(update=changes | _learnt(verdict))


def _learnt(verdict: TenantVerdict) -> dict[str, object]:
    desired = verdict.desired
    if desired is None:
        return {}
    names, layout = desired.names, desired.layout
    learnt: dict[str, object] = {
        "database_server": desired.place.server,
        "database": desired.place.database,
        "migration": MigrationStatus(current=verdict.version, target=desired.released),
    }
    archived = desired.lifecycle is Lifecycle.ARCHIVED
    if verdict.database_in_place:
        logins = verdict.rotation.logins if verdict.rotation else ()
        learnt |= {"id": verdict.id, "schema_name": layout.customers.schema}
        groups = (role for role in layout.group_roles if role != names.readonly or has_reader(desired))
        learnt["roles"] = (*groups, *sorted(logins))
    if verdict.credentials_in_place and archived:
        learnt |= {"binding": None, "credentials": None}
    elif verdict.credentials_in_place:
        learnt["binding"] = Binding(name=desired.secret_name, namespace=desired.secret_namespace)
        learnt["credentials"] = verdict.rotation and credentials_status(names, verdict.rotation)
    return learnt


def _phase(tenant: Tenant, verdict: TenantVerdict) -> TenantPhase:
    if tenant.metadata.is_terminating:
        return TenantPhase.DELETING
    if verdict.problem is None:
        return WELL[absent.lifecycle(tenant.spec)][1]
    if verdict.problem.lasting:
        return TenantPhase.FAILED
    return TenantPhase.PROVISIONING if verdict.desired else TenantPhase.PENDING


def _said(tenant: Tenant, verdict: TenantVerdict) -> Iterator[Said]:
    if tenant.metadata.is_terminating:
        yield from _leaving(tenant, verdict)
        return
    ready, _, message = WELL[absent.lifecycle(tenant.spec)]
    yield from overall(verdict.problem, ready=ready, message=message)
    yield _suspended(absent.lifecycle(tenant.spec), verdict.access_taken)
    yield _database(verdict)
    yield _credentials(verdict)
    yield _migrations(tenant, verdict)
    yield drift_said(verdict.drift)
    yield isolation_said(verdict.isolation)
    if tenant.spec.namespace is not None:
        yield _namespace(verdict)


def _leaving(tenant: Tenant, verdict: TenantVerdict) -> Iterator[Said]:
    problem = verdict.problem
    if problem is None:
        problem = Problem(Reason.DELETING, "the Tenant is being deleted")
    if verdict.finishes_drop:
        problem = replace(problem, message=f"{problem.message}; {DROP_BEGUN}")
    held = problem.reason in HOLDING and not verdict.half_gone
    # A Tenant that is held serves on; one that is half gone does not.
    kept = {condition.type: condition for condition in tenant.status.conditions}
    ready = kept.get(ConditionType.READY.value)
    if held and ready is not None:
        yield Said(ConditionType.READY, ready.status, Reason(ready.reason), ready.message)
        yield Said(ConditionType.RECONCILING, "False", Reason.RECONCILED)
        yield Said(ConditionType.STALLED, "False", Reason.RECONCILED)
        if (one := kept.get(ConditionType.SUSPENDED.value)) is not None:
            yield Said(ConditionType.SUSPENDED, one.status, Reason(one.reason), one.message)
    else:
        yield from overall(problem, ready=Reason.DELETING)
    yield Said(ConditionType.DELETING, "True", problem.reason, problem.message)


def _suspended(wanted: Lifecycle, taken: bool | None) -> Said:
    """Say whether access is taken, and whether that is what is wanted."""
    kind = ConditionType.SUSPENDED
    if taken is None:
        return Said(kind, "Unknown", Reason.PROVISIONING, "not looked at in this pass")
    if wanted is Lifecycle.ACTIVE:
        return Said(kind, "True", Reason.RESUMING) if taken else Said(kind, "False", Reason.ACTIVE)
    return Said(kind, "True", WELL[wanted][0]) if taken else Said(kind, "False", Reason.SUSPENDING)


def _database(verdict: TenantVerdict) -> Said:
    problem = verdict.problem
    if verdict.database_in_place:
        return Said(ConditionType.DATABASE_READY, "True", Reason.PROVISIONED)
    if problem is not None and problem.reason not in ABOUT_CREDENTIALS:
        return Said(ConditionType.DATABASE_READY, "False", problem.reason, problem.message)
    return Said(ConditionType.DATABASE_READY, "Unknown", Reason.PROVISIONING)


def _credentials(verdict: TenantVerdict) -> Said:
    problem, desired = verdict.problem, verdict.desired
    if verdict.credentials_in_place and desired is not None and desired.lifecycle is not Lifecycle.ACTIVE:
        what = (
            "there are none" if desired.lifecycle is Lifecycle.ARCHIVED else "the Secret is kept, its login is closed"
        )
        return Said(ConditionType.CREDENTIALS_READY, "False", WELL[desired.lifecycle][0], what)
    if verdict.credentials_in_place:
        return Said(ConditionType.CREDENTIALS_READY, "True", Reason.ISSUED, credentials_message(verdict.rotation))
    problem = verdict.credentials_problem or problem
    if problem is not None and problem.reason in ABOUT_CREDENTIALS | WITHOUT_NAMESPACE:
        return Said(ConditionType.CREDENTIALS_READY, "False", problem.reason, problem.message)
    return Said(ConditionType.CREDENTIALS_READY, "Unknown", Reason.PROVISIONING, "not looked at in this pass")


def _namespace(verdict: TenantVerdict) -> Said:
    kind, seen = ConditionType.NAMESPACE_READY, verdict.namespace
    if seen is None:
        return Said(kind, "Unknown", Reason.PROVISIONING, "not looked at in this pass")
    if seen.problem is None:
        return Said(kind, "True", Reason.PROVISIONED)
    return Said(kind, "False", seen.problem.reason, seen.problem.message)


def _migrations(tenant: Tenant, verdict: TenantVerdict) -> Said:
    kind = ConditionType.MIGRATIONS_UP_TO_DATE
    if verdict.problem is not None and verdict.problem.reason is Reason.MIGRATION_FAILED:
        return Said(kind, "False", Reason.MIGRATION_FAILED, verdict.problem.message)
    if verdict.version is None or verdict.desired is None:
        return Said(kind, "Unknown", Reason.PROVISIONING, "not looked at in this pass")
    if verdict.version == verdict.desired.released:
        return Said(kind, "True", Reason.AT_TARGET)
    said = f"the schema is at {verdict.version}, {verdict.desired.released} is released"
    if _is_past(verdict.desired, verdict.version):
        return Said(kind, "True", Reason.AHEAD_OF_RELEASE, said)
    held = bool(absent.migrations(tenant.spec).hold)
    return Said(kind, "False", Reason.HELD if held else Reason.BEHIND, said)


def _is_past(desired: DesiredTenant, version: str) -> bool:
    """Whether a revision follows the released one; what is granted is known in the order of the history."""
    known = list(desired.service_tables)
    return {version, desired.released} <= set(known) and known.index(version) > known.index(desired.released)
