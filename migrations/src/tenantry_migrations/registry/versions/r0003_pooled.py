"""Tenants that share a schema."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"
phase = "expand"
grants: dict[str, dict[str, str]] = {}

SCHEMA = "tenantry"


def upgrade() -> None:
    op.drop_constraint("tenants_isolation_known", "tenants", schema=SCHEMA)
    op.create_check_constraint("tenants_isolation_known", "tenants", "isolation IN ('Schema', 'Pooled')", schema=SCHEMA)
    op.drop_index("tenants_place_key", "tenants", schema=SCHEMA)
    op.create_index(
        "tenants_place_key",
        "tenants",
        ["server", "database", "schema"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("state <> 'deleted' AND isolation <> 'Pooled'"),
    )
