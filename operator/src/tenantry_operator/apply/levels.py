"""Writes down what level Tenants were left as."""

from collections.abc import Mapping
from typing import Any, Final

from psycopg import AsyncConnection

WRITE: Final = """
INSERT INTO tenantry.levels (tenant_id, said)
SELECT id, said FROM unnest(%s::uuid[], %s::text[]) AS new (id, said) WHERE id IN (SELECT id FROM tenantry.tenants)
ON CONFLICT (tenant_id) DO UPDATE SET said = excluded.said WHERE levels.said <> excluded.said
"""
FORGET: Final = """
DELETE FROM tenantry.levels l USING tenantry.tenants t WHERE t.id = l.tenant_id AND t.state IN ('released', 'deleted')
"""
BATCH: Final = 1000


async def write_levels(connection: AsyncConnection[Any], said: Mapping[str, str]) -> None:
    """Write what is said of each, by the tenant's id, and forget those whose Tenants went.

    The connection is in autocommit mode: each batch lasts by itself.
    """
    ids = list(said)
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        await connection.execute(WRITE, (batch, [said[one] for one in batch]))
    await connection.execute(FORGET)
