"""What tools that wait for an object read in each state that our pure functions can say (kstatus)."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from tenantry_crds import (
    DatabaseServer,
    Lifecycle,
    MigrationRun,
    MigrationRunPhase,
    ServiceDeploymentStatus,
    Tenant,
    TenantPhase,
)
from tenantry_crds.kinds import KINDS, Kind
from tenantry_crds.reasons import Reason
from tenantry_crds.render import ROOT
from tenantry_operator.model.credentials import RotationNotes
from tenantry_operator.plan.migration import Progress
from tenantry_operator.plan.migration_status import ENDED, RunVerdict, run_status
from tenantry_operator.plan.server_status import ServerVerdict, server_status
from tenantry_operator.plan.service_status import Failure, refused_status, service_status
from tenantry_operator.plan.status import Problem, status_of_unreadable
from tenantry_operator.plan.tenant_rotation import Rotation
from tenantry_operator.plan.tenant_status import NamespaceVerdict, TenantVerdict, tenant_status
from tenantry_testing.crd_examples import example
from tenantry_testing.kstatus import Status, check, compute
from tenantry_testing.rollout_memory import MemoryCluster, service_deployment
from tenantry_testing.tenant_damages import LOGIN, make_desired

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PROBLEMS = [None, *(Problem(reason, "said", lasting=lasting) for reason in Reason for lasting in (False, True))]
GENERATION = 3


def body_of(kind: str, *, leaving: bool = False, **spec: Any) -> dict[str, Any]:
    body: dict[str, Any] = dict(example(kind, "acme", **spec))
    metadata = {"name": "acme", "uid": "uid-1", "generation": GENERATION}
    body["metadata"] = metadata | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {})
    return body


def told(body: dict[str, Any], status: BaseModel) -> dict[str, Any]:
    return {**body, "status": status.model_dump(by_alias=True, exclude_none=True, mode="json")}


def tenant_verdicts() -> Iterator[TenantVerdict]:
    """Every problem, at each point that a pass may have come to, for each lifecycle."""
    for problem, lifecycle, taken in itertools.product(PROBLEMS, Lifecycle, (None, True, False)):
        desired = make_desired(lifecycle=lifecycle)
        beside = NamespaceVerdict(problem)
        far = TenantVerdict(problem, desired=desired, id="1", access_taken=taken, namespace=beside, drift=())
        rotation = Rotation(LOGIN, RotationNotes(NOW), archived=lifecycle is Lifecycle.ARCHIVED)
        whole = replace(
            far,
            version="t0001",
            database_in_place=True,
            credentials_in_place=True,
            drift=("a grant",),
            rotation=rotation,
        )
        yield from (TenantVerdict(problem), far, whole)


@cache
def states_of_tenants() -> list[dict[str, Any]]:
    made = []
    for verdict, leaving in itertools.product(tenant_verdicts(), (False, True)):
        lifecycle = verdict.desired.lifecycle if verdict.desired else Lifecycle.ACTIVE
        body = body_of("Tenant", leaving=leaving, lifecycle=lifecycle.value, namespace={})
        first = told(body, tenant_status(Tenant.model_validate(body), verdict, now=NOW))
        made.append(first)
        if leaving:  # what was said before may be kept, of a Tenant that serves on
            again = replace(verdict, problem=Problem(Reason.PROTECTED, "held", lasting=True))
            made.append(told(body, tenant_status(Tenant.model_validate(first), again, now=NOW)))
    return made


def test_a_tenant_is_read_as_it_is_meant() -> None:
    read = Counter((TenantPhase(body["status"]["phase"]), check(body)) for body in states_of_tenants())
    assert {phase for phase, _ in read} == set(TenantPhase)
    allowed = {
        TenantPhase.PENDING: {Status.IN_PROGRESS},
        TenantPhase.PROVISIONING: {Status.IN_PROGRESS},
        TenantPhase.READY: {Status.CURRENT},
        TenantPhase.SUSPENDED: {Status.CURRENT},
        TenantPhase.ARCHIVED: {Status.CURRENT},
        TenantPhase.DELETING: {Status.TERMINATING},
        TenantPhase.FAILED: {Status.FAILED},
    }
    assert {phase: {status for one, status in read if one is phase} for phase in TenantPhase} == allowed


def test_a_newer_spec_is_in_progress_whatever_is_said() -> None:
    for body in states_of_tenants():
        newer = {**body, "metadata": {**body["metadata"], "generation": GENERATION + 1}}
        assert compute(newer) in {Status.IN_PROGRESS, Status.TERMINATING}


def test_a_server_is_read_as_it_is_meant() -> None:
    seen = set()
    for problem, reached, privileged, leaving in itertools.product(
        PROBLEMS, (None, True, False), (None, True, False), (False, True)
    ):
        body = body_of("DatabaseServer", leaving=leaving)
        verdict = ServerVerdict(problem, reached=reached, privileged=privileged)
        seen.add(check(told(body, server_status(DatabaseServer.model_validate(body), verdict, now=NOW))))
    assert seen == set(Status)


def test_a_run_is_read_as_it_is_meant() -> None:
    seen = set()
    body = body_of("MigrationRun")
    for problem, phase, waits_for in itertools.product(PROBLEMS, MigrationRunPhase, (None, "older")):
        if problem is None and waits_for is None and phase not in {*ENDED, MigrationRunPhase.RUNNING}:
            continue  # a run that has not begun says why
        verdict = RunVerdict(phase, Progress(), problem=problem, waits_for=waits_for)
        read = check(told(body, run_status(MigrationRun.model_validate(body), verdict, now=NOW)))
        if problem is None:
            done = waits_for is None and phase in ENDED
            assert read is (Status.CURRENT if done else Status.IN_PROGRESS), verdict
        seen.add(read)
    assert seen == set(Status) - {Status.TERMINATING}


def test_a_service_is_read_as_it_is_meant() -> None:
    """Each step of a release, with each failure of a write; the property of rollouts checks what else there is."""
    seen = set()
    cluster = MemoryCluster(service_deployment(), broken={"bad"})
    for image in ("a", "b", "bad"):
        cluster.ask(image=image)
        for _ in range(4):
            plan = cluster.plan()
            for failure in (None, *(Failure(reason, "said") for reason in Reason)):
                status = service_status(plan, ServiceDeploymentStatus(), failure=failure)
                body = {"metadata": {"generation": cluster.desired.generation}}
                seen.add(check(told(body, status)))
            cluster.reconcile()
            cluster.turn(400)
    assert seen >= {Status.CURRENT, Status.IN_PROGRESS}
    refused = refused_status(GENERATION, ServiceDeploymentStatus(), error="unknown", now=NOW)
    assert check(told(body_of("ServiceDeployment"), refused)) is Status.FAILED


def test_what_this_version_cannot_read_has_failed() -> None:
    problem = Problem(Reason.INVALID_SPEC, "spec.future: unknown", lasting=True)
    for state in states_of_tenants():
        for before in ({}, state):
            body = {**body_of("Tenant"), **{key: value for key, value in before.items() if key == "status"}}
            status = status_of_unreadable(body, problem, now=NOW)
            assert check({**body, "status": status}) is Status.FAILED


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_before_the_first_pass_it_is_in_progress(kind: Kind) -> None:
    """The schema's default; on a real server in tests/integration/test_crds_server.py."""
    manifest = yaml.safe_load((ROOT / f"crds/manifests/{kind.plural}.yaml").read_text())
    schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    default = schema["properties"]["status"]["default"]
    assert default == {"observedGeneration": -1}
    assert compute({"metadata": {"generation": 1}, "status": default}) is Status.IN_PROGRESS


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ({}, Status.CURRENT),
        ({"observedGeneration": 2}, Status.IN_PROGRESS),
        ({"conditions": [{"type": "Ready", "status": "Unknown"}]}, Status.IN_PROGRESS),
        ({"observedGeneration": 3, "conditions": [{"type": "Ready", "status": "True"}]}, Status.CURRENT),
        ({"conditions": [{"type": "Stalled", "status": "True"}, {"type": "Ready", "status": "True"}]}, Status.FAILED),
    ],
)
def test_the_rules_themselves(status: dict[str, Any], read: Status) -> None:
    assert compute({"metadata": {"generation": 3}, "status": status}) is read
