"""What the operator tells Prometheus: over HTTP, of a real process, after what each metric is about has happened."""

from collections.abc import Callable, Iterator

import pytest

from tenantry_cluster import Layout
from tenantry_crds import names as api
from tenantry_operator.model.names import TenantNames
from tenantry_testing.faults.administrator import MIGRATIONRUNS, TENANTS
from tenantry_testing.faults.api_faults import ENDLESS, ApiFault, Harm, WatchFault
from tenantry_testing.faults.world import SECRETS, FaultWorld
from tenantry_testing.operator_process import OperatorProcess

Metric = Callable[..., float]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with FaultWorld.open(Layout.of_checkout()) as world:
        yield world


@pytest.fixture(scope="module")
def operator(world: FaultWorld) -> Iterator[OperatorProcess]:
    # One worker, so that a few objects have to wait for it; and the second drop within the window is one too many.
    with world.operator(TENANTRY_WORKERS="1", TENANTRY_BREAKER_DROPS="1") as operator:
        world.wait(world.server_is_ready, "the DatabaseServer is Ready")
        yield operator


@pytest.fixture
def metric(operator: OperatorProcess) -> Metric:
    return operator.metric


def rises(world: FaultWorld, metric: Metric, name: str, by: float = 1.0, **labels: str) -> Callable[[], None]:
    """Note a value now; wait for it to rise when called."""
    before = metric(name, **labels)
    return lambda: world.wait(lambda: metric(name, **labels) >= before + by, f"{name} {labels} rises by {by}")


def make(world: FaultWorld, name: str, **spec: object) -> None:
    world.apply(name, **spec)
    world.wait(lambda: world.is_ready(name), f"{name} is Ready")


def test_passes_sweeps_and_requests_are_counted(world: FaultWorld, metric: Metric) -> None:
    told = [
        rises(world, metric, "tenantry_reconcile_total", kind="Tenant", outcome="ok"),
        rises(world, metric, "tenantry_reconcile_seconds_count", kind="Tenant"),
        rises(world, metric, "tenantry_queue_wait_seconds_count", kind="Tenant"),
        rises(world, metric, "tenantry_actions_total", kind="Tenant", action="CreateRole", outcome="done"),
        rises(world, metric, "tenantry_objects", kind="Tenant"),
        rises(world, metric, "tenantry_conditions", kind="Tenant", condition="Ready", status="True"),
        rises(world, metric, "tenantry_watch_events_total", kind="Tenant"),
        rises(world, metric, "tenantry_api_requests_total", method="PATCH", status="200"),
        rises(world, metric, "tenantry_sweep_total", by=2, kind="Tenant", outcome="ok"),
    ]
    make(world, "counted")
    for one in told:
        one()
    assert 0 < metric("tenantry_sweep_seconds", kind="Tenant") < 60
    assert metric("tenantry_leader") == 1
    assert metric("tenantry_crd_outdated", crd="tenants.tenantry.dev") == 0
    # kopf does not end in a world that is well; what it looks like when it does, nobody can arrange from outside.
    assert metric("tenantry_watch_restarts_total") == 0


def test_drift_is_counted_as_found_and_as_repaired(world: FaultWorld, metric: Metric) -> None:
    make(world, "drifted")
    told = [
        rises(world, metric, "tenantry_drift_found_total", action="AlterRole"),
        rises(world, metric, "tenantry_drift_repaired_total", action="AlterRole"),
        rises(world, metric, "tenantry_sweep_found_total", kind="Tenant"),
    ]
    world.execute(f"ALTER ROLE {TenantNames('drifted').logins[0]} NOINHERIT")
    for one in told:
        one()


def test_drift_that_is_left_is_told_by_its_condition(world: FaultWorld, metric: Metric) -> None:
    make(world, "reported", driftPolicy="Report")
    told = rises(world, metric, "tenantry_conditions", kind="Tenant", condition="DriftDetected", status="True")
    world.execute(f"ALTER ROLE {TenantNames('reported').logins[0]} CONNECTION LIMIT 9")
    told()


def test_a_hole_and_the_checks_that_see_it_are_counted(world: FaultWorld, metric: Metric) -> None:
    told = [
        rises(world, metric, "tenantry_isolation_checks_total", check="catalogue", outcome="held"),
        rises(world, metric, "tenantry_isolation_checks_total", check="log-in", outcome="held"),
    ]
    make(world, "verified")
    for one in told:
        one()
    assert 1.7e9 < metric("tenantry_isolation_checked_timestamp_seconds", check="log-in") < 1e10
    told = [
        rises(world, metric, "tenantry_isolation_holes_total", hole="Schema"),
        rises(world, metric, "tenantry_conditions", kind="Tenant", condition="IsolationVerified", status="False"),
    ]
    world.execute("CREATE SCHEMA shared", "GRANT CREATE ON SCHEMA shared TO PUBLIC")
    try:
        for one in told:
            one()
    finally:
        world.execute("DROP SCHEMA shared")


def test_rotations_and_lost_secrets_are_counted_and_the_oldest_is_told(world: FaultWorld, metric: Metric) -> None:
    make(world, "rotated", credentials={"rotation": {"interval": "0s", "overlap": "1s"}})
    oldest = metric("tenantry_oldest_rotation_timestamp_seconds", credentials_ready="True")
    assert 1.7e9 < oldest < 1e10
    told = [
        rises(world, metric, "tenantry_rotations_total", outcome="published"),
        rises(world, metric, "tenantry_rotations_total", outcome="retired"),
    ]
    world.administrator.patch(f"{TENANTS}/rotated", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})
    for one in told:
        one()
    lost = rises(world, metric, "tenantry_secrets_lost_total")
    world.administrator.delete(f"{SECRETS}/rotated-database")
    lost()


def test_what_stands_in_the_way_is_counted_by_its_word(world: FaultWorld, metric: Metric) -> None:
    told = [
        rises(world, metric, "tenantry_errors_total", kind="Tenant", error="ServerNotFound"),
        rises(world, metric, "tenantry_conditions", kind="Tenant", condition="Stalled", status="True"),
    ]
    world.apply("misplaced", databaseServer="nowhere")
    for one in told:
        one()
    refused = rises(world, metric, "tenantry_errors_total", kind="Tenant", error="Forbidden")
    world.api.faults.append(ApiFault(Harm.REFUSE, method="PATCH", path="/tenants/", times=1, status=403))
    try:
        world.change("misplaced", displayName="Another")
        refused()
    finally:
        world.api.heal()
    assert metric("tenantry_errors_total", error="Unexpected") == 0


def test_what_waits_and_what_fails_is_told(world: FaultWorld, metric: Metric) -> None:
    names = [f"waiting-{number}" for number in range(4)]
    world.database.delay = 0.15
    try:
        for name in names:
            world.apply(name)
        world.wait(
            lambda: metric("tenantry_queue_depth") >= 2 and metric("tenantry_queue_oldest_seconds") > 0.1,
            "objects wait for the one worker",
        )
    finally:
        world.database.delay = 0.0
    world.wait(lambda: all(map(world.is_ready, names)), "all are Ready")
    world.api.faults.append(ApiFault(Harm.REFUSE, method="PATCH", path="/tenants/", times=ENDLESS))
    try:
        world.change(names[0], displayName="Another")
        world.wait(lambda: metric("tenantry_queue_failing") >= 1, "an object is failing")
    finally:
        world.api.heal()
    world.wait(lambda: metric("tenantry_queue_failing") == 0, "nothing is failing any more")


def test_what_the_watch_did_not_bring_is_counted(world: FaultWorld, metric: Metric) -> None:
    make(world, "unseen")
    missed = rises(world, metric, "tenantry_watch_missed_total", kind="Tenant")
    world.api.watch_faults.append(WatchFault("/tenants$", drop=1))
    try:
        world.administrator.patch(f"{TENANTS}/unseen", {"metadata": {"labels": {"seen": "no"}}})
        missed()
    finally:
        world.api.heal()


def test_a_watch_that_expired_brings_what_there_is_and_goes_on(world: FaultWorld, metric: Metric) -> None:
    make(world, "anew")
    heard = rises(world, metric, "tenantry_watch_events_total", kind="Tenant")
    assert world.api.expire_watches() > 0
    heard()
    passed = rises(world, metric, "tenantry_reconcile_total", kind="Tenant")
    missed = metric("tenantry_watch_missed_total", kind="Tenant")
    world.change("anew", displayName="Heard of")
    passed()
    assert metric("tenantry_watch_missed_total", kind="Tenant") == missed


def test_the_tenants_of_a_run_are_told(world: FaultWorld, metric: Metric) -> None:
    make(world, "moved")
    body = {
        "apiVersion": api.API_VERSION,
        "kind": "MigrationRun",
        "metadata": {"name": "counted"},
        "spec": {"to": "t0001", "phase": "expand", "dryRun": True},
    }
    world.administrator.create(MIGRATIONRUNS, body)
    world.wait(lambda: metric("tenantry_migration_run_tenants", state="done") >= 1, "the run counts its tenants")


def test_what_the_breaker_lets_begin_and_what_it_holds_is_counted(world: FaultWorld, metric: Metric) -> None:
    assert metric("tenantry_breaker_open") == 0
    for name in ("dropped", "held"):
        make(world, name)
    told = [
        rises(world, metric, "tenantry_breaker_drops_total"),
        rises(world, metric, "tenantry_breaker_held_total"),
        rises(world, metric, "tenantry_breaker_open"),
    ]
    for name in ("dropped", "held"):
        world.delete(name)
    for one in told:
        one()


def test_no_series_bears_the_name_of_a_tenant(world: FaultWorld, operator: OperatorProcess) -> None:
    make(world, "an-unmistakable-name")
    assert "unmistakable" not in operator.metrics_text()
