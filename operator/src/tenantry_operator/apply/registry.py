"""Writes a tenant's row of the registry."""

from typing import Any

from psycopg import AsyncConnection

from tenantry_operator.model.names import service_login
from tenantry_operator.model.tenant import DesiredTenant, RowState
from tenantry_operator.plan.actions import RecordTenant

WRITE = """
WITH ended AS (
    UPDATE tenantry.api_keys SET revoked_at = now()
    WHERE %(revoke_keys)s AND tenant_id = %(id)s AND revoked_at IS NULL
)
INSERT INTO tenantry.tenants (id, name, uid, server, database, schema, isolation, service_login, state, version,
    applied, shard)
VALUES (%(id)s, %(name)s, %(uid)s, %(server)s, %(database)s, %(schema)s, %(isolation)s, %(login)s, %(state)s,
    %(version)s, %(applied)s, %(shard)s)
ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, state = excluded.state, version = excluded.version,
    service_login = excluded.service_login, shard = excluded.shard,
    applied = coalesce(excluded.applied, tenants.applied), updated_at = now()
"""

CLAIM = "UPDATE tenantry.tenants SET shard = %s, updated_at = now() WHERE id = %s"


CLOSE = """
WITH ended AS (
    UPDATE tenantry.api_keys SET revoked_at = now()
    WHERE revoked_at IS NULL AND tenant_id = (
        SELECT id FROM tenantry.tenants WHERE name = %(name)s AND uid = %(uid)s AND state <> 'deleted')
)
UPDATE tenantry.tenants SET state = %(state)s, updated_at = now()
WHERE name = %(name)s AND uid = %(uid)s AND state <> 'deleted'
"""


async def close_row(connection: AsyncConnection[Any], *, name: str, uid: str, state: RowState) -> bool:
    """End the row and the keys of the Tenant with that very UID; say whether there was a row."""
    cursor = await connection.execute(CLOSE, {"name": name, "uid": uid, "state": state.value})
    return cursor.rowcount > 0


async def record(connection: AsyncConnection[Any], action: RecordTenant, desired: DesiredTenant) -> None:
    """Write the row in one statement. Its place never changes; another tenant's name raises UniqueViolation."""
    names = desired.names
    values = {
        "id": action.id,
        "name": names.name,
        "uid": desired.uid,
        "server": desired.place.server,
        "database": desired.place.database,
        "schema": desired.layout.services.schema,
        "isolation": desired.isolation.value,
        "login": service_login("accounts"),
        "state": action.state.value,
        "version": action.version,
        "applied": action.applied,
        "revoke_keys": action.revoke_keys,
        "shard": desired.shard,
    }
    await connection.execute(WRITE, values)


async def claim_shard(connection: AsyncConnection[Any], tenant_id: str, shard: str | None) -> None:
    """Write which shard the tenant is of; None is the default one."""
    await connection.execute(CLAIM, (shard, tenant_id))
