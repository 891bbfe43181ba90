"""Tenants that have a database of their own, beside those that have schemas in a shared one."""

from alembic import op

revision = "r0004"
down_revision = "r0003"
phase = "expand"
grants: dict[str, dict[str, str]] = {}


def upgrade() -> None:
    op.drop_constraint("tenants_isolation_known", "tenants", schema="tenantry")
    op.create_check_constraint(
        "tenants_isolation_known", "tenants", "isolation IN ('Schema', 'Database', 'Pooled')", schema="tenantry"
    )
