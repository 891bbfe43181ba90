"""Reads the pool of a server: what one tenant's pass needs of it, and all of it for the server's."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from tenantry_migrations import VERSION_TABLE
from tenantry_operator.model.pool import (
    DIRECTORY_SCHEMA,
    DIRECTORY_TABLE,
    OWNERS_PART,
    POOL_CUSTOMERS,
    POOL_ROLES,
    POOL_SCHEMA,
    PoolEntry,
    PoolPart,
)
from tenantry_operator.model.pool_catalogue import PoolCatalogue, PoolFunction, PoolPolicy, PoolTable
from tenantry_operator.model.tenant import Grant, Membership
from tenantry_operator.observe.tenant import parse_role

Connection = AsyncConnection[Any]

THERE: Final = f"""
SELECT to_regclass('{POOL_SCHEMA}.{VERSION_TABLE}') IS NOT NULL,
    to_regclass('{DIRECTORY_SCHEMA}.{DIRECTORY_TABLE}') IS NOT NULL
"""
LINES: Final = f"""
SELECT w.name, jsonb_build_array((SELECT version FROM {POOL_SCHEMA}.{VERSION_TABLE}),
    (SELECT jsonb_agg(relname ORDER BY relname) FROM pg_class
        WHERE relnamespace = '{POOL_SCHEMA}'::regnamespace AND relkind IN ('r', 'p')),
    CASE WHEN p.name IS NULL THEN NULL
        ELSE jsonb_build_array(p.tenant_id, p.name, p.login_a, p.login_b, p.open) END)::text
FROM unnest(%s::text[]) AS w(name) LEFT JOIN {DIRECTORY_SCHEMA}.{DIRECTORY_TABLE} p ON p.name = w.name
"""  # noqa: S608  # names of our own

FACTS: Final = """
WITH spaces AS (
    SELECT oid, nspname::text AS schema, nspowner, nspacl FROM pg_namespace WHERE nspname = ANY (%(schemas)s::name[])
), relations AS (
    SELECT c.*, s.schema FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), functions AS (
    SELECT p.*, format('%%s(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS name
    FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace AND s.schema = %(directory)s
), ours AS (
    SELECT * FROM pg_roles WHERE rolname = ANY (%(roles)s::name[])
), acls AS (
    SELECT 'schema' AS kind, schema AS name, nspowner AS owner, nspacl AS acl FROM spaces
    UNION ALL SELECT 'table', schema || '.' || relname, relowner, relacl FROM relations
    UNION ALL SELECT 'table', r.schema || '.' || r.relname, r.relowner, a.attacl
        FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attacl IS NOT NULL
    UNION ALL SELECT 'function', name, proowner, coalesce(proacl, acldefault('f', proowner)) FROM functions
)
SELECT jsonb_build_object(
    'roles', (SELECT coalesce(jsonb_agg(jsonb_build_array(
        rolname, oid::bigint, rolcanlogin, rolinherit, rolconnlimit, coalesce(rolvaliduntil < 'infinity', false),
        to_jsonb(array_remove(ARRAY[
            CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
            CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)), '[]'::jsonb)), '[]') FROM ours),
    -- Since Postgres 16 the maker of a role keeps a membership by which it can only administer it.
    'memberships', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(
        pg_get_userbyid(m.roleid), pg_get_userbyid(m.member))), '[]')
        FROM pg_auth_members m JOIN ours o ON o.oid IN (m.roleid, m.member)
        WHERE NOT (pg_get_userbyid(m.roleid) = %(customers)s
            AND pg_get_userbyid(m.member) ~ '^t_.+_login_[ab]$')
        AND NOT (m.admin_option AND current_setting('server_version_num')::int >= 160000
            AND pg_get_userbyid(m.member) = current_user)),
    'service_logins', (SELECT coalesce(jsonb_agg(rolname), '[]') FROM pg_roles
        WHERE rolname ~ '^tenantry_svc_[a-z]+_[1-9][0-9]{0,3}$'),
    'schemas', (SELECT coalesce(jsonb_object_agg(schema, pg_get_userbyid(nspowner)), '{}') FROM spaces),
    'tables', (SELECT coalesce(jsonb_agg(jsonb_build_array(
        relname, pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity)), '[]')
        FROM relations WHERE schema = %(pool)s AND relkind IN ('r', 'p')),
    'grants', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(kind, name,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type,
        a.is_grantable)), '[]')
        FROM acls CROSS JOIN LATERAL aclexplode(acl) a WHERE a.grantee <> owner),
    'policies', (SELECT coalesce(jsonb_agg(jsonb_build_array(r.relname, p.polname, p.polpermissive, p.polcmd,
        (SELECT jsonb_agg(CASE one WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(one)::text END ORDER BY one)
            FROM unnest(p.polroles) one),
        coalesce(pg_get_expr(p.polqual, p.polrelid), ''), coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''))), '[]')
        FROM relations r JOIN pg_policy p ON p.polrelid = r.oid WHERE r.schema = %(pool)s),
    'functions', (SELECT coalesce(jsonb_agg(jsonb_build_array(
        name, pg_get_userbyid(proowner), prosecdef, coalesce(to_jsonb(proconfig), '[]'), md5(prosrc))), '[]')
        FROM functions)
)
"""


async def read_lines(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """Return, by the name of each tenant asked about, what the pool says of it; nothing while there is no pool."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(THERE)
        if await cursor.fetchone() != (True, True):
            return {}
        await cursor.execute(LINES, (list(names),))
        return dict(await cursor.fetchall())


def with_line(facts: str, line: str) -> str:
    """Return the facts of a tenant, or a mark of them, with what the pool says of it; the same gives the same."""
    return f"{facts}\n{line}" if line else facts


def parse_line(line: str | None) -> PoolPart:
    """Read what the pool says of one tenant."""
    if not line:
        return PoolPart()
    version, tables, entry = json.loads(line)
    if entry is None:
        return PoolPart(version, frozenset(tables))
    identity, name, first, second, is_open = entry
    return PoolPart(version, frozenset(tables), PoolEntry(identity, name, (first, second), is_open))


async def observe_pool(connection: Connection) -> PoolCatalogue | None:
    """Read all there is of the pool, but rows and columns; None when there is none."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(THERE)
        if await cursor.fetchone() != (True, True):
            return None
        await cursor.execute(
            f"SELECT (SELECT version FROM {POOL_SCHEMA}.{VERSION_TABLE}),"  # noqa: S608  # names of our own
            f" (SELECT version FROM {DIRECTORY_SCHEMA}.{VERSION_TABLE})"
        )
        versions = await cursor.fetchone()
        parameters = {
            "schemas": [POOL_SCHEMA, DIRECTORY_SCHEMA],
            "pool": POOL_SCHEMA,
            "directory": DIRECTORY_SCHEMA,
            "roles": [role for part, role in POOL_ROLES.items() if part != OWNERS_PART],
            "customers": POOL_CUSTOMERS,
        }
        await cursor.execute(FACTS, parameters)
        row = await cursor.fetchone()
    if versions is None or row is None or versions[0] is None:
        return None
    return _catalogue(versions, row[0])


def _catalogue(versions: tuple[Any, ...], facts: Mapping[str, Any]) -> PoolCatalogue:
    roles = [parse_role(role) for role in facts["roles"]]

    def grants(kind: str) -> frozenset[Grant]:
        return frozenset(Grant(*fact) for its_kind, *fact in facts["grants"] if its_kind == kind)

    return PoolCatalogue(
        version=versions[0],
        directory_version=versions[1],
        roles={role.name: role for role in roles},
        memberships=frozenset(Membership(*fact) for fact in facts["memberships"]),
        service_logins=frozenset(facts["service_logins"]),
        schemas=facts["schemas"],
        schema_grants=grants("schema"),
        tables={fact[0]: PoolTable(*fact) for fact in facts["tables"]},
        table_grants=grants("table"),
        policies=frozenset(
            PoolPolicy(table, name, permissive, command, tuple(to), using, check)
            for table, name, permissive, command, to, using, check in facts["policies"]
        ),
        functions=frozenset(
            PoolFunction(name, owner, definer, tuple(settings), source)
            for name, owner, definer, settings, source in facts["functions"]
        ),
        function_grants=grants("function"),
    )
