"""MigrationRuns on a real Postgres and a real API server: every tenant moved, and each trouble kept to itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry_operator.apply.migration import release
from tenantry_operator.clients.kube import MIGRATIONRUNS, TENANTS, RawObject
from tenantry_operator.clients.postgres import Connection
from tenantry_operator.engine.fence import Fence, FenceError
from tenantry_operator.engine.queue import Key
from tenantry_operator.reconcile import migration
from tenantry_testing.histories import CONTRACT, EXPAND, tenant_history, write_history
from tenantry_testing.tenant_world import TenantWorld

COUNT = 20
NAMES = [f"customer-{number:02}" for number in range(COUNT)]
SHIPPED = "t0001"
WAITING = "SELECT FROM pg_locks WHERE relation = 'tenantry.tenants'::regclass AND NOT granted"


@pytest.fixture
async def fleet(world: TenantWorld, tmp_path: Path) -> AsyncIterator[TenantWorld]:
    """Twenty Tenants at what is released, and an operator that knows two more revisions."""
    for name in NAMES:
        await world.apply_tenant(name)
    await world.reconcile_at_once(NAMES)
    with tenant_history(write_history(tmp_path)):
        yield world


def versions(world: TenantWorld) -> dict[str, str]:
    """What each schema says of itself."""
    schemas = world.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ '^s_' ORDER BY 1")
    asked = ((name, world.fetch(f"SELECT version FROM {name}.schema_version")) for (name,) in schemas)
    return {name.removeprefix("s_").replace("_", "-"): str(rows[0][0]) for name, rows in asked}


def copies(world: TenantWorld) -> dict[str, str]:
    return dict(world.fetch("SELECT name, version FROM tenantry.tenants WHERE state <> 'deleted'", database="tenantry"))  # type: ignore[arg-type]


def released(world: TenantWorld) -> str:
    return str(world.fetch("SELECT revision FROM tenantry.released", database="tenantry")[0][0])


def counts(run: RawObject) -> tuple[str, int, int, int, int]:
    status = run["status"]
    return status["phase"], status["done"], status["failed"], status["held"], status["total"]


def lasting(world: TenantWorld, run: RawObject) -> tuple[Any, ...]:
    return tuple(world.condition(run, kind) for kind in ("Ready", "Stalled", "Reconciling"))


async def expand(world: TenantWorld, name: str = "expand", **spec: Any) -> RawObject:
    return await world.migrate(name, to=EXPAND, phase="expand", **spec)


async def test_a_run_moves_every_tenant_and_releases_the_revision(fleet: TenantWorld) -> None:
    run = await expand(fleet, waves=[{"percent": 10}, {"maxParallel": 8}])
    assert counts(run) == ("Succeeded", COUNT, 0, 0, COUNT), run["status"]
    assert run["status"]["observedGeneration"] == run["metadata"]["generation"]
    assert lasting(fleet, run) == (("True", "Migrated"), ("False", "Reconciled"), ("False", "Reconciled"))
    assert set(versions(fleet).values()) == set(copies(fleet).values()) == {EXPAND}
    assert released(fleet) == EXPAND
    assert [reason for reason, _ in await fleet.events("expand")] == ["Migrating", "Migrated"]
    granted = fleet.fetch("SELECT has_table_privilege('s_customer_00_accounts', 's_customer_00.notes', 'INSERT')")
    assert granted == [(True,)]


async def test_the_tenants_follow_by_their_own_passes_and_new_ones_are_made_at_the_revision(
    fleet: TenantWorld,
) -> None:
    await expand(fleet)
    await fleet.settle()
    old, new = await fleet.tenant(NAMES[0]), await fleet.provision("newcomer")
    assert old["status"]["migration"] == new["status"]["migration"] == {"current": EXPAND, "target": EXPAND}
    assert fleet.condition(old, "MigrationsUpToDate") == ("True", "AtTarget")
    # The same tables, whether moved there or made there.
    shape = (
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = %s::text::regnamespace AND a.attnum > 0"
        " AND NOT a.attisdropped AND c.relkind = 'r' ORDER BY 1, 2"
    )
    assert fleet.fetch(shape, "s_newcomer") == fleet.fetch(shape, "s_customer_00")


async def test_a_tenant_that_is_moved_before_the_release_is_not_said_to_be_behind(fleet: TenantWorld) -> None:
    fleet.execute("DROP TABLE s_customer_01.users")
    run = await expand(fleet)
    assert run["status"]["phase"] == "Failed"
    assert released(fleet) == SHIPPED
    await fleet.settle()
    tenant = await fleet.tenant(NAMES[0])
    assert fleet.condition(tenant, "MigrationsUpToDate") == ("True", "AheadOfRelease")
    assert fleet.condition(tenant, "Ready") == ("True", "Provisioned")


async def test_a_broken_tenant_stops_nobody_else_within_the_budget(fleet: TenantWorld) -> None:
    fleet.execute("ALTER TABLE s_customer_03.users ADD COLUMN locale text")
    run = await expand(fleet, failureBudget=1)
    assert counts(run) == ("Succeeded", COUNT - 1, 1, 0, COUNT)
    assert run["status"]["failures"][0]["tenant"] == NAMES[3]
    assert "locale" in run["status"]["failures"][0]["message"]
    found = versions(fleet)
    assert found.pop(NAMES[3]) == SHIPPED
    assert set(found.values()) == {EXPAND}
    assert ("MigrationFailed", True) in [(r, EXPAND in note) for r, note in await fleet.events(NAMES[3])]
    await fleet.settle()
    tenant = await fleet.tenant(NAMES[3])
    assert fleet.condition(tenant, "MigrationsUpToDate") == ("False", "Behind")
    # Mended, it is caught up by the next run; what is released stays so.
    fleet.execute("ALTER TABLE s_customer_03.users DROP COLUMN locale")
    assert counts(await expand(fleet, "again")) == ("Succeeded", COUNT, 0, 0, COUNT)


async def test_a_run_stops_at_its_budget_and_releases_nothing(fleet: TenantWorld) -> None:
    for number in (0, 1, 2):
        fleet.execute(f"ALTER TABLE s_customer_{number:02}.users ADD COLUMN locale text")
    run = await expand(fleet, failureBudget=1, waves=[{"maxParallel": 1}])
    assert (run["status"]["phase"], run["status"]["failed"]) == ("Failed", 2)
    assert lasting(fleet, run)[:2] == (("False", "FailureBudgetExceeded"), ("True", "FailureBudgetExceeded"))
    assert released(fleet) == SHIPPED
    assert set(versions(fleet).values()) == {SHIPPED}, "the first two in turn failed, and nobody was begun after them"
    fleet.counted.clear()
    assert (await fleet.reconcile_run("expand")).requeue_after is None
    assert fleet.writes() == [], "an ended run costs nothing"


async def test_held_tenants_stay_do_not_block_the_release_and_block_contract(fleet: TenantWorld) -> None:
    await fleet.kube.merge_patch(TENANTS, NAMES[5], {"spec": {"migrations": {"hold": True}}})
    run = await expand(fleet)
    assert counts(run) == ("Succeeded", COUNT - 1, 0, 1, COUNT)
    assert (versions(fleet)[NAMES[5]], released(fleet)) == (SHIPPED, EXPAND)
    await fleet.settle()
    assert fleet.condition(await fleet.tenant(NAMES[5]), "MigrationsUpToDate") == ("False", "Held")
    refused = await fleet.migrate("contract", to=CONTRACT, phase="contract")
    assert (refused["status"]["phase"], lasting(fleet, refused)[1]) == ("Pending", ("True", "TenantsBehind"))
    assert NAMES[5] in fleet.message(refused)
    # A later run, by which the held one catches up, is let by; the hold at the old form is the next thing in the way.
    await fleet.kube.merge_patch(TENANTS, NAMES[5], {"spec": {"migrations": {"hold": False}}})
    assert counts(await expand(fleet, "later")) == ("Succeeded", COUNT, 0, 0, COUNT)
    await fleet.kube.merge_patch(TENANTS, NAMES[5], {"spec": {"migrations": {"hold": True}}})
    await fleet.reconcile_run("contract")
    assert lasting(fleet, await fleet.migration_run("contract"))[1] == ("True", "TenantsHeld")
    assert "locale" in str(
        fleet.fetch("SELECT attname FROM pg_attribute WHERE attrelid = 's_customer_00.users'::regclass")
    )
    await fleet.kube.merge_patch(TENANTS, NAMES[5], {"spec": {"migrations": {"hold": False}}})
    for _ in range(5):
        await fleet.reconcile_run("contract")
    assert counts(await fleet.migration_run("contract")) == ("Succeeded", COUNT, 0, 0, COUNT)
    assert set(versions(fleet).values()) == {CONTRACT}


async def test_a_lock_that_is_held_is_waited_for_shortly_and_costs_one_tenant(fleet: TenantWorld) -> None:
    with fleet.administrator() as holder:
        with holder.transaction():
            holder.execute("LOCK TABLE s_customer_07.users IN ACCESS SHARE MODE")
            run = await asyncio.wait_for(expand(fleet, failureBudget=1, lockTimeout="200ms"), 60)
        assert counts(run) == ("Succeeded", COUNT - 1, 1, 0, COUNT)
        assert run["status"]["failures"][0]["tenant"] == NAMES[7]
        assert "lock timeout (3 attempts)" in run["status"]["failures"][0]["message"]
    assert counts(await expand(fleet, "again"))[:3] == ("Succeeded", COUNT, 0)


async def test_the_oldest_run_goes_first_and_the_others_wait(fleet: TenantWorld) -> None:
    fleet.execute("ALTER TABLE s_customer_00.users ADD COLUMN locale text")
    lock = fleet.fence.hold(NAMES[1])
    async with lock:
        first = await expand(fleet, "a-first", failureBudget=1, waves=[{"maxParallel": 8}])
        assert first["status"]["phase"] == "Running", "one tenant is busy"
        second = await fleet.migrate("b-second", passes=1, to=EXPAND, phase="expand", failureBudget=1)
        assert lasting(fleet, second)[0] == ("False", "WaitingForRun")
        assert "a-first" in fleet.message(second)
    assert (await fleet.reconcile_run("a-first")).failed is False
    assert counts(await fleet.migration_run("a-first"))[0] == "Succeeded"
    await fleet.reconcile_run("b-second")
    assert counts(await fleet.migration_run("b-second"))[:3] == ("Succeeded", COUNT - 1, 1)


async def test_the_younger_waits_for_an_older_one_that_has_not_begun(fleet: TenantWorld) -> None:
    await fleet.apply_run("a-first", to=EXPAND, phase="expand")
    second = await fleet.migrate("b-second", passes=1, to=EXPAND, phase="expand")
    assert lasting(fleet, second)[0] == ("False", "WaitingForRun")
    assert set(versions(fleet).values()) == {SHIPPED}
    await fleet.kube.delete(MIGRATIONRUNS, "a-first")
    await fleet.reconcile_run("b-second")
    assert counts(await fleet.migration_run("b-second"))[0] == "Succeeded"


async def test_a_dry_run_counts_and_changes_nothing(fleet: TenantWorld) -> None:
    await fleet.kube.merge_patch(TENANTS, NAMES[0], {"metadata": {"labels": {"tier": "canary"}}})
    await fleet.kube.merge_patch(TENANTS, NAMES[1], {"spec": {"migrations": {"wave": 1}}})
    await fleet.kube.merge_patch(TENANTS, NAMES[2], {"spec": {"migrations": {"hold": True}}})
    waves = [{"selector": {"matchLabels": {"tier": "canary"}}}]
    run = await expand(fleet, "dry", dryRun=True, waves=waves)
    assert counts(run) == ("Planned", 0, 0, 1, COUNT)
    assert lasting(fleet, run)[0] == ("True", "Planned")
    assert "19 of 20 tenants would be moved" in fleet.message(run)
    assert "2 in wave 1, 17 in wave 2" in fleet.message(run)
    assert set(versions(fleet).values()) == {SHIPPED} == {released(fleet)}
    real = await expand(fleet, "real", waves=waves)
    assert real["status"]["planHash"] == run["status"]["planHash"]


async def test_a_tenants_pass_and_its_move_never_run_side_by_side(fleet: TenantWorld) -> None:
    async with fleet.fence.hold(NAMES[4]):
        run = await fleet.migrate("expand", passes=2, to=EXPAND, phase="expand")
        assert (run["status"]["phase"], run["status"]["done"]) == ("Running", COUNT - 1)
        assert versions(fleet)[NAMES[4]] == SHIPPED
        assert (await fleet.reconcile_once(NAMES[4])).failed
    assert not (await fleet.reconcile_run("expand")).failed
    assert counts(await fleet.migration_run("expand"))[0] == "Succeeded"


async def test_what_another_tenants_marker_guards_is_not_moved(fleet: TenantWorld) -> None:
    fleet.execute("""COMMENT ON ROLE t_customer_06_owner IS 'somebody''s'""")
    run = await expand(fleet, failureBudget=1)
    assert run["status"]["failures"] == [
        {"tenant": NAMES[6], "message": "the marker on t_customer_06_owner is not this tenant's"}
    ]
    assert versions(fleet)[NAMES[6]] == SHIPPED


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"to": "t9999", "phase": "expand"}, "knows no revision t9999"),
        ({"to": EXPAND, "phase": "contract"}, f"{EXPAND} is of phase expand"),
        ({"to": CONTRACT, "phase": "contract"}, f"{EXPAND} is of phase expand"),
    ],
)
async def test_a_run_that_cannot_be_is_refused_and_lets_others_by(
    fleet: TenantWorld, spec: dict[str, str], words: str
) -> None:
    refused = await fleet.migrate("a-refused", **spec)
    assert lasting(fleet, refused)[1] == ("True", "InvalidSpec")
    assert words in fleet.message(refused)
    fleet.counted.clear()
    await fleet.reconcile_run("a-refused")
    assert fleet.writes() == []
    assert counts(await expand(fleet, "b-good"))[0] == "Succeeded"


class Killed(BaseException):
    """The process ends here: nothing catches it, as nothing catches SIGKILL."""


def crash_after(world: TenantWorld, calls: int) -> None:
    left = iter(range(calls))

    def guard() -> None:
        if next(left, None) is None:
            raise Killed

    world.kube._guard = guard
    world.servers._guard = guard


async def test_a_run_resumes_wherever_its_process_dies(fleet: TenantWorld) -> None:
    await fleet.apply_run("expand", to=EXPAND, phase="expand", failureBudget=1, waves=[{"percent": 30}])
    fleet.execute("ALTER TABLE s_customer_03.users ADD COLUMN locale text")
    died, seen = 0, []
    for calls in (1, 3, 5, 8, 12, 17, 23, 30, 40, 50, 60):
        await fleet.refresh()
        crash_after(fleet, calls)
        try:
            await fleet.runs.reconcile(Key("MigrationRun", "expand"))
        except Killed:
            died += 1
        finally:
            fleet.kube._guard = fleet.servers._guard = None
        seen.append(sum(version == EXPAND for version in versions(fleet).values()))
        await fleet.restart()
    assert died >= 5
    assert seen == sorted(seen), "what is moved stays moved"
    for _ in range(5):
        await fleet.reconcile_run("expand")
    run = await fleet.migration_run("expand")
    assert counts(run) == ("Succeeded", COUNT - 1, 1, 0, COUNT)
    found, copied = versions(fleet), copies(fleet)
    assert found == copied, "a copy that a dead process did not write is written"
    assert (released(fleet), run["metadata"]["annotations"]["tenantry.dev/ended"]) == (EXPAND, "Succeeded")


async def test_removing_the_status_changes_nothing(fleet: TenantWorld) -> None:
    run = await expand(fleet)

    async def without_status() -> RawObject:
        bare = [{"op": "add", "path": "/status", "value": {"observedGeneration": -1}}]
        await fleet.kube.json_patch(MIGRATIONRUNS, "expand", bare, subresource="status")
        await fleet.reconcile_run("expand")
        return await fleet.migration_run("expand")

    again = await without_status()
    assert {k: v for k, v in again["status"].items() if k != "conditions"} == {
        k: v for k, v in run["status"].items() if k != "conditions"
    }
    assert fleet.condition(again, "Ready") == ("True", "Migrated")
    # A tenant that came since then, at the older revision, wakes no run that is over.
    fleet.execute(
        "UPDATE s_customer_19.schema_version SET version = 't0001'",
        "ALTER TABLE s_customer_19.users DROP COLUMN locale",
        "DROP TABLE s_customer_19.notes",
    )
    assert counts(await without_status()) == ("Succeeded", COUNT - 1, 0, 0, COUNT)
    assert versions(fleet)[NAMES[19]] == SHIPPED
    assert [reason for reason, _ in await fleet.events("expand")] == ["Migrating", "Migrated"]


async def test_the_lock_of_a_tenant_is_held_once_in_a_process_too(world: TenantWorld) -> None:
    fence: Fence = world.fence
    async with fence.hold("acme"):
        with pytest.raises(FenceError, match="this process"):
            async with fence.hold("acme"):
                pass
        async with fence.hold("globex"):
            pass
    async with fence.hold("acme"):
        pass


async def test_a_tenant_that_is_made_while_the_revision_is_released_is_moved_too(
    world: TenantWorld, tmp_path: Path
) -> None:
    """Its pass has read what is released, and makes the schema after the run's last Tenant was moved."""
    await world.apply_tenant("acme")
    with tenant_history(write_history(tmp_path)), world.administrator("tenantry") as connection:
        with connection.transaction():
            connection.execute("LOCK TABLE tenantry.tenants IN SHARE MODE")
            making = asyncio.create_task(world.reconcile_at_once(["acme"]))
            for _ in range(600):
                if connection.execute(WAITING).rowcount:
                    break
                await asyncio.sleep(0.05)
            await world.apply_run("expand", to=EXPAND, phase="expand")
            await world.reconcile_run("expand")
            run = await world.migration_run("expand")
            assert (released(world), run["status"]["phase"]) == (EXPAND, "Running"), run["status"]
            assert not making.done()
        await making
        assert versions(world) == {"acme": SHIPPED}
        assert counts(await world.migrate("expand", to=EXPAND, phase="expand")) == ("Succeeded", 1, 0, 0, 1)
        await world.reconcile_once("acme")
        acme = await world.tenant("acme")
        assert acme["status"]["migration"] == {"current": EXPAND, "target": EXPAND}
        assert world.condition(acme, "Ready") == ("True", "Provisioned")


async def test_a_tenant_that_is_made_again_after_its_move_is_moved_again(
    world: TenantWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def made_again_before(registry: Connection, *, before: str, to: str) -> bool:
        for name in ("acme", "globex"):
            await world.leave(name, "Delete")
        await world.provision("acme")
        await world.provision("globex", isolation="Database")
        return await release(registry, before=before, to=to)

    monkeypatch.setattr(migration, "release", made_again_before)
    await world.provision("acme")
    await world.provision("globex", isolation="Database")
    with tenant_history(write_history(tmp_path)):
        assert counts(await world.migrate("expand", to=EXPAND, phase="expand")) == ("Succeeded", 2, 0, 0, 2)
        assert copies(world) == {"acme": EXPAND, "globex": EXPAND}
        assert versions(world) == {"acme": EXPAND}


async def test_a_server_that_is_away_is_waited_for_and_costs_no_budget(fleet: TenantWorld) -> None:
    fleet.postgres.stop()
    try:
        result = await fleet.reconcile_run("nobody")
        assert result.requeue_after is None
        await fleet.apply_run("expand", to=EXPAND, phase="expand")
        assert (await fleet.reconcile_run("expand")).failed
        run = await fleet.migration_run("expand")
        assert fleet.condition(run, "Ready") == ("False", "RegistryUnavailable")
    finally:
        fleet.postgres.start()
    for _ in range(10):
        await fleet.reconcile_run("expand")
    assert counts(await fleet.migration_run("expand")) == ("Succeeded", COUNT, 0, 0, COUNT)


async def test_a_step_is_undone_whole(fleet: TenantWorld) -> None:
    fleet.execute("CREATE TABLE s_customer_02.notes (x int)")
    run = await expand(fleet, failureBudget=1)
    assert run["status"]["failed"] == 1
    with pytest.raises(psycopg.errors.UndefinedColumn):
        fleet.execute("SELECT locale FROM s_customer_02.users")
