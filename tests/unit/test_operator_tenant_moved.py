"""What a MigrationRun changes of a Tenant is told from what anybody else does."""

import json
from dataclasses import replace

import pytest

from tenantry_operator.engine.moving import HELD_FOR, OWN_HELD_FOR, Moving
from tenantry_operator.model.tenant import Grant, Place, RegistryRow, RowState
from tenantry_operator.reconcile.tenant_sweep import Seen, digest, is_only_moved
from tenantry_testing.fake_clock import FakeClock

FACTS = (
    ("default", ["TABLES", "t_acme_app", "SELECT", False]),
    ("on schema", ["s_acme", "s_acme_accounts", "USAGE", False]),
    ("on table", ["users", "s_acme_accounts", "SELECT", False]),
    ("owner", ["users", "tenantry_owner"]),
    ("reads", [True, False, False]),
    ("role", ["t_acme_app", 7, False]),
    ("schema", ["s_acme", "tenantry_owner"]),
    ("table", ["users"]),
)
NOTES = Grant("notes", "s_acme_accounts", "SELECT")
TABLES = {"t0001": frozenset({Grant("users", "s_acme_accounts", "SELECT")}), "t0002": frozenset({NOTES})}
ROW = RegistryRow("id", "uid", "primary", "app", RowState.ACTIVE, version="t0001")


def text(*more: tuple[str, list[object]], without: str = "") -> str:
    """Write facts as the catalogue does: in order."""
    left = [one for one in FACTS if one[0] != without]
    return json.dumps(sorted(list(one) for one in (*left, *more)))


def seen(facts: str, **row: object) -> Seen:
    place = Place("primary", "app", "localhost", 5432, "disable")
    return Seen(place, replace(ROW, **row), "t0001", digest(facts, TABLES), None)


def test_a_new_table_with_its_privileges_and_the_version_are_the_runs() -> None:
    grant = ("on table", ["notes", "s_acme_accounts", "SELECT", False])
    now = text(("table", ["notes"]), ("owner", ["notes", "tenantry_owner"]), grant)
    assert is_only_moved(seen(text()), seen(now, version="t0002"))


@pytest.mark.parametrize(
    "now",
    [
        seen(text(("role", ["t_acme_ro", 8, True]))),
        seen(text(("session", ["t_acme_app"]))),
        seen(text(without="role")),
        seen(text(without="default")),
        seen(text(("on table", ["users", "PUBLIC", "SELECT", False]))),
        seen(text(("on table", ["users", "s_acme_accounts", "DELETE", False]))),
        seen(text(("on table", ["notes", "s_acme_accounts", "SELECT", True]))),
        seen(text(("on table", ["users", "s_acme_accounts", "SELECT (email)", False]))),
        seen(text(("owner", ["users", "mallory"]), without="owner")),
        seen(text(("reads", [True, True, True]), without="reads")),
        seen(text() + "\nwhat the pool and the extensions are"),
        seen(text(), state=RowState.SUSPENDED),
        replace(seen(text()), released="t0002"),
        replace(seen(text()), secret=("a", "b", "7")),
        replace(seen(text()), row=None),
        # What a process before left is not known so well.
        replace(seen(text()), facts=b""),
    ],
)
def test_anything_else_is_not(now: Seen) -> None:
    assert not is_only_moved(seen(text()), now)


def test_a_run_that_goes_on_keeps_a_tenant_from_its_pass_for_a_while_only() -> None:
    clock = FakeClock()
    moving = Moving(clock)
    moving.begin("acme")
    moving.note("acme", "mark")
    for _ in range(int(OWN_HELD_FOR / HELD_FOR * 2) - 1):
        clock.advance(HELD_FOR / 2)
        # It is tried again and again, as one whose server is down.
        moving.begin("globex")
        assert moving.is_noted("acme", "mark")
    clock.advance(HELD_FOR / 2)
    moving.begin("globex")
    moving.begin("initech")
    assert [name for name in ("acme", "globex", "initech") if moving.has(name)] == ["globex", "initech"]
    clock.advance(HELD_FOR / 2)
    moving.begin("globex")
    assert [name for name in ("globex", "initech") if moving.has(name)] == ["initech"]
