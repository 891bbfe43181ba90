"""Moves one tenant's schema of the services, and writes what the registry says of revisions."""

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection, errors, sql

from tenantry_migrations import TENANT, move_statements, render
from tenantry_operator.apply.tenant import MarkerChanged
from tenantry_operator.apply.tenant_sql import Statement
from tenantry_operator.backup.sayings import message_of
from tenantry_operator.model.names import OWNER, TenantNames
from tenantry_operator.model.pool import POOL_ROLES, POOL_SCHEMA

Connection = AsyncConnection[Any]

COPY = """
    UPDATE tenantry.tenants t SET version = new.version, updated_at = now()
    FROM unnest(%s::uuid[], %s::text[]) AS new (id, version)
    WHERE t.id = new.id AND t.version IS DISTINCT FROM new.version AND t.state NOT IN ('released', 'deleted')
"""
COPY_POOL = """
    UPDATE tenantry.tenants SET version = %s, updated_at = now()
    WHERE server = %s AND schema = %s AND version IS DISTINCT FROM %s AND state NOT IN ('released', 'deleted')
        AND version IS NOT NULL
"""
RELEASE = "UPDATE tenantry.released SET revision = %s, released_at = now() WHERE revision = %s"


class VersionChanged(Exception):
    """The schema is not at the revision that it was to be moved from."""


async def move_schema(
    connection: Connection,
    names: TenantNames,
    step_range: tuple[str, str],
    *,
    marker_text: str,
    lock_timeout: str,
    seconds: float,
) -> None:
    """Bring the schema from one revision to a later one, in one transaction.

    The connection is in autocommit mode. Raises psycopg.Error, MigrationError, MarkerChanged when the tenant's marker
    is not the one given, or VersionChanged when the schema is not at the first revision; then nothing was done.
    """
    batch = [
        sql.SQL("SET LOCAL lock_timeout TO {}").format(sql.Literal(lock_timeout)),
        sql.SQL("SET LOCAL statement_timeout TO {}").format(sql.Literal(f"{round(seconds * 1000)}ms")),
        _guard(names.owner, marker_text),
        *statements(names, *step_range),
    ]
    try:
        # Several statements in one message are one transaction.
        await connection.execute(sql.SQL(";\n").join(batch))
    except errors.InvalidTextRepresentation as error:
        if "marker: " in str(error):
            raise MarkerChanged(f"the marker on {names.owner} is not this tenant's") from error
        if "but the schema is at " in str(error):
            raise VersionChanged(message_of(error)) from error
        raise


def statements(names: TenantNames, start: str, to: str) -> tuple[Statement, ...]:
    """Return what moves a tenant from one revision to another, as `tenantry migrate sql` shows it too."""
    return (
        sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)),
        sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(names.service_schema)),
        *(render(step, roles=names.service_roles, schema=names.service_schema) for step in TENANT.steps(start, to)),
    )


def pool_statements(start: str, to: str) -> tuple[Statement, ...]:
    """Return what moves a pool from one revision to another, as `tenantry migrate sql --pool` shows it too."""
    return move_statements(start, to, roles=POOL_ROLES)


async def copy_versions(registry: Connection, versions: Mapping[str, str]) -> None:
    """Write into the registry what the schemas say; `versions` is by the tenant's id."""
    if versions:
        await registry.execute(COPY, (list(versions), list(versions.values())))


async def copy_pool_version(registry: Connection, server: str, version: str) -> None:
    """Write into the registry, for all tenants of a server's pool, what the pool says."""
    await registry.execute(COPY_POOL, (version, server, POOL_SCHEMA, version))


async def release(registry: Connection, *, before: str, to: str) -> bool:
    """Release a revision in place of the one that was seen; say whether that one was still there."""
    cursor = await registry.execute(RELEASE, (to, before))
    return cursor.rowcount == 1


def _guard(owner: str, marker_text: str) -> Statement:
    """Fail unless the marker is the one given: the cast of its text to a number does."""
    return sql.SQL(
        "SELECT CASE WHEN m.text = {} THEN 0 ELSE ('marker: ' || m.text)::integer END FROM (SELECT coalesce("
        "shobj_description((SELECT oid FROM pg_roles WHERE rolname = {}), 'pg_authid'), 'none') AS text) m"
    ).format(sql.Literal(marker_text), sql.Literal(owner))
