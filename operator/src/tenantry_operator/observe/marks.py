"""A mark for each tenant that changes with its facts, and costs far less: one query for any number of tenants."""

from collections.abc import Iterable
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.catalogue_sql import FOREIGN, FOREIGN_JOINS, READS, READS_JOINS
from tenantry_operator.observe.marks_of_roles import OF_ROLES, OURS

_FORMATS: Final = TenantNames("%s")

_MARKS: Final = """
WITH place AS MATERIALIZED (
    SELECT key, format(%(schema)s::text, key)::name AS schema, format(%(service_schema)s::text, key)::name AS services
    FROM unnest(%(keys)s::text[]) AS p(key)
), here AS (
    SELECT oid FROM pg_database WHERE datname = current_database()
), <ours>, spaces AS MATERIALIZED (
    SELECT p.key, n.oid, n.nspname = p.services AS services,
        hash_record_extended(ROW(n.oid, n.nspname::text, pg_get_userbyid(n.nspowner)::text, n.nspacl::text), 1) AS mark
    FROM place p CROSS JOIN LATERAL (VALUES (p.schema), (p.services)) AS w(name)
    JOIN pg_namespace n ON n.nspname = w.name
), relations AS MATERIALIZED (
    SELECT s.key, s.services, c.oid, c.relname, c.relkind, c.relowner, c.relacl
    FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
), mentions AS (
    SELECT o.key, o.rolname, d.classid, d.objid, d.deptype
    FROM pg_shdepend d JOIN ours o ON o.oid = d.refobjid
    WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype IN ('a', 'r') AND d.dbid IN (0, (SELECT oid FROM here))
), elsewhere AS (
    SELECT DISTINCT m.key, m.rolname, m.classid, m.objid, m.deptype
    FROM mentions m
    WHERE NOT EXISTS (
        SELECT FROM relations r WHERE m.classid = 'pg_class'::regclass AND r.oid = m.objid AND r.key = m.key
    ) AND NOT EXISTS (
        SELECT FROM spaces s WHERE m.classid = 'pg_namespace'::regclass AND s.oid = m.objid AND s.key = m.key
    ) AND NOT EXISTS (
        SELECT FROM pg_default_acl a JOIN ours o ON o.oid = a.defaclrole
        WHERE m.classid = 'pg_default_acl'::regclass AND a.oid = m.objid AND o.key = m.key
    )
), marks AS (
    <of roles>
    UNION ALL
    SELECT key, mark FROM spaces
    UNION ALL
    SELECT key, hash_record_extended(
        ROW(oid, relname::text, relkind, pg_get_userbyid(relowner)::text, relacl::text), 6)
    FROM relations WHERE services
    UNION ALL
    SELECT r.key, hash_record_extended(ROW(a.attrelid, a.attname::text, a.attacl::text), 7)
    FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid WHERE r.services AND a.attacl IS NOT NULL
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(d.oid, d.defaclnamespace, d.defaclobjtype, d.defaclacl::text), 8)
    FROM pg_default_acl d JOIN ours o ON o.oid = d.defaclrole
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(o.oid, e.datname::text, d.classid, d.objid, d.objsubid, d.deptype), 9)
    FROM pg_shdepend d JOIN ours o ON o.oid = d.refobjid JOIN pg_database e ON e.oid = d.dbid
    WHERE d.refclassid = 'pg_authid'::regclass AND d.dbid <> (SELECT oid FROM here)
    UNION ALL
    SELECT e.key, hash_record_extended(ROW(e.classid, e.objid, e.deptype, <foreign>), 10)
    FROM elsewhere e <joins>
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(o.oid, <reads>), 12)
    FROM ours o JOIN relations c ON c.key = o.key AND NOT c.services
    JOIN ours w ON w.key = o.key AND w.oid = c.relowner AND w.rolname = format(%(owner)s::text, o.key)::name
    <reads joins>
    WHERE o.rolname = format(%(reader)s::text, o.key)::name GROUP BY o.key, o.oid
)
SELECT key, count(*)::text || ' ' || bit_xor(mark)::text FROM marks GROUP BY key
"""
MARKS: Final = (
    _MARKS.replace("<ours>", OURS)
    .replace("<of roles>", OF_ROLES)
    .replace("<foreign>", FOREIGN)
    .replace("<joins>", FOREIGN_JOINS)
    .replace("<reads>", READS)
    .replace("<reads joins>", READS_JOINS)
)
"""Each row of the catalogue that a fact comes from is hashed as it is; each has an oid or a name in it, so that no two
rows of a tenant are alike and cancel each other out. What is the tenant's own to change in its schema is left out."""


async def read_marks(connection: AsyncConnection[Any], tenants: Iterable[TenantNames]) -> dict[str, str]:
    """Return, by key, the mark of each tenant of which anything exists.

    Facts that differ have marks that differ; the reverse need not be so.
    """
    parameters = {
        "keys": [names.key for names in tenants],
        "roles": list(_FORMATS.roles),
        "schema": _FORMATS.schema,
        "owner": _FORMATS.owner,
        "reader": _FORMATS.readonly,
        "service_schema": _FORMATS.service_schema,
    }
    async with connection.cursor(row_factory=tuple_row) as cursor:
        # A plan for any number of tenants would be one for ten.
        await cursor.execute(MARKS, parameters, prepare=False)
        return dict(await cursor.fetchall())
