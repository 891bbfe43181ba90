"""A mark for each tenant that has a database of its own, read without a connection to any of these databases."""

from collections.abc import Iterable
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from tenantry_operator.model.names import TenantNames

_FORMATS: Final = TenantNames("%s")

MARKS: Final = """
WITH place AS MATERIALIZED (
    SELECT key, format(%(database)s::text, key)::name AS database FROM unnest(%(keys)s::text[]) AS p(key)
), ours AS MATERIALIZED (
    SELECT p.key, r.oid, r.rolname, r.rolcanlogin, hash_record_extended(ROW(r.rolname::text, r.oid, r.rolcanlogin,
        r.rolinherit, r.rolconnlimit, r.rolvaliduntil, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication,
        r.rolbypassrls), 0) AS mark
    FROM unnest(%(roles)s::text[]) AS f(role) CROSS JOIN place p
    JOIN pg_roles r ON r.rolname = format(f.role, p.key)::name
), own AS MATERIALIZED (
    SELECT p.key, d.oid, hash_record_extended(ROW(d.oid, d.datname::text, pg_get_userbyid(d.datdba)::text,
        d.datallowconn, d.datistemplate, d.datconnlimit, d.datacl::text), 1) AS mark
    FROM place p JOIN pg_database d ON d.datname = p.database
), marks AS (
    SELECT key, mark FROM ours
    UNION ALL
    SELECT key, mark FROM own
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
    SELECT o.key, hash_record_extended(ROW(s.classoid, s.objoid, s.description), 5)
    FROM pg_shdescription s JOIN ours o ON o.oid = s.objoid WHERE s.classoid = 'pg_authid'::regclass
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(s.classoid, s.objoid, s.description), 5)
    FROM pg_shdescription s JOIN own o ON o.oid = s.objoid WHERE s.classoid = 'pg_database'::regclass
    UNION ALL
    -- What roles own or hold, the tenant's anywhere and anybody's in the tenant's database.
    SELECT o.key, hash_record_extended(ROW(o.oid, d.dbid, d.classid, d.objid, d.objsubid, d.deptype), 6)
    FROM pg_shdepend d JOIN ours o ON o.oid = d.refobjid WHERE d.refclassid = 'pg_authid'::regclass
    UNION ALL
    SELECT o.key, hash_record_extended(ROW(d.refobjid, d.dbid, d.classid, d.objid, d.objsubid, d.deptype), 7)
    FROM pg_shdepend d JOIN own o ON o.oid = d.dbid WHERE d.refclassid = 'pg_authid'::regclass
    UNION ALL
    SELECT DISTINCT o.key, hash_record_extended(ROW(o.oid), 8)
    FROM ours o JOIN pg_stat_activity a ON a.usesysid = o.oid WHERE NOT o.rolcanlogin
)
SELECT key, count(*)::text || ' ' || bit_xor(mark)::text FROM marks GROUP BY key
"""
"""The same from whichever database of the server it is asked. It changes with all but a privilege that is given in the
database to a role which holds another on the same object already, or to PUBLIC."""


async def read_marks_apart(connection: AsyncConnection[Any], tenants: Iterable[TenantNames]) -> dict[str, str]:
    """Return, by key, the mark of each tenant of which anything exists."""
    parameters = {
        "keys": [names.key for names in tenants],
        "roles": list(_FORMATS.roles),
        "database": _FORMATS.database,
    }
    async with connection.cursor(row_factory=tuple_row) as cursor:
        # A plan for any number of tenants would be one for ten.
        await cursor.execute(MARKS, parameters, prepare=False)
        return dict(await cursor.fetchall())
