"""Two operators as processes, each with its shard of the Tenants."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tenantry_cluster import Layout
from tenantry_crds import names
from tenantry_operator.model.names import TenantNames
from tenantry_testing.faults.administrator import TENANTS
from tenantry_testing.faults.dump import difference, dump
from tenantry_testing.faults.world import SYSTEM, FaultWorld
from tenantry_testing.operator_process import OperatorProcess

EAST = {names.LABEL_SHARD: "east"}
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
MOVES = 8

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with FaultWorld.open(Layout.of_checkout()) as world:
        yield world


@pytest.fixture(scope="module")
def operators(world: FaultWorld) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """The default shard's, and that of shard east."""
    with ExitStack() as stack:
        default = world.operator(pod="default-0", TENANTRY_SHARDS="east")
        east = world.operator(pod="east-0", TENANTRY_SHARD="east")
        for one in (default, east):
            stack.callback(one.close)
            one.start()
        for one in (default, east):
            one.wait_working()
        world.wait(world.server_is_ready, "the DatabaseServer is Ready")
        yield default, east


def make(world: FaultWorld, name: str, *, shard: str | None = None) -> None:
    world.apply(name, labels={names.LABEL_SHARD: shard} if shard else {})
    world.wait(lambda: world.is_ready(name), f"{name} is Ready")


def shard_of(world: FaultWorld, name: str) -> str | None:
    with world.postgres.connect("tenantry") as registry:
        row = registry.execute("SELECT shard FROM tenantry.tenants WHERE name = %s", [name]).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


def worked_on(operator: OperatorProcess, name: str) -> bool:
    return any(
        line.get("event") == "Tenant reconciled" and line.get("tenant") == name
        for line in operator.lines(all_starts=True)
    )


def sessions(world: FaultWorld, leadership: str) -> set[int]:
    """The sessions whose name is that of an operator's, as a LIKE pattern."""
    with world.postgres.connect() as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s"
        return {pid for (pid,) in connection.execute(query, [leadership]).fetchall()}


def test_each_operator_looks_after_its_own(
    world: FaultWorld, operators: tuple[OperatorProcess, OperatorProcess]
) -> None:
    default, east = operators
    for name, shard in (("plain", None), ("in-east", "east"), ("nowhere", "west")):
        make(world, name, shard=shard)
    assert [shard_of(world, name) for name in ("plain", "in-east", "nowhere")] == [None, "east", "west"]
    assert [worked_on(default, name) for name in ("plain", "in-east", "nowhere")] == [True, False, True]
    assert [worked_on(east, name) for name in ("plain", "in-east", "nowhere")] == [False, True, False]
    counted = {one.pod_name: one.metric("tenantry_objects", kind="Tenant") for one in operators}
    assert counted["east-0"] == 1, "each Tenant is counted by one operator"
    assert counted["default-0"] == len(world.administrator.list(TENANTS)) - 1
    holders = {one["metadata"]["name"]: one["spec"]["holderIdentity"] for one in world.administrator.list(LEASES)}
    assert (holders["tenantry-operator"], holders["tenantry-operator-east"]) == ("default-0", "east-0")
    assert sessions(world, "tenantry:default-0:1")
    assert sessions(world, "tenantry:east-0:east:1")
    # Drift is found by the sweep of the one whose Tenant it is.
    repaired = default.metric("tenantry_drift_repaired_total")
    world.execute(f"ALTER ROLE {TenantNames('in-east').logins[0]} NOINHERIT")
    world.wait(lambda: east.metric("tenantry_drift_repaired_total") > 0, "the drift is repaired")
    assert default.metric("tenantry_drift_repaired_total") == repaired


def test_a_new_leader_of_one_shard_leaves_the_sessions_of_the_other_alone(
    world: FaultWorld, operators: tuple[OperatorProcess, OperatorProcess]
) -> None:
    _, east = operators
    before, others = sessions(world, "tenantry:east-0:east:%"), sessions(world, "tenantry:default-0:%")
    assert before
    assert others
    east.restart()
    world.wait(lambda: bool(sessions(world, "tenantry:east-0:east:%") - before), "the new leader has sessions")
    assert not before & sessions(world, "tenantry:east-0:east:%"), "those of the one before are ended"
    assert others <= sessions(world, "tenantry:default-0:%")


def test_a_tenant_that_moves_to_and_fro_is_as_one_that_never_moved(
    world: FaultWorld, operators: tuple[OperatorProcess, OperatorProcess]
) -> None:
    make(world, "mover")
    path = f"{TENANTS}/mover"
    for number in range(1, MOVES + 1):
        labels = {names.LABEL_SHARD: "east" if number % 2 else None}
        spec = {"database": {"connectionLimit": 20 + number}}
        world.administrator.patch(path, {"metadata": {"labels": labels}, "spec": spec})
        if number % 3 == 0:
            world.wait(lambda: world.is_ready("mover"), "the move is over")
    world.apply("settler", database={"connectionLimit": 20 + MOVES})
    uids = {}
    for name in ("mover", "settler"):
        world.wait(lambda name=name: world.is_ready(name), f"{name} is Ready")  # type: ignore[misc]
        body = world.tenant(name)
        assert body is not None
        uids[name] = body["metadata"]["uid"]
    rest(world, operators)
    assert shard_of(world, "mover") is None
    text = dump(world, uids)
    assert not difference(*(one_of(text, mark) for mark in ("", " 1")))
    assert sum(one.metric("tenantry_errors_total", error="Unexpected") for one in operators) == 0


def wait_swept(world: FaultWorld, operator: OperatorProcess) -> None:
    def swept() -> float:
        return operator.metric("tenantry_sweep_total", kind="Tenant", outcome="ok")

    before = swept()
    world.wait(lambda: swept() >= before + 3, "the operator sweeps")


def rest(world: FaultWorld, operators: tuple[OperatorProcess, ...]) -> None:
    """Wait until both have swept twice without a write of any sort."""

    end = time.monotonic() + 60
    while True:
        began = time.monotonic()
        for one in operators:
            wait_swept(world, one)
        if world.effects.quiet_for() >= time.monotonic() - began:
            return
        assert time.monotonic() < end, f"somebody goes on writing: {world.effects.labels()[-10:]}"


def one_of(text: str, mark: str) -> str:
    """Return the lines about one of the dumped Tenants, with its names as if there were no other."""
    words = [f"<{word}{mark}>" for word in ("tenant", "uid", "id")]
    lines = [line for line in text.splitlines() if any(word in line for word in words)]
    for word in ("tenant", "uid", "id"):
        lines = [line.replace(f"<{word}{mark}>", f"<{word}>") for line in lines]
    return "\n".join(sorted(lines))
