"""One query that tells all there is under the names of any number of tenants: one row of facts for each."""

from typing import Final

FOREIGN: Final = """jsonb_build_array(i.type, i.identity, pg_get_userbyid(coalesce(
        (SELECT relowner FROM pg_class WHERE e.classid = 'pg_class'::regclass AND oid = e.objid),
        (SELECT nspowner FROM pg_namespace WHERE e.classid = 'pg_namespace'::regclass AND oid = e.objid),
        (SELECT proowner FROM pg_proc WHERE e.classid = 'pg_proc'::regclass AND oid = e.objid),
        (SELECT typowner FROM pg_type WHERE e.classid = 'pg_type'::regclass AND oid = e.objid),
        (SELECT datdba FROM pg_database WHERE e.classid = 'pg_database'::regclass AND oid = e.objid),
        (SELECT defaclrole FROM pg_default_acl WHERE e.classid = 'pg_default_acl'::regclass AND oid = e.objid),
        (SELECT lomowner FROM pg_largeobject_metadata WHERE e.classid = 'pg_largeobject'::regclass AND oid = e.objid),
        (SELECT relowner FROM pg_policy JOIN pg_class r ON r.oid = polrelid
            WHERE e.classid = 'pg_policy'::regclass AND pg_policy.oid = e.objid),
        (SELECT oid FROM pg_roles WHERE rolname = 'postgres'), 10)), e.rolname, coalesce(g.givers, '[]'))"""
"""The fact of a mention `e`, with FOREIGN_JOINS."""

FOREIGN_JOINS: Final = """CROSS JOIN LATERAL pg_identify_object(e.classid, e.objid, 0) i
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(DISTINCT pg_get_userbyid(a.grantee))
            FILTER (WHERE a.is_grantable AND a.grantor = h.owner AND a.grantee <> h.owner) AS givers
        FROM (
            SELECT relowner, relacl FROM pg_class WHERE e.classid = 'pg_class'::regclass AND oid = e.objid
            UNION ALL SELECT relowner, attacl FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
                WHERE e.classid = 'pg_class'::regclass AND attrelid = e.objid
            UNION ALL SELECT nspowner, nspacl FROM pg_namespace
                WHERE e.classid = 'pg_namespace'::regclass AND oid = e.objid
            UNION ALL SELECT proowner, proacl FROM pg_proc WHERE e.classid = 'pg_proc'::regclass AND oid = e.objid
            UNION ALL SELECT typowner, typacl FROM pg_type WHERE e.classid = 'pg_type'::regclass AND oid = e.objid
            UNION ALL SELECT datdba, datacl FROM pg_database WHERE e.classid = 'pg_database'::regclass AND oid = e.objid
            UNION ALL SELECT lomowner, lomacl FROM pg_largeobject_metadata
                WHERE e.classid = 'pg_largeobject'::regclass AND oid = e.objid
        ) AS h(owner, acl) CROSS JOIN LATERAL aclexplode(h.acl) a
        HAVING bool_or(a.grantor <> h.owner AND pg_get_userbyid(a.grantee) = e.rolname)
    ) g ON true
    -- An object that was dropped just now has none.
    WHERE i.identity IS NOT NULL"""

READS: Final = "bool_or(h.reads), bool_or(NOT h.reads), bool_or(h.more)"
"""The fact of what role `o` holds on relations `c`, with READS_JOINS."""

READS_JOINS: Final = """CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(a.privilege_type = 'SELECT'), false) AS reads,
            coalesce(bool_or(a.privilege_type <> 'SELECT' OR a.is_grantable), false) OR EXISTS (
                SELECT FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) b
                WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL AND b.grantee = o.oid
                    AND (b.privilege_type <> 'SELECT' OR b.is_grantable)) AS more
        FROM aclexplode(c.relacl) a WHERE a.grantee = o.oid
    ) h"""

_FACTS: Final = """
WITH named AS (
    SELECT * FROM unnest(%(role_keys)s::text[], %(roles)s::text[]) AS n(key, role)
), place AS (
    SELECT * FROM unnest(%(keys)s::text[], %(schemas)s::text[], %(service_schemas)s::text[], %(owners)s::text[])
        AS p(key, schema, service_schema, owner)
), here AS (
    SELECT oid FROM pg_database WHERE datname = coalesce(%(own)s::name, current_database())
), inside AS (
    -- Nothing when the tenant has a database of its own, and we are in another.
    SELECT oid FROM here JOIN pg_database d USING (oid) WHERE d.datname = current_database()
), ours AS (
    SELECT n.key, r.* FROM named n JOIN pg_roles r ON r.rolname = n.role::name
), spaces AS (
    SELECT p.key, n.*, n.nspname = p.service_schema AS services
    FROM place p JOIN pg_namespace n ON n.nspname IN (p.schema::name, p.service_schema::name)
    WHERE EXISTS (SELECT FROM inside)
), members AS (
    SELECT o.key, m.* FROM ours o JOIN pg_auth_members m ON m.roleid = o.oid
    UNION
    SELECT o.key, m.* FROM ours o JOIN pg_auth_members m ON m.member = o.oid
), mentions AS (
    SELECT o.key, o.rolname, d.classid, d.objid, d.deptype
    FROM ours o
    JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = o.oid AND d.deptype IN ('a', 'r')
    WHERE d.dbid IN (0, (SELECT oid FROM inside)) AND NOT (
        d.classid = 'pg_database'::regclass AND %(own)s::name IS NOT NULL AND d.objid = (SELECT oid FROM here))
), elsewhere AS (
    SELECT DISTINCT m.key, m.rolname, m.classid, m.objid, m.deptype
    FROM mentions m
    LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
    LEFT JOIN pg_proc f ON m.classid = 'pg_proc'::regclass AND f.oid = m.objid
    LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
    LEFT JOIN pg_policy p ON m.classid = 'pg_policy'::regclass AND p.oid = m.objid
    LEFT JOIN pg_class pc ON pc.oid = p.polrelid
    LEFT JOIN pg_default_acl a ON m.classid = 'pg_default_acl'::regclass AND a.oid = m.objid
    LEFT JOIN pg_largeobject_metadata l ON m.classid = 'pg_largeobject'::regclass AND l.oid = m.objid
    WHERE NOT EXISTS (
        SELECT FROM spaces s WHERE s.key = m.key AND s.oid = coalesce(
            c.relnamespace, f.pronamespace, t.typnamespace, pc.relnamespace,
            CASE WHEN m.classid = 'pg_namespace'::regclass THEN m.objid END)
    ) AND NOT EXISTS (
        SELECT FROM ours o WHERE o.key = m.key AND o.oid = coalesce(a.defaclrole, l.lomowner)
    )
), facts AS (
    SELECT key, 'role' AS kind, jsonb_build_array(
        rolname, oid::bigint, rolcanlogin, rolinherit, rolconnlimit,
        coalesce(rolvaliduntil < 'infinity', false),
        to_jsonb(array_remove(ARRAY[
            CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
            CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)),
        coalesce((SELECT to_jsonb(s.setconfig) FROM pg_db_role_setting s
            WHERE s.setrole = ours.oid AND s.setdatabase = (SELECT oid FROM here)), '[]')
    ) AS fact FROM ours
    UNION ALL
    SELECT o.key, 'marker', jsonb_build_array(shobj_description(o.oid, 'pg_authid'))
    FROM place p JOIN ours o ON o.key = p.key AND o.rolname = p.owner
    UNION ALL
    -- Since Postgres 16 the maker of a role keeps a membership by which it can only administer it.
    -- Since then there is also a row for each who granted, and each has options that Postgres 15 does not know.
    SELECT key, 'member', jsonb_build_array(
        pg_get_userbyid(roleid), pg_get_userbyid(member), bool_or(admin_option),
        NOT coalesce(bool_or((to_jsonb(m)->>'set_option')::boolean), true)
            OR coalesce(bool_or((to_jsonb(m)->>'inherit_option')::boolean) <> bool_or(r.rolinherit), false))
    FROM members m JOIN pg_roles r ON r.oid = m.member
    WHERE NOT (admin_option AND current_setting('server_version_num')::int >= 160000
        AND member = (SELECT oid FROM pg_roles WHERE rolname = current_user))
    GROUP BY key, roleid, member
    UNION ALL
    SELECT DISTINCT o.key, 'session', jsonb_build_array(o.rolname)
    FROM ours o JOIN pg_stat_activity a ON a.usesysid = o.oid WHERE NOT o.rolcanlogin
    UNION ALL
    SELECT key, 'schema', jsonb_build_array(nspname, pg_get_userbyid(nspowner)) FROM spaces
    UNION ALL
    SELECT key, 'on schema', jsonb_build_array(
        nspname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
        a.privilege_type, bool_or(a.is_grantable))
    FROM spaces CROSS JOIN LATERAL aclexplode(nspacl) a WHERE a.grantee <> nspowner
    GROUP BY key, nspname, a.grantee, a.privilege_type
    UNION ALL
    SELECT s.key, 'table', jsonb_build_array(c.relname)
    FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p') WHERE s.services
    UNION ALL
    SELECT s.key, 'on table', jsonb_build_array(
        c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
        a.privilege_type, bool_or(a.is_grantable))
    FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
    CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE s.services AND a.grantee <> c.relowner
    GROUP BY s.key, c.relname, a.grantee, a.privilege_type
    UNION ALL
    SELECT s.key, 'on table', jsonb_build_array(
        c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
        a.privilege_type || ' (' || quote_ident(t.attname) || ')', bool_or(a.is_grantable))
    FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p', 'v', 'm')
    JOIN pg_attribute t ON t.attrelid = c.oid AND t.attacl IS NOT NULL
    CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE s.services AND a.grantee <> c.relowner
    GROUP BY s.key, c.relname, a.grantee, a.privilege_type, t.attname
    UNION ALL
    -- A sequence of a column follows its table.
    SELECT s.key, 'owner', jsonb_build_array(c.relname, pg_get_userbyid(c.relowner))
    FROM spaces s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p', 'v', 'm') WHERE s.services
    UNION ALL
    SELECT o.key, 'set elsewhere', jsonb_build_array(
        o.rolname, coalesce(d.datname, ''), split_part(one, '=', 1))
    FROM ours o JOIN pg_db_role_setting s ON s.setrole = o.oid LEFT JOIN pg_database d ON d.oid = s.setdatabase
    CROSS JOIN LATERAL unnest(s.setconfig) one WHERE s.setdatabase IS DISTINCT FROM (SELECT oid FROM here)
    UNION ALL
    SELECT o.key, 'default', jsonb_build_array(
        t.on_kind, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
        a.privilege_type, bool_or(a.is_grantable))
    FROM place p JOIN ours o ON o.key = p.key AND o.rolname = p.owner
    CROSS JOIN (VALUES ('r', 'r', 'TABLES'), ('S', 's', 'SEQUENCES'), ('f', 'f', 'FUNCTIONS'))
        AS t(objtype, acltype, on_kind)
    LEFT JOIN pg_default_acl d
        ON d.defaclrole = o.oid AND d.defaclnamespace = 0 AND d.defaclobjtype = t.objtype::"char"
        AND EXISTS (SELECT FROM inside)
    CROSS JOIN LATERAL aclexplode(coalesce(d.defaclacl, acldefault(t.acltype::"char", o.oid))) a
    WHERE a.grantee <> o.oid
    GROUP BY o.key, t.on_kind, a.grantee, a.privilege_type
    UNION ALL
    SELECT o.key, 'reads', jsonb_build_array(<reads>)
    FROM place p JOIN ours o ON o.key = p.key AND o.rolname = left(p.owner, -5) || 'ro'
    JOIN ours w ON w.key = p.key AND w.rolname = p.owner
    JOIN spaces s ON s.key = p.key AND NOT s.services
    JOIN pg_class c ON c.relnamespace = s.oid AND c.relowner = w.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    <reads joins>
    GROUP BY o.key
    UNION ALL
    SELECT DISTINCT o.key, 'elsewhere', jsonb_build_array(o.rolname, d.datname)
    FROM ours o JOIN pg_shdepend s ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = o.oid
    JOIN pg_database d ON d.oid = s.dbid WHERE d.oid IS DISTINCT FROM (SELECT oid FROM here)
    UNION ALL
    SELECT p.key, 'database', jsonb_build_array(
        d.datname, pg_get_userbyid(d.datdba), shobj_description(d.oid, 'pg_database'), d.datallowconn, d.datistemplate,
        d.datconnlimit, EXISTS (SELECT FROM inside), (
            SELECT coalesce(jsonb_agg(g.one ORDER BY g.one), '[]') FROM (
                SELECT jsonb_build_array(
                    d.datname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
                    a.privilege_type, bool_or(a.is_grantable)) AS one
                FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                WHERE a.grantee <> d.datdba GROUP BY a.grantee, a.privilege_type) g))
    FROM place p JOIN pg_database d ON d.datname = %(own)s::name
    UNION ALL
    SELECT e.key, 'foreign', <foreign> FROM elsewhere e <joins>
)
SELECT key, jsonb_agg(jsonb_build_array(kind, fact) ORDER BY kind, fact)::text AS facts FROM facts GROUP BY key
"""
FACTS: Final = (
    _FACTS.replace("<foreign>", FOREIGN)
    .replace("<joins>", FOREIGN_JOINS)
    .replace("<reads>", READS)
    .replace("<reads joins>", READS_JOINS)
)
"""Needs no privilege beyond connecting. Bind the names of `catalogue_names`; `own` is the database of a tenant that has
one of its own, and is then asked about alone, in that database or, if it lets nobody in, in another.

Grants of owners to themselves are left out: they hold by themselves. A mention is a privilege or a policy of one of
the tenant's roles on an object outside its schemas.
"""
