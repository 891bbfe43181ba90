"""Drops what is too much for one transaction: each object takes a lock, and the server has only so many."""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection, sql

from tenantry_operator.apply.tenant_sql import Statement, borrow, give_back, word
from tenantry_operator.plan import actions as do

Connection = AsyncConnection[Any]

RELATIONS_AT_ONCE: Final = 200
OTHERS_AT_ONCE: Final = 500
LARGE_OBJECTS_AT_ONCE: Final = 1000

# One that others are parts of goes after them, or it would take them all along.
RELATIONS: Final = """
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
    WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'
        AND d.refclassid = 'pg_class'::regclass AND c.relkind = 'S')
ORDER BY EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid), c.oid LIMIT %s
"""

# The catalogue quotes names and the types of arguments. An aggregate is a routine too.
ROUTINES: Final = """
SELECT format('ROUTINE IF EXISTS %%I.%%I(%%s)', n.nspname, f.proname, pg_get_function_identity_arguments(f.oid))
FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE n.nspname = ANY (%s) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype IN ('i', 'e'))
ORDER BY f.oid LIMIT %s
"""

# Not the types that others bring along: of rows, of arrays, of several ranges.
TYPES: Final = """
SELECT format('TYPE IF EXISTS %%I.%%I', n.nspname, t.typname)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = ANY (%s) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype IN ('i', 'e'))
ORDER BY t.oid LIMIT %s
"""

LARGE_OBJECTS: Final = """
SELECT l.oid::bigint FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner
WHERE r.rolname = ANY (%s) LIMIT %s
"""


async def thin_out(
    connection: Connection, action: do.DropData | do.LeaveDatabase, *, first: Sequence[Statement]
) -> None:
    """Drop in transactions of their own, each begun by `first`, until what is left fits into one."""
    roles = [*action.roles]
    while statements := await _some(connection, action):
        batch = [*first, *map(borrow, roles), *statements, *map(give_back, roles)]
        await connection.execute(sql.SQL(";\n").join(batch))


async def _some(connection: Connection, action: do.DropData | do.LeaveDatabase) -> list[Statement]:
    statements: list[Statement] = []
    if isinstance(action, do.DropData):
        statements = await _of_schemas(connection, [*action.schemas])
    cursor = await connection.execute(LARGE_OBJECTS, ([*action.roles], LARGE_OBJECTS_AT_ONCE + 1))
    large = [int(oid) for (oid,) in await cursor.fetchall()]
    if len(large) > LARGE_OBJECTS_AT_ONCE:
        statements.append(sql.SQL("SELECT lo_unlink(o) FROM unnest({}::oid[]) o").format(sql.Literal(large)))
    return statements


async def _of_schemas(connection: Connection, schemas: list[str]) -> list[Statement]:
    """Take relations first: they use the types and the functions, and so go by themselves and not along with them."""
    cursor = await connection.execute(RELATIONS, (schemas, RELATIONS_AT_ONCE + 1))
    relations = await cursor.fetchall()
    if len(relations) > RELATIONS_AT_ONCE:
        drop = sql.SQL("DROP {} IF EXISTS {} CASCADE")
        return [drop.format(word(kind), sql.Identifier(schema, name)) for kind, schema, name in relations]
    for query in (ROUTINES, TYPES):
        cursor = await connection.execute(query, (schemas, OTHERS_AT_ONCE + 1))
        found = [str(what) for (what,) in await cursor.fetchall()]
        if len(found) > OTHERS_AT_ONCE:
            return [sql.SQL("DROP {} CASCADE").format(word(what)) for what in found]
    return []
