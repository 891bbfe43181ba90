"""What of a tenant's spec was applied last, so that a change of the spec is told from a change by hand."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
phase = "expand"
grants: dict[str, dict[str, str]] = {}


def upgrade() -> None:
    # Absent: written by an operator that did not record it; then the present spec counts as applied.
    op.add_column("tenants", sa.Column("applied", sa.Text), schema="tenantry")
