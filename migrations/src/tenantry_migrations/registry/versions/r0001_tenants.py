"""The tenants, their keys, and the revision that new tenants are made at."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "r0001"
down_revision = None
phase = "expand"
grants = {"tenants": {"accounts": "SELECT"}, "api_keys": {"accounts": "SELECT"}}

SCHEMA = "tenantry"


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    _create_tenants()
    _create_api_keys()
    _create_released()


def _create_tenants() -> None:
    op.create_table(
        "tenants",
        # Survives release and adoption; the tenant_id of every table.
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        # The UID of the Kubernetes object that owns the row.
        sa.Column("uid", sa.Uuid, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("database", sa.Text, nullable=False),
        # The services' schema.
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("isolation", sa.Text, nullable=False),
        # The role by which the accounts service reaches this tenant.
        sa.Column("service_login", sa.Text, nullable=False),
        # Absent: the default shard.
        sa.Column("shard", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        # A copy of the schema's own version table; absent until the first migration.
        sa.Column("version", sa.Text),
        _now("created_at"),
        _now("updated_at"),
        sa.CheckConstraint("isolation IN ('Schema')", name="tenants_isolation_known"),
        sa.CheckConstraint(
            "state IN ('provisioning', 'active', 'suspended', 'archived', 'released', 'deleted')",
            name="tenants_state_known",
        ),
        schema=SCHEMA,
    )
    # A deleted tenant's row stays as a record, and its name is free again.
    living = sa.text("state <> 'deleted'")
    op.create_index("tenants_name_key", "tenants", ["name"], unique=True, schema=SCHEMA, postgresql_where=living)
    op.create_index(
        "tenants_place_key",
        "tenants",
        ["server", "database", "schema"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=living,
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("public_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Uuid, sa.ForeignKey(f"{SCHEMA}.tenants.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        # SHA-256 of the secret part.
        sa.Column("secret_hash", postgresql.BYTEA, nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        _now("created_at"),
        sa.CheckConstraint("kind IN ('tenant')", name="api_keys_kind_known"),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name="api_keys_hash_length"),
        schema=SCHEMA,
    )
    op.create_index("api_keys_tenant", "api_keys", ["tenant_id"], schema=SCHEMA)


def _create_released() -> None:
    op.create_table(
        "released",
        # One row at most.
        sa.Column("single", sa.Boolean, primary_key=True, server_default=sa.true()),
        sa.Column("revision", sa.Text, nullable=False),
        _now("released_at"),
        sa.CheckConstraint("single", name="released_single"),
        schema=SCHEMA,
    )
