"""What the manifest of each backup was, so that one that somebody else wrote is told from it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0006"
down_revision = "r0005"
phase = "expand"
grants: dict[str, dict[str, str]] = {}


def upgrade() -> None:
    op.create_table(
        "backups",
        sa.Column("sha256", postgresql.BYTEA, primary_key=True),
        # No reference: a backup outlives the row of its tenant.
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        # Where it was written to, for people.
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("octet_length(sha256) = 32", name="backups_sha256_length"),
        schema="tenantry",
    )
