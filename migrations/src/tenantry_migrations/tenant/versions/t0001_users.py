"""The users of a tenant."""

import sqlalchemy as sa
from alembic import op

revision = "t0001"
down_revision = None
phase = "expand"
grants = {"users": {"accounts": "SELECT INSERT UPDATE DELETE"}}
customers = ("users",)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="active"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.CheckConstraint("char_length(email) BETWEEN 3 AND 320", name="users_email_length"),
        sa.CheckConstraint("char_length(display_name) <= 253", name="users_display_name_length"),
        sa.CheckConstraint("status IN ('active', 'disabled')", name="users_status_known"),
    )
    # An address is one user's within a tenant, however it is capitalised.
    op.create_index("users_email_key", "users", ["tenant_id", sa.text("lower(email)")], unique=True)
