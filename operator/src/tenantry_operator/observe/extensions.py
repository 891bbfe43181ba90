"""Reads the extensions of the database that a connection is in, and who may create, or did, beside them."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from tenantry_operator.model.extensions import (
    EXTENSIONS,
    MADE_BY_US,
    Available,
    ExtensionSchema,
    Installed,
    ObservedExtensions,
)
from tenantry_operator.model.names import OWNER

Connection = AsyncConnection[Any]

THERE: Final = """
SELECT jsonb_build_object(
    'schema', (SELECT jsonb_build_array(pg_get_userbyid(n.nspowner), pg_get_userbyid(n.nspowner) = %(owner)s,
        has_schema_privilege(0::oid, n.oid, 'USAGE'),
        (SELECT coalesce(jsonb_agg(DISTINCT w.name ORDER BY w.name), '[]') FROM (
            SELECT 'PUBLIC' AS name FROM aclexplode(n.nspacl) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'
            UNION ALL
            SELECT r.rolname::text FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
            JOIN pg_roles r ON r.oid = a.grantee
            WHERE a.privilege_type = 'CREATE' AND NOT r.rolsuper AND r.rolname NOT IN (%(owner)s, current_user)
            UNION ALL
            SELECT r.rolname::text FROM pg_roles r
            WHERE r.oid = n.nspowner AND NOT r.rolsuper AND r.rolname NOT IN (%(owner)s, current_user)
        ) w),
        (SELECT coalesce(jsonb_agg(p.said ORDER BY p.said), '[]') FROM (
            SELECT pg_describe_object(o.class, o.oid, 0) || ' of ' || r.rolname AS said FROM (
                SELECT 'pg_proc'::regclass AS class, oid, proowner AS owner FROM pg_proc WHERE pronamespace = n.oid
                UNION ALL
                SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator WHERE oprnamespace = n.oid
                UNION ALL
                SELECT 'pg_class'::regclass, oid, relowner FROM pg_class
                WHERE relnamespace = n.oid AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                UNION ALL
                SELECT 'pg_type'::regclass, oid, typowner FROM pg_type t WHERE typnamespace = n.oid AND typarray <> 0
                    AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
            ) o JOIN pg_roles r ON r.oid = o.owner
            WHERE NOT r.rolsuper AND r.rolname NOT IN (%(owner)s, current_user) AND NOT EXISTS (
                SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
            ORDER BY said LIMIT 5
        ) p)) FROM pg_namespace n WHERE n.nspname = %(schema)s),
    'empty', (SELECT NOT EXISTS (SELECT FROM pg_depend d
            WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)
        FROM pg_namespace n WHERE n.nspname = %(schema)s),
    'installed', (SELECT jsonb_object_agg(e.extname, jsonb_build_array(n.nspname,
        pg_has_role(current_user, e.extowner, 'USAGE')
            AND coalesce(obj_description(e.oid, 'pg_extension') = %(made)s, false),
        (SELECT coalesce(jsonb_agg(o.extname ORDER BY o.extname), '[]') FROM pg_depend d
            JOIN pg_extension o ON o.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
            WHERE d.classid = 'pg_extension'::regclass AND d.objid = e.oid)))
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace)
)::text
"""
AT_HAND: Final = """
SELECT v.name::text, v.trusted, coalesce(v.requires::text[], '{}')
FROM pg_available_extensions a JOIN pg_available_extension_versions v
    ON v.name = a.name AND v.version = a.default_version
WHERE a.name = ANY (%s::name[])
"""


async def read_extensions(connection: Connection) -> str:
    """Return what there is; the same gives the same text, so that a sweep need not look into what did not change."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(THERE, {"schema": EXTENSIONS, "owner": OWNER, "made": MADE_BY_US})
        row = await cursor.fetchone()
    return str(row[0]) if row else ""


def line_of(text: str, wanted: Iterable[str]) -> str:
    """Return what of it is about those that a tenant asks for: others come and go, and are none of its concern."""
    if not text:
        return ""
    said = json.loads(text)
    named = frozenset(wanted)
    installed = {name: one for name, one in (said["installed"] or {}).items() if name in named}
    return json.dumps({"schema": said["schema"], "installed": installed}, sort_keys=True)


def parse_extensions(text: str) -> ObservedExtensions:
    """Read what `read_extensions` returned, or `line_of` left of it."""
    if not text:
        return ObservedExtensions()
    said = json.loads(text)
    schema = None
    if said["schema"] is not None:
        owner, ours, is_open, writers, planted = said["schema"]
        schema = ExtensionSchema(owner, ours, is_open, frozenset(writers), tuple(planted), bool(said.get("empty")))
    installed = {
        name: Installed(place, ours, frozenset(needs))
        for name, (place, ours, needs) in (said["installed"] or {}).items()
    }
    return ObservedExtensions(schema, installed)


async def with_available(connection: Connection, seen: ObservedExtensions, wanted: Iterable[str]) -> ObservedExtensions:
    """Add what the server has at hand of those that are missing; it reads files for that, so nothing else asks."""
    missing = sorted(set(wanted) - set(seen.installed))
    if not missing:
        return seen
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(AT_HAND, (missing,))
        found = {name: Available(trusted, frozenset(needs)) for name, trusted, needs in await cursor.fetchall()}
    return replace(seen, available=found)
