"""A MigrationRun and the sweep at the same time: what the run did asks for no pass while it goes on, drift does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry_operator.engine.moving import HELD_FOR
from tenantry_testing.fake_clock import FakeClock
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.tenant_world import TenantWorld

MOVED, BUSY = "acme", "globex"
"""The second one is busy while the run is looked at, so that the run does not end."""


@pytest.fixture
async def halfway(world: TenantWorld, tmp_path: Path) -> AsyncIterator[TenantWorld]:
    """A run that has moved one of two Tenants."""
    with tenant_history(write_history(tmp_path)):
        for name in (MOVED, BUSY):
            await world.provision(name)
        await world.settle()
        # As `wiring` does.
        world.runs.moving = world.tenants.moving
        async with world.fence.hold(BUSY):
            await world.apply_run("expand", to=EXPAND, phase="expand")
            await world.reconcile_run("expand")
        assert world.fetch("SELECT version FROM s_acme.schema_version") == [(EXPAND,)]
        assert world.fetch("SELECT version FROM s_globex.schema_version") != [(EXPAND,)]
        yield world


async def test_who_was_moved_is_looked_into_when_the_run_ends(halfway: TenantWorld) -> None:
    # The one that was busy is not looked into either: the run is at it.
    assert await halfway.swept() == set()
    assert await halfway.swept() == set()
    await halfway.migrate("expand", to=EXPAND, phase="expand")
    assert await halfway.swept() == {MOVED, BUSY}
    await halfway.settle()
    assert (await halfway.tenant(MOVED))["status"]["migration"] == {"current": EXPAND, "target": EXPAND}


async def test_drift_of_who_was_moved_is_repaired_while_the_run_goes_on(halfway: TenantWorld) -> None:
    assert await halfway.swept() == set()
    halfway.execute("ALTER ROLE t_acme_app CONNECTION LIMIT 3")
    assert await halfway.sweep() == {MOVED}
    limit = halfway.fetch("SELECT rolconnlimit FROM pg_roles WHERE rolname = 't_acme_app'")
    assert limit == [(-1,)]


async def test_a_privilege_that_no_revision_gives_is_taken_while_the_run_goes_on(halfway: TenantWorld) -> None:
    assert await halfway.swept() == set()
    halfway.execute("GRANT SELECT ON s_acme.schema_version TO PUBLIC")
    assert await halfway.sweep() == {MOVED}
    held = "SELECT has_table_privilege('t_acme_app', 's_acme.schema_version', 'SELECT')"
    assert halfway.fetch(held) == [(False,)]


async def test_a_run_that_stopped_keeps_nobody_from_being_looked_into(
    halfway: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    clock.seconds = halfway.tenants.moving._last + HELD_FOR + 1
    monkeypatch.setattr(halfway.tenants.moving, "_clock", clock)
    assert MOVED in await halfway.swept()
