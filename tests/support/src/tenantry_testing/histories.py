"""A longer tenant history for tests: what ships, then a revision that expands, then one that contracts."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tenantry_migrations import POOL, TENANT, History
from tenantry_migrations.pool_rendering import pool_of
from tenantry_migrations.scripts import TENANT_SCRIPTS, history_of

EXPAND: Final = "t9001"
CONTRACT: Final = "t9002"

SCRIPTS: Final = {
    EXPAND: """
import sqlalchemy as sa
from alembic import op

revision = "t9001"
down_revision = "{previous}"
phase = "expand"
grants = {{"notes": {{"accounts": "SELECT INSERT"}}}}


def upgrade():
    op.add_column("users", sa.Column("locale", sa.Text))
    op.create_table(
        "notes",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("words", sa.Text, sa.CheckConstraint("words LIKE '100%'")))
""",
    CONTRACT: """
from alembic import op

revision = "t9002"
down_revision = "t9001"
phase = "contract"
grants = {{}}


def upgrade():
    op.drop_column("users", "locale")
""",
}


def write_history(folder: Path) -> Path:
    """Copy what ships into the folder, and add the two revisions; return the folder."""
    shutil.copytree(TENANT_SCRIPTS / "versions", folder / "versions", ignore=shutil.ignore_patterns("__pycache__"))
    for revision, script in SCRIPTS.items():
        (folder / "versions" / f"{revision}_test.py").write_text(script.format(previous=TENANT.head))
    return folder


@contextmanager
def tenant_history(folder: Path) -> Iterator[None]:
    """Have the operator in this process know the history in the folder, as one of a later version would."""
    shipped = [(history, dict(vars(history))) for history in (TENANT, POOL)]
    for history, longer in ((TENANT, history_of(folder)), (POOL, pool_of(folder))):
        _become(history, vars(longer))
    try:
        yield
    finally:
        for history, held in shipped:
            _become(history, held)


def _become(history: History, held: Mapping[str, object]) -> None:
    vars(history).clear()
    vars(history).update(held)
