"""The tenant history as the pool has it: every table guarded, every key begun with the tenant."""

from pathlib import Path

import pytest

from tenantry_migrations import POOL, TENANT, PoolHistory, WrongHistory
from tenantry_migrations.pool_rendering import pool_of
from tenantry_testing.histories import CONTRACT, EXPAND, write_history

SCRIPT = """
import sqlalchemy as sa
from alembic import op

revision = "a"
down_revision = None
phase = "expand"
grants = {grants}


def upgrade():
    {upgrade}
"""
TENANT_COLUMN = 'sa.Column("tenant_id", sa.Uuid, nullable=False)'
ID_COLUMN = 'sa.Column("id", sa.Uuid, primary_key=True)'


def pool(folder: Path, upgrade: str, grants: str = "{}") -> PoolHistory:
    (folder / "versions").mkdir(exist_ok=True)
    (folder / "versions" / "a_test.py").write_text(SCRIPT.format(upgrade=upgrade, grants=grants))
    return pool_of(folder)


def test_the_pool_moves_by_the_same_revisions() -> None:
    steps, theirs = POOL.steps(None, POOL.head), TENANT.steps(None, TENANT.head)
    assert [(one.revision, one.previous, one.phase) for one in steps] == [
        (one.revision, one.previous, one.phase) for one in theirs
    ]


def test_every_table_of_what_ships_is_guarded_at_every_revision() -> None:
    for revision in POOL.revisions:
        shape = POOL.shape(revision)
        assert {one.table for one in shape.policies} == {*shape.tables}
        guarded = {(one.table, one.role) for one in shape.policies}
        assert {(one.table, one.service) for one in shape.privileges} <= guarded


def test_a_longer_history_lifts_the_guard_for_its_own_transaction_only(tmp_path: Path) -> None:
    history = pool_of(write_history(tmp_path))
    for step in history.steps(TENANT.head, CONTRACT):
        before, after = (history.shape(revision).tables for revision in (step.previous or "", step.revision))
        lifts = {f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY' for table in before}
        assert set(step.statements[: len(lifts)]) == lifts
        closes = {f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY' for table in after}
        assert closes <= set(step.statements[len(lifts) :])
    assert history.shape(EXPAND).tables == ("users", "notes")


def test_a_primary_key_begins_with_the_tenant(tmp_path: Path) -> None:
    history = pool(tmp_path, f'op.create_table("things", {ID_COLUMN}, {TENANT_COLUMN})')
    assert "PRIMARY KEY (tenant_id, id)" in history.steps(None, "a")[0].statements[0]


@pytest.mark.parametrize(
    ("upgrade", "words"),
    [
        (f'op.create_table("things", {ID_COLUMN})', "no tenant_id"),
        (f'op.create_table("things", {ID_COLUMN}, sa.Column("tenant_id", sa.Uuid))', "no tenant_id"),
        ('op.create_table("things", sa.Column("tenant_id", sa.Uuid, nullable=False))', "no primary key"),
        (
            f'op.create_table("things", {ID_COLUMN}, {TENANT_COLUMN}, sa.Column("name", sa.Text, unique=True))',
            "does not begin with tenant_id: name",
        ),
        (
            f'op.create_table("things", {ID_COLUMN}, {TENANT_COLUMN},'
            ' sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id")))',
            "foreign key of things",
        ),
        ('op.create_index("by_name", "things", ["name"], unique=True)', "unique index by_name"),
        ('op.create_index("by_name", "things", [sa.text("lower(name)")], unique=True)', "unique index by_name"),
        ('op.create_unique_constraint("by_name", "things", ["name"])', "does not begin with tenant_id"),
        ('op.create_foreign_key("to", "things", "users", ["user_id"], ["id"])', "foreign key of things"),
        ('op.rename_table("things", "others")', "is renamed"),
    ],
)
def test_what_would_tell_one_tenant_of_another_is_refused(tmp_path: Path, upgrade: str, words: str) -> None:
    with pytest.raises(WrongHistory, match=words):
        pool(tmp_path, upgrade).steps(None, "a")


@pytest.mark.parametrize(
    "upgrade",
    [
        'op.create_index("by_name", "things", ["tenant_id", sa.text("lower(name)")], unique=True)',
        'op.create_index("by_name", "things", ["name"])',
        'op.create_unique_constraint("by_name", "things", ["tenant_id", "name"])',
        'op.create_foreign_key("to", "things", "users", ["tenant_id", "user_id"], ["tenant_id", "id"])',
    ],
)
def test_what_begins_with_the_tenant_is_made(tmp_path: Path, upgrade: str) -> None:
    assert len(pool(tmp_path, upgrade).steps(None, "a")[0].statements) == 1


def test_a_table_that_is_granted_and_not_known_is_refused(tmp_path: Path) -> None:
    made = pool(tmp_path, 'op.execute("CREATE TABLE things (x int)")', '{"things": {"accounts": "SELECT"}}')
    with pytest.raises(WrongHistory, match="grants on things"):
        made.steps(None, "a")


def test_a_table_that_is_dropped_leaves_nothing_to_guard(tmp_path: Path) -> None:
    upgrade = f'op.create_table("things", {ID_COLUMN}, {TENANT_COLUMN}); op.drop_table("things")'
    history = pool(tmp_path, upgrade)
    assert history.shape("a").tables == ()
    assert history.shape("a").policies == frozenset()
