"""What a MigrationRun changes of a Tenant is told from what anybody else does."""

import json
from dataclasses import replace

import pytest

from tenantry_operator.model.tenant import Place, RegistryRow, RowState
from tenantry_operator.reconcile.tenant_sweep import Seen, digest, is_only_moved

FACTS = (
    ("default", ["TABLES", "t_acme_app", "SELECT", False]),
    ("on schema", ["s_acme", "s_acme_accounts", "USAGE", False]),
    ("on table", ["users", "s_acme_accounts", "SELECT", False]),
    ("owner", ["users", "tenantry_owner"]),
    ("role", ["t_acme_app", 7, False]),
    ("schema", ["s_acme", "tenantry_owner"]),
    ("table", ["users"]),
)
ROW = RegistryRow("id", "uid", "primary", "app", RowState.ACTIVE, version="t0001")


def text(*more: tuple[str, list[object]], without: str = "") -> str:
    """Write facts as the catalogue does: in order."""
    return json.dumps(sorted([list(one) for one in (*FACTS, *more) if one[0] != without]))


def seen(facts: str, **row: object) -> Seen:
    place = Place("primary", "app", "localhost", 5432, "disable")
    return Seen(place, replace(ROW, **row), "t0001", digest(facts), None)


def test_a_new_table_with_its_privileges_and_the_version_are_the_runs() -> None:
    now = text(
        ("table", ["notes"]), ("owner", ["notes", "tenantry_owner"]), ("on table", ["notes", "a", "SELECT", False])
    )
    assert is_only_moved(seen(text()), seen(now, version="t0002"))


@pytest.mark.parametrize(
    "now",
    [
        seen(text(("role", ["t_acme_ro", 8, True]))),
        seen(text(("session", ["t_acme_app"]))),
        seen(text(without="role")),
        seen(text(without="default")),
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
