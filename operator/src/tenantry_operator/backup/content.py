"""What is in a schema, in a form that can be compared with what a backup gives back."""

from typing import Any, Final

import psycopg
from psycopg import sql

from tenantry_operator.backup.orders import BackupError, Content
from tenantry_operator.backup.sayings import told_of

Connection = psycopg.Connection[Any]

# Values are compared as text, which must not depend on how a session is set. A policy is an error, and hides no row.
SETTINGS: Final = """
SET LOCAL search_path TO pg_catalog; SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO, YMD';
SET LOCAL intervalstyle TO 'postgres'; SET LOCAL bytea_output TO 'hex'; SET LOCAL extra_float_digits TO 1;
SET LOCAL row_security TO off; SET LOCAL statement_timeout TO 0
"""

RELATIONS: Final = """
SELECT c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = ANY (%s) ORDER BY c.relname
"""

OBJECTS: Final = """
WITH space AS (SELECT oid FROM pg_namespace WHERE nspname = %s),
    relations AS (SELECT c.oid, c.relkind FROM pg_class c JOIN space ON space.oid = c.relnamespace)
SELECT 'relations ' || relkind::text, count(*) FROM relations GROUP BY relkind
UNION ALL SELECT 'columns', count(*) FROM pg_attribute JOIN relations ON attrelid = relations.oid
    WHERE attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'routines', count(*) FROM pg_proc JOIN space ON space.oid = pronamespace
UNION ALL SELECT 'types', count(*) FROM pg_type JOIN space ON space.oid = typnamespace
UNION ALL SELECT 'constraints', count(*) FROM pg_constraint JOIN relations ON conrelid = relations.oid
    WHERE contype <> 'n' -- Postgres 18 has one for each NOT NULL, earlier ones have none
UNION ALL SELECT 'triggers', count(*) FROM pg_trigger JOIN relations ON tgrelid = relations.oid WHERE NOT tgisinternal
UNION ALL SELECT 'policies', count(*) FROM pg_policy JOIN relations ON polrelid = relations.oid
"""


def tables(connection: Connection, schema: str) -> list[str]:
    """Name what holds rows of its own, and the parents of what is divided."""
    return [str(name) for name, _ in connection.execute(RELATIONS, (schema, ["r", "p"])).fetchall()]


def read_content(connection: Connection, schema: str) -> Content:
    """Read all of the schema within the transaction that is open. Raises BackupError."""
    connection.execute(SETTINGS)
    try:
        counted = dict(connection.execute(OBJECTS, (schema,)).fetchall())
        found = connection.execute(RELATIONS, (schema, ["r", "S"])).fetchall()
        told = {str(name): _told(connection, schema, str(name), kind=str(kind)) for name, kind in found}
    except psycopg.Error as error:
        raise BackupError(f"schema {schema} cannot be read: {told_of(error)}") from error
    return Content(objects=counted, tables=told)


def check_same(schema: str, kept: Content, restored: Content) -> None:
    """Raise BackupError with what differs, if anything does."""
    differs = [
        f"{name}: {before.get(name)} became {after.get(name)}"
        for before, after in ((kept.objects, restored.objects), (kept.tables, restored.tables))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    if differs:
        raise BackupError(f"what was restored of {schema} is not what was dumped: {'; '.join(differs[:10])}")


def _told(connection: Connection, schema: str, name: str, *, kind: str) -> str:
    where = sql.Identifier(schema, name)
    if kind == "S":
        query = sql.SQL("SELECT 'at ' || last_value || ' ' || is_called FROM {}").format(where)
    else:
        # The sum does not depend on the order of the rows. By a row's own output, for a cast to text may be a
        # customer's, and would run with the operator's rights.
        query = sql.SQL(
            "SELECT count(*) || ' ' || coalesce(sum(hashtextextended("
            "pg_catalog.textin(pg_catalog.record_out(t)), 0)), 0) FROM ONLY {} t"
        ).format(where)
    row = connection.execute(query).fetchone()
    return str(row[0]) if row else ""
