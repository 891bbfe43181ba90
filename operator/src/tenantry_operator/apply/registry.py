"""Writes a tenant's row of the registry."""

from typing import Any, Final

from psycopg import AsyncClientCursor, AsyncConnection

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

PLACES: Final = 0x706C6163
"""The first half of the advisory locks under which places are taken: "plac"."""

TAKE_PLACE = """
SELECT pg_advisory_xact_lock(%(places)s, hashtext(%(server)s));
INSERT INTO tenantry.tenants (id, name, uid, server, database, schema, isolation, service_login, state, shard)
SELECT %(id)s::uuid, %(name)s, %(uid)s::uuid, %(server)s, %(database)s, %(schema)s, %(isolation)s, %(login)s,
    %(state)s, %(shard)s
WHERE (SELECT count(*) < %(most_tenants)s FROM tenantry.tenants
    WHERE server = %(server)s AND state NOT IN ('released', 'deleted'))
AND (SELECT count(*) < %(most_per_login)s FROM tenantry.tenants
    WHERE server = %(server)s AND service_login = %(login)s AND state <> 'deleted')
"""
"""Two statements in one round trip: the second one sees what whoever held the lock before has written."""


class PlaceTaken(Exception):
    """Others took what room there was since the place was chosen; nothing was written."""


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
    """Write the row in one round trip. Its place never changes; another tenant's name raises UniqueViolation.

    Raises PlaceTaken when the action takes a place of which the limits do not hold any more.
    """
    names, seat = desired.names, desired.seat
    values: dict[str, object] = {
        "id": action.id,
        "name": names.name,
        "uid": desired.uid,
        "server": desired.place.server,
        "database": desired.place.database,
        "schema": desired.layout.services.schema,
        "isolation": desired.isolation.value,
        "login": service_login("accounts", seat.login),
        "state": action.state.value,
        "shard": desired.shard,
    }
    if action.takes_place and seat.most_tenants is not None and seat.most_per_login is not None:
        limits = {"most_tenants": seat.most_tenants, "most_per_login": seat.most_per_login, "places": PLACES}
        await _take_place(connection, values | limits)
        return
    told = {"version": action.version, "applied": action.applied, "revoke_keys": action.revoke_keys}
    await connection.execute(WRITE, values | told)


async def _take_place(connection: AsyncConnection[Any], values: dict[str, object]) -> None:
    # Bound by the client: the server takes parameters for one statement only.
    async with AsyncClientCursor(connection) as cursor:
        await cursor.execute(TAKE_PLACE, values)
        cursor.nextset()
        if cursor.rowcount == 0:
            raise PlaceTaken(f"the last place on DatabaseServer {values['server']} was taken by another tenant")


async def claim_shard(connection: AsyncConnection[Any], tenant_id: str, shard: str | None) -> None:
    """Write which shard the tenant is of; None is the default one."""
    await connection.execute(CLAIM, (shard, tenant_id))
