"""What of a tenant's mark is in the catalogues that all databases of a server share: its roles."""

from typing import Final

OURS: Final = """ours AS MATERIALIZED (
    SELECT p.key, r.oid, r.rolname, r.rolcanlogin, hash_record_extended(ROW(r.rolname::text, r.oid, r.rolcanlogin,
        r.rolinherit, r.rolconnlimit, r.rolvaliduntil, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication,
        r.rolbypassrls), 0) AS mark
    FROM unnest(%(roles)s::text[]) AS f(role) CROSS JOIN place p
    JOIN pg_roles r ON r.rolname = format(f.role, p.key)::name
)"""
"""Reads from `place`, which has the keys; `roles` are the formats of names."""

OF_ROLES: Final = """SELECT key, mark FROM ours
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(pg_get_userbyid(m.member)::text, m), 2)
    FROM pg_auth_members m JOIN ours o ON o.oid = m.roleid
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(pg_get_userbyid(m.roleid)::text, m), 3)
    FROM pg_auth_members m JOIN ours o ON o.oid = m.member
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(s.setrole, s.setdatabase, s.setconfig), 4)
    FROM pg_db_role_setting s JOIN ours o ON o.oid = s.setrole
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(s.objoid, s.description), 5)
    FROM pg_shdescription s JOIN ours o ON o.oid = s.objoid WHERE s.classoid = 'pg_authid'::regclass
    UNION ALL
    SELECT DISTINCT o.key, hash_record_extended(ROW(o.oid), 11)
    FROM ours o JOIN pg_stat_activity a ON a.usesysid = o.oid WHERE NOT o.rolcanlogin"""
"""The first rows of a mark. The numbers keep catalogues from cancelling each other out; 1, 6 to 10 and 12 are taken."""
