"""A mark for each tenant that has a database of its own, read without a connection to any of these databases."""

from collections.abc import Iterable
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.marks_of_roles import OF_ROLES, OURS

_FORMATS: Final = TenantNames("%s")

MARKS: Final = """
WITH place AS MATERIALIZED (
    SELECT key, format(%(database)s::text, key)::name AS database FROM unnest(%(keys)s::text[]) AS p(key)
), <ours>, own AS MATERIALIZED (
    SELECT p.key, d.oid, hash_record_extended(ROW(d.oid, d.datname::text, pg_get_userbyid(d.datdba)::text,
        d.datallowconn, d.datistemplate, d.datconnlimit, d.datacl::text), 1) AS mark
    FROM place p JOIN pg_database d ON d.datname = p.database
), marks AS (
    <of roles>
    UNION ALL
    SELECT key, mark FROM own
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
)
SELECT key, count(*)::text || ' ' || bit_xor(mark)::text FROM marks GROUP BY key
""".replace("<ours>", OURS).replace("<of roles>", OF_ROLES)
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
