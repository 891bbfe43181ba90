"""Reads what opens a way between tenants and is none of the facts under one tenant's names.

Only what is wrong is answered, so that the answer about any number of tenants is empty as a rule.
"""

from collections.abc import Container, Iterable
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from tenantry_operator.model.exposure import Exposure, Way
from tenantry_operator.model.names import OWNER, SERVICES, TENANTS, TenantNames
from tenantry_operator.model.pool import DIRECTORY_SCHEMA, POOL_CUSTOMERS, POOL_SCHEMA
from tenantry_operator.model.tenant import PUBLIC

_FORMATS: Final = TenantNames("%s")

OF_TENANTS: Final = """
WITH place AS MATERIALIZED (
    SELECT key, key = ANY (%(pooled)s::text[]) AS pooled FROM unnest(%(keys)s::text[]) AS p(key)
), named AS MATERIALIZED (
    SELECT p.key, r.oid FROM unnest(%(roles)s::text[]) AS f(role) CROSS JOIN place p
    JOIN pg_roles r ON r.rolname = format(f.role, p.key)::name
), spaces AS MATERIALIZED (
    SELECT p.key, n.oid, w.services FROM place p
    CROSS JOIN LATERAL (VALUES (%(schema)s::text, false), (%(service_schema)s::text, true)) AS w(name, services)
    JOIN pg_namespace n ON n.nspname = format(w.name, p.key)::name
    WHERE NOT p.pooled
), owners AS MATERIALIZED (
    SELECT key, oid, false AS services FROM named
    UNION ALL SELECT s.key, r.oid, true FROM spaces s JOIN pg_roles r ON r.rolname = %(owner)s WHERE s.services
), there AS (
    -- Tables of the services have a fact of their own.
    SELECT s.key, s.services, 'pg_class'::regclass AS classid, c.oid, c.relowner AS owner
    FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT s.services
    UNION ALL
    SELECT s.key, s.services, 'pg_proc'::regclass, f.oid, f.proowner
    FROM spaces s JOIN pg_proc f ON f.pronamespace = s.oid
), owned AS (
    SELECT n.key, n.oid AS owner, d.classid, d.objid AS oid
    FROM named n JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = n.oid AND d.deptype = 'o'
    WHERE d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass)
), ways AS (
    SELECT t.key, 'stranger''s object' AS way, t.classid, t.oid, t.owner
    FROM there t
    WHERE NOT EXISTS (SELECT FROM owners o WHERE o.key = t.key AND o.services = t.services AND o.oid = t.owner)
    UNION ALL
    SELECT o.key, 'object outside', o.classid, o.oid, o.owner
    FROM owned o
    LEFT JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.oid
    LEFT JOIN pg_proc f ON o.classid = 'pg_proc'::regclass AND f.oid = o.oid
    WHERE NOT EXISTS (SELECT FROM spaces s WHERE s.key = o.key AND s.oid = coalesce(
        c.relnamespace, f.pronamespace, CASE WHEN o.classid = 'pg_namespace'::regclass THEN o.oid END))
)
SELECT w.key, w.way, i.type || ' ' || i.identity, pg_get_userbyid(w.owner)::text
FROM ways w CROSS JOIN LATERAL pg_identify_object(w.classid, w.oid, 0) i
WHERE i.identity IS NOT NULL AND i.identity !~ '^pg_(toast|temp)' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = w.classid AND d.objid = w.oid AND d.deptype IN ('e', 'i'))
ORDER BY 1, 2, 3
"""
"""What is an extension's is left out: who made the extension is an administrator, and its objects are no tenant's."""

OF_ALL: Final = """
WITH RECURSIVE everyone AS MATERIALIZED (
    SELECT oid FROM pg_roles WHERE rolname = %(who)s
    UNION ALL SELECT 0::oid WHERE %(apart)s::bool  -- that is PUBLIC
), up AS (
    SELECT m.roleid AS oid FROM pg_auth_members m JOIN everyone e ON m.member = e.oid
    UNION SELECT m.roleid FROM pg_auth_members m JOIN up ON m.member = up.oid
), down AS (
    SELECT m.member AS oid, r.rolname AS via
    FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles w ON w.oid = m.member
    WHERE (r.rolname = %(owner)s OR r.rolname ~ %(logins)s) AND w.rolname <> current_user AND NOT w.rolsuper
    UNION
    SELECT m.member, down.via FROM pg_auth_members m JOIN down ON m.roleid = down.oid
    JOIN pg_roles w ON w.oid = m.member WHERE w.rolname <> current_user AND NOT w.rolsuper
), spaces AS MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner,
        n.nspname IN ('pg_catalog', 'information_schema') OR n.nspname ~ '^pg_(toast|temp)' AS of_server,
        (n.nspname ^@ 't_' AND pg_get_userbyid(n.nspowner) = (n.nspname || '_owner')::name)
            OR (n.nspname ^@ 's_' AND pg_get_userbyid(n.nspowner) = %(owner)s) AS of_tenant,
        n.nspname = ANY (%(pool_schemas)s::name[]) AND pg_get_userbyid(n.nspowner) = %(owner)s AS of_pool
    FROM pg_namespace n
), shared AS MATERIALIZED (
    SELECT s.* FROM spaces s CROSS JOIN everyone e
    WHERE NOT s.of_server AND NOT s.of_tenant AND NOT s.of_pool AND has_schema_privilege(e.oid, s.oid, 'USAGE')
), relations AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relowner, c.reloptions FROM shared s JOIN pg_class c ON c.relnamespace = s.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
), held AS (
    SELECT d.classid, d.objid FROM everyone e JOIN pg_shdepend d
        ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = e.oid AND d.deptype IN ('a', 'o')
    WHERE d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        AND d.classid NOT IN ('pg_database'::regclass, 'pg_namespace'::regclass)
        -- What the pool's customers may in the pool is looked at with its other guards.
        AND NOT (%(pooled)s::bool AND EXISTS (SELECT FROM spaces s WHERE s.of_pool AND s.oid IN (
            (SELECT c.relnamespace FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid),
            (SELECT f.pronamespace FROM pg_proc f WHERE d.classid = 'pg_proc'::regclass AND f.oid = d.objid))))
), strange AS (
    SELECT 'pg_proc'::regclass AS classid, f.oid, f.proowner AS owner
    FROM spaces s JOIN pg_proc f ON f.pronamespace = s.oid
    WHERE s.of_pool AND (pg_get_userbyid(f.proowner) <> %(owner)s OR f.prosecdef AND s.nspname = %(pool)s)
    UNION ALL
    SELECT 'pg_class'::regclass, c.oid, c.relowner FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid
    WHERE s.of_pool AND c.relkind IN ('v', 'm', 'f') AND pg_get_userbyid(c.relowner) <> %(owner)s
)
SELECT 'role', r.rolname::text, '' FROM up JOIN pg_roles r USING (oid)
UNION ALL
SELECT 'attribute', r.rolname::text, a.word FROM pg_roles r CROSS JOIN LATERAL (VALUES
    (r.rolsuper, 'SUPERUSER'), (r.rolcreatedb, 'CREATEDB'), (r.rolcreaterole, 'CREATEROLE'),
    (r.rolreplication, 'REPLICATION'), (r.rolbypassrls, 'BYPASSRLS')) AS a(has, word)
WHERE a.has AND (r.rolname IN (%(owner)s, %(tenants)s) OR r.rolname ~ %(logins)s)
UNION ALL
SELECT 'object', i.type || ' ' || i.identity, '' FROM held h
CROSS JOIN LATERAL pg_identify_object(h.classid, h.objid, 0) i WHERE i.identity IS NOT NULL
UNION ALL
SELECT DISTINCT 'member', pg_get_userbyid(oid)::text, via::text FROM down
UNION ALL
SELECT 'database', d.datname::text, p.word FROM pg_database d CROSS JOIN everyone e
CROSS JOIN (VALUES ('CREATE'), ('TEMPORARY'), ('CONNECT')) AS p(word)
WHERE (d.datname = current_database() AND p.word <> 'CONNECT' AND NOT %(apart)s::bool
        OR d.datname = ANY (%(closed)s::name[]))
    AND has_database_privilege(e.oid, d.oid, p.word)
UNION ALL
SELECT 'schema', s.nspname::text, pg_get_userbyid(s.nspowner)::text FROM spaces s CROSS JOIN everyone e
WHERE NOT s.of_tenant AND NOT s.of_pool AND has_schema_privilege(e.oid, s.oid, 'CREATE')
UNION ALL
SELECT 'relation', r.oid::regclass::text, pg_get_userbyid(r.relowner)::text FROM relations r CROSS JOIN everyone e
WHERE has_table_privilege(e.oid, r.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
    OR has_any_column_privilege(e.oid, r.oid, 'INSERT, UPDATE, REFERENCES')
UNION ALL
SELECT DISTINCT 'view', r.oid::regclass::text, t.nspname::text
FROM relations r CROSS JOIN everyone e JOIN pg_rewrite w ON w.ev_class = r.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid JOIN spaces t ON t.oid = c.relnamespace AND (t.of_tenant OR t.of_pool)
WHERE r.relkind IN ('v', 'm') AND has_any_column_privilege(e.oid, r.oid, 'SELECT')
    AND NOT coalesce('security_invoker=true' = ANY (r.reloptions) OR 'security_invoker=on' = ANY (r.reloptions), false)
UNION ALL
SELECT 'definer', f.oid::regprocedure::text, pg_get_userbyid(f.proowner)::text
FROM pg_proc f JOIN shared s ON s.oid = f.pronamespace CROSS JOIN everyone e
WHERE f.prosecdef AND has_function_privilege(e.oid, f.oid, 'EXECUTE') AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e')
UNION ALL
SELECT 'function', f.oid::regprocedure::text, '' FROM pg_proc f CROSS JOIN everyone e
WHERE f.proname = ANY (%(functions)s::name[]) AND has_function_privilege(e.oid, f.oid, 'EXECUTE')
    AND f.pronamespace = 'pg_catalog'::regnamespace
UNION ALL
SELECT 'catalogue', c.relname::text, '' FROM pg_class c CROSS JOIN everyone e
WHERE c.relname = ANY (%(catalogues)s::name[]) AND c.relnamespace = 'pg_catalog'::regnamespace
    AND has_any_column_privilege(e.oid, c.oid, 'SELECT, INSERT, UPDATE')
UNION ALL
SELECT 'foreign server', 'SERVER ' || quote_ident(s.srvname), '' FROM pg_foreign_server s CROSS JOIN everyone e
WHERE has_server_privilege(e.oid, s.oid, 'USAGE')
UNION ALL
SELECT 'foreign server', 'DATA WRAPPER ' || quote_ident(w.fdwname), '' FROM pg_foreign_data_wrapper w
CROSS JOIN everyone e WHERE has_foreign_data_wrapper_privilege(e.oid, w.oid, 'USAGE')
UNION ALL
SELECT 'parameter', p.parname, '' FROM pg_parameter_acl p CROSS JOIN everyone e
WHERE has_parameter_privilege(e.oid, p.parname, 'SET, ALTER SYSTEM')
UNION ALL
-- A session that is kept keeps what its database's settings were when it began.
SELECT 'setting', s.name, s.setting FROM pg_settings s
WHERE s.name = 'lo_compat_privileges' AND s.setting = 'on' AND s.source IN ('configuration file', 'command line')
UNION
SELECT 'setting', 'lo_compat_privileges', 'on' FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) one
WHERE s.setrole = 0 AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND one = 'lo_compat_privileges=on'
UNION ALL
SELECT 'default', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type
FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole CROSS JOIN LATERAL aclexplode(d.defaclacl) a
WHERE r.rolname = %(owner)s AND a.grantee <> r.oid AND NOT (a.grantee = 0 AND d.defaclobjtype IN ('f', 'T'))
UNION ALL
SELECT 'pool object', i.type || ' ' || i.identity, pg_get_userbyid(t.owner)::text FROM strange t
CROSS JOIN LATERAL pg_identify_object(t.classid, t.oid, 0) i WHERE %(pooled)s::bool AND i.identity IS NOT NULL
ORDER BY 1, 2, 3
"""
"""Asked in the name of the group that every tenant's login belongs to: what PUBLIC may, it may as well.

In a database that is one tenant's alone it is asked in the name of PUBLIC: what its own roles hold are its facts.
"""

FUNCTIONS: Final = (
    "pg_read_file", "pg_read_binary_file", "pg_stat_file", "pg_ls_dir", "pg_ls_logdir", "pg_ls_waldir", "pg_ls_tmpdir",
    "lo_import", "lo_export", "pg_reload_conf", "pg_rotate_logfile", "pg_switch_wal", "pg_promote",
    "pg_create_restore_point", "pg_stat_reset",
)  # fmt: skip
"""Of the server's own functions those that read files, write them, or rule the server."""

CATALOGUES: Final = (
    "pg_authid", "pg_shadow", "pg_largeobject", "pg_user_mapping", "pg_statistic", "pg_statistic_ext_data",
    "pg_hba_file_rules", "pg_ident_file_mappings", "pg_file_settings",
)  # fmt: skip
"""Catalogues with passwords, with others' data, or with samples of it."""


async def read_ways(
    connection: AsyncConnection[Any], tenants: Iterable[TenantNames], *, pooled: Container[str] = ()
) -> dict[str, frozenset[Exposure]]:
    """Return, by key, what is wrong in or around the schemas of each tenant; those without are left out.

    Those whose name is in `pooled` have no schemas: whatever belongs to their roles is outside.
    """
    named = list(tenants)
    parameters = {
        "keys": [names.key for names in named],
        "pooled": [names.key for names in named if names.name in pooled],
        "roles": list(_FORMATS.roles),
        "schema": _FORMATS.schema,
        "service_schema": _FORMATS.service_schema,
        "owner": OWNER,
    }
    async with connection.cursor(row_factory=tuple_row) as cursor:
        # A plan for any number of tenants would be one for ten.
        await cursor.execute(OF_TENANTS, parameters, prepare=False)
        found: dict[str, set[Exposure]] = {}
        for key, way, subject, detail in await cursor.fetchall():
            found.setdefault(str(key), set()).add(Exposure(Way(way), str(subject), str(detail)))
    return {key: frozenset(ways) for key, ways in found.items()}


async def read_shared_ways(
    connection: AsyncConnection[Any], *, who: str = TENANTS, closed: Iterable[str] = ()
) -> frozenset[Exposure]:
    """Return what is open to every tenant of the database that the connection is in.

    `who` is the group of their logins, or PUBLIC in a database of one tenant; `closed` are databases in which they may
    do nothing.
    """
    parameters = {
        "who": who,
        "tenants": TENANTS,
        "owner": OWNER,
        "logins": f"^tenantry_svc_({'|'.join(SERVICES)})_[1-9][0-9]{{0,3}}$",
        "apart": who == PUBLIC,
        "pooled": who == POOL_CUSTOMERS,
        "pool": POOL_SCHEMA,
        "pool_schemas": [POOL_SCHEMA, DIRECTORY_SCHEMA],
        "closed": list(closed),
        "functions": list(FUNCTIONS),
        "catalogues": list(CATALOGUES),
    }
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(OF_ALL, parameters, prepare=False)
        return frozenset(
            Exposure(Way(way), str(subject), str(detail), who) for way, subject, detail in await cursor.fetchall()
        )
