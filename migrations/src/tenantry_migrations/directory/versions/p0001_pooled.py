"""Who is who in the pool: which login reads whose rows, and which tenant a service may choose.

Nobody but the owner has a privilege on the table. Others ask the two functions, which run as the owner and say no more
than the asker may know: a customer learns its own tenant only, a service whether the tenant that it names is open.
"""

import sqlalchemy as sa
from alembic import op

revision = "p0001"
down_revision = None
phase = "expand"
grants: dict[str, dict[str, str]] = {}

SCHEMA = "tenantry"

# A role that a customer names itself is believed only if its session belongs to it.
TENANT_OF = """
CREATE FUNCTION tenantry.tenant_of(role name) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.tenant_id FROM tenantry.pooled p
    WHERE $1::text IN (p.login_a, p.login_b) AND p.open AND pg_has_role(session_user, $1, 'MEMBER')
$$
"""

# An error and no NULL: of a tenant that is closed a service sees no empty tables, but that it is closed.
CHOSEN_TENANT = """
CREATE FUNCTION tenantry.chosen_tenant() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen uuid := nullif(current_setting('app.tenant', true), '')::uuid;
BEGIN
    PERFORM FROM tenantry.pooled p WHERE p.tenant_id = chosen AND p.open;
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'no open tenant of the pool is chosen';
    END IF;
    RETURN chosen;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "pooled",
        sa.Column("tenant_id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        # The customer's logins. Both are there before either is made.
        sa.Column("login_a", sa.Text, nullable=False, unique=True),
        sa.Column("login_b", sa.Text, nullable=False, unique=True),
        # Of a tenant that is not, nobody reads or writes a row.
        sa.Column("open", sa.Boolean, nullable=False),
        schema=SCHEMA,
    )
    op.execute(TENANT_OF)
    op.execute(CHOSEN_TENANT)
    for function in ("tenantry.tenant_of(name)", "tenantry.chosen_tenant()"):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
