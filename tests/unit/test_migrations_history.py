"""Histories are one line of scripts that say what they are."""

from pathlib import Path

import pytest

from tenantry_migrations import (
    REGISTRY,
    TENANT,
    History,
    MigrationError,
    NotAnUpgrade,
    UnknownRevision,
    WrongHistory,
    render,
)
from tenantry_migrations.scripts import history_of

SCRIPT = """
from alembic import op

revision = "{revision}"
down_revision = {previous!r}
{declarations}

def upgrade():
    op.execute("SELECT 1")
"""
DECLARED = 'phase = "expand"\ngrants = {}'


def write(folder: Path, revision: str, previous: str | None, declarations: str = DECLARED) -> History:
    (folder / "versions").mkdir(exist_ok=True)
    script = SCRIPT.format(revision=revision, previous=previous, declarations=declarations)
    (folder / "versions" / f"{revision}_test.py").write_text(script)
    return history_of(folder)


@pytest.mark.parametrize("history", [TENANT, REGISTRY])
def test_steps_from_nothing_end_at_the_head(history: History) -> None:
    steps = history.steps(None, history.head)
    assert tuple(step.revision for step in steps) == history.revisions
    assert all(step.statements and not step.statements[0].endswith(";") for step in steps)


def test_steps_between_are_those_after_the_start(tmp_path: Path) -> None:
    write(tmp_path, "a", None)
    write(tmp_path, "b", "a")
    history = write(tmp_path, "c", "b")
    assert [(step.previous, step.revision) for step in history.steps("a", "c")] == [("a", "b"), ("b", "c")]
    assert history.steps("b", "b") == ()


def test_a_history_only_goes_forward(tmp_path: Path) -> None:
    write(tmp_path, "a", None)
    history = write(tmp_path, "b", "a")
    with pytest.raises(NotAnUpgrade):
        history.steps("b", "a")


def test_a_revision_from_the_future_is_named() -> None:
    with pytest.raises(UnknownRevision, match="t9999"):
        TENANT.steps("t9999", TENANT.head)


def test_two_heads_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", None)
    write(tmp_path, "b", "a")
    history = write(tmp_path, "c", "a")
    with pytest.raises(WrongHistory, match="one line"):
        _ = history.head


def test_no_revision_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongHistory, match="no revision"):
        _ = history_of(tmp_path).head


@pytest.mark.parametrize(
    ("declarations", "words"),
    [
        ("grants = {}", "must declare phase"),
        ('phase = "later"\ngrants = {}', "must declare phase"),
        ('phase = "expand"', "must declare grants"),
        ('phase = "expand"\ngrants = {"users": {"accounts": "SELECT TRUNCATE"}}', "TRUNCATE"),
    ],
)
def test_a_script_that_hides_what_it_is_is_refused(tmp_path: Path, declarations: str, words: str) -> None:
    history = write(tmp_path, "a", None, declarations)
    with pytest.raises(WrongHistory, match=words):
        _ = history.head


def test_a_service_without_a_role_is_an_error() -> None:
    with pytest.raises(MigrationError, match="accounts"):
        render(TENANT.steps(None, "t0001")[0], roles={}, schema="s")


def test_the_registrys_privileges_are_for_the_caller_to_grant() -> None:
    assert REGISTRY.privileges(REGISTRY.head)
    assert "{role:" not in str(REGISTRY.steps(None, REGISTRY.head))
