"""The status of a Tenant and its Events: what a person and kstatus read."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tenantry_crds import Lifecycle, Tenant
from tenantry_crds.reasons import Reason
from tenantry_operator.cli.tenant_lifecycle import is_reached
from tenantry_operator.model.credentials import RotationNotes
from tenantry_operator.model.tenant import RowState
from tenantry_operator.plan.actions import CreateRole, RecordTenant, WriteMarker
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant_isolation import Hole, IsolationVerdict
from tenantry_operator.plan.tenant_rotation import Rotation
from tenantry_operator.plan.tenant_status import TenantVerdict, tenant_status
from tenantry_operator.reconcile.tenant_events import events_of, moved_to
from tenantry_testing.tenant_damages import LOGIN, NAMES, make_desired

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 4, tzinfo=UTC)
GOOD = TenantVerdict(
    desired=make_desired(), id="id-1", version="t0001", database_in_place=True, credentials_in_place=True
)
PASSING = TenantVerdict(Problem(Reason.SERVER_UNREACHABLE, "it does not answer"))
LASTING = TenantVerdict(Problem(Reason.NOT_OURS, "it is theirs", lasting=True), desired=make_desired())


def make_tenant(status: dict[str, Any] | None = None, *, leaving: bool = False) -> Tenant:
    metadata: dict[str, Any] = {"name": "acme", "uid": "uid-1", "generation": 3}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"displayName": "Acme", "isolation": "Schema"}
    body = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec}
    return Tenant.model_validate(body | ({"status": status} if status else {}))


def after(verdict: TenantVerdict, tenant: Tenant | None = None, *, now: datetime = NOW) -> dict[str, Any]:
    status = tenant_status(tenant or make_tenant(), verdict, now=now)
    raw: dict[str, Any] = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    return raw


def shown(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


@pytest.mark.parametrize(
    ("verdict", "ready", "reconciling", "stalled"),
    [(GOOD, "True", "False", "False"), (PASSING, "False", "True", "False"), (LASTING, "False", "False", "True")],
)
def test_conditions_follow_kstatus(verdict: TenantVerdict, ready: str, reconciling: str, stalled: str) -> None:
    status = after(verdict)
    conditions = shown(status)
    got = tuple(conditions[one][0] for one in ("Ready", "Reconciling", "Stalled"))
    assert got == (ready, reconciling, stalled)
    assert status["observedGeneration"] == 3
    assert {one["observedGeneration"] for one in status["conditions"]} == {3}


def test_the_same_verdict_gives_the_same_status() -> None:
    first = after(GOOD)
    assert after(GOOD, make_tenant(first), now=LATER) == first


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = after(PASSING)
    second = after(LASTING, make_tenant(first), now=LATER)
    times = {one["type"]: one["lastTransitionTime"] for one in second["conditions"]}
    assert times["Ready"] == "2026-01-02T03:04:05Z"
    assert times["Stalled"] == "2026-01-02T04:00:00Z"


def test_isolation_is_verified_since_its_verdict() -> None:
    good = replace(GOOD, isolation=IsolationVerdict())
    first = after(good)
    assert shown(first)["IsolationVerified"] == ("True", "Verified")
    assert first["verifiedAt"] == "2026-01-02T03:04:05Z"
    assert after(good, make_tenant(first), now=LATER) == first
    broken = after(replace(good, isolation=IsolationVerdict((Hole("Role", "x", "y"),))), make_tenant(first), now=LATER)
    assert shown(broken)["IsolationVerified"] == ("False", "IsolationBroken")
    assert "verifiedAt" not in broken
    assert after(good, make_tenant(broken), now=LATER)["verifiedAt"] == "2026-01-02T04:00:00Z"


def test_what_a_pass_did_not_learn_stays() -> None:
    second = after(PASSING, make_tenant(after(GOOD)))
    assert (second["id"], second["schema"], second["databaseServer"]) == ("id-1", NAMES.schema, "primary")


def test_a_held_tenant_is_shown_as_it_serves() -> None:
    held = TenantVerdict(Problem(Reason.PROTECTED, "protected", lasting=True), desired=make_desired())
    status = shown(after(held, make_tenant(after(GOOD), leaving=True)))
    assert status["Ready"] == ("True", "Provisioned")
    assert status["Deleting"] == ("True", "Protected")


MADE = CreateRole(role="r", reason="it is missing")


def told(problem: Problem | None, *done: object, fresh: bool = False, before: str | None = None) -> list[str]:
    return [event.reason for event in events_of(make_tenant(), problem, done, fresh=fresh, shown={before})]


def test_events_tell_what_happened_once() -> None:
    problem = Problem(Reason.NOT_OURS, "theirs", lasting=True)
    assert told(None, MADE, fresh=True) == ["Provisioned"]
    assert told(None, MADE) == ["Repaired"]
    assert told(None) == []
    assert told(None, RecordTenant(id="1", state="active", reason="x")) == []  # type: ignore[arg-type]
    assert told(problem) == ["NotOurs"]
    assert told(problem, before="NotOurs") == []
    assert told(None, WriteMarker(role="r", marker=None, reason="x")) == ["Adopted"]  # type: ignore[arg-type]


def closed(lifecycle: str, **changes: Any) -> tuple[Tenant, TenantVerdict]:
    tenant = make_tenant()
    tenant = tenant.model_copy(update={"spec": tenant.spec.model_copy(update={"lifecycle": Lifecycle(lifecycle)})})
    desired = make_desired(lifecycle=Lifecycle(lifecycle))
    rotation = Rotation(LOGIN, RotationNotes(NOW), archived=lifecycle == "Archived")
    known = {"desired": desired, "rotation": rotation, "access_taken": lifecycle != "Active"}
    return tenant, replace(GOOD, **{**known, **changes})


@pytest.mark.parametrize("lifecycle", ["Suspended", "Archived"])
def test_a_closed_tenant_is_ready_and_says_so(lifecycle: str) -> None:
    tenant, verdict = closed(lifecycle)
    status = after(verdict, tenant)
    conditions = shown(status)
    assert status["phase"] == lifecycle
    assert conditions["Ready"] == ("True", lifecycle)
    assert conditions["Suspended"] == ("True", lifecycle)
    assert conditions["CredentialsReady"] == ("False", lifecycle)
    assert ("binding" in status) is (lifecycle == "Suspended")
    assert (LOGIN in status["roles"]) is (lifecycle == "Suspended")
    assert ("credentials" in status) is (lifecycle == "Suspended")


@pytest.mark.parametrize(
    ("lifecycle", "taken", "expected"),
    [
        ("Active", False, ("False", "Active")),
        ("Active", True, ("True", "Resuming")),
        ("Active", None, ("Unknown", "Provisioning")),
        ("Suspended", False, ("False", "Suspending")),
        ("Archived", None, ("Unknown", "Provisioning")),
    ],
)
def test_what_is_not_as_wanted_yet(lifecycle: str, taken: bool | None, expected: tuple[str, str]) -> None:
    tenant, verdict = closed(lifecycle, access_taken=taken)
    assert shown(after(verdict, tenant))["Suspended"] == expected


@pytest.mark.parametrize("lifecycle", Lifecycle)
def test_the_command_waits_for_what_the_operator_says(lifecycle: Lifecycle) -> None:
    """Suspending does not wait for the credentials, which stay; archiving and resuming do."""
    for changes, expected in (
        ({}, True),
        ({"credentials_in_place": False, "problem": PASSING.problem}, lifecycle is Lifecycle.SUSPENDED),
        ({"access_taken": lifecycle is Lifecycle.ACTIVE}, False),
        ({"access_taken": None}, False),
    ):
        tenant, verdict = closed(lifecycle.value, **changes)
        body = {"metadata": {"name": "acme", "generation": 3}, "status": after(verdict, tenant)}
        assert is_reached(body, lifecycle) is expected, changes


def test_a_held_tenant_is_shown_as_closed_as_it_is() -> None:
    tenant, verdict = closed("Suspended")
    before = after(verdict, tenant)
    held = TenantVerdict(Problem(Reason.PROTECTED, "protected", lasting=True), desired=make_desired())
    status = shown(after(held, make_tenant(before, leaving=True)))
    assert status["Suspended"] == ("True", "Suspended")


RECORD = RecordTenant(id="1", state=RowState.ACTIVE, reason="x")


@pytest.mark.parametrize(
    ("wanted", "done", "was", "before", "expected"),
    [
        ("Suspended", [RECORD], RowState.ACTIVE, "Active", Reason.SUSPENDED),
        # A crash came between the registry and the status.
        ("Suspended", [MADE], RowState.SUSPENDED, "Active", Reason.SUSPENDED),
        ("Suspended", [MADE], RowState.SUSPENDED, "Suspended", None),
        ("Suspended", [], RowState.SUSPENDED, "Provisioning", None),
        ("Archived", [RECORD], RowState.SUSPENDED, "Suspended", Reason.ARCHIVED),
        ("Active", [RECORD], RowState.ARCHIVED, "Archived", Reason.RESUMED),
        ("Active", [MADE], RowState.ACTIVE, "Active", None),
        ("Active", [RECORD], None, None, None),
    ],
)
def test_a_move_is_told_once(
    wanted: str, done: list[object], was: RowState | None, before: str | None, expected: Reason | None
) -> None:
    assert moved_to(Lifecycle(wanted), done, was=was, shown=before) == expected
