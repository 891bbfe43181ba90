"""What a tenant that was level was left as, so that an operator that starts need not look into each of them."""

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"
phase = "expand"
grants: dict[str, dict[str, str]] = {}

SCHEMA = "tenantry"


def upgrade() -> None:
    op.create_table(
        "levels",
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey(f"{SCHEMA}.tenants.id", ondelete="CASCADE"), primary_key=True),
        # The operator's own words. Whoever reads them compares, and concludes nothing else.
        sa.Column("said", sa.Text, nullable=False),
        schema=SCHEMA,
    )
