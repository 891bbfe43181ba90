"""The database of a tenant that has one of its own: that nothing else is in it, and how it is made again.

As the operator makes it: shut, then marked and closed to everybody, then opened. So what a killed attempt left is told
from anybody else's.
"""

from collections.abc import Iterable
from typing import Final

from psycopg import sql

from tenantry_operator.backup.orders import BackupError
from tenantry_operator.backup.scratch import alike, extend
from tenantry_operator.backup.servers import Connection, Reach
from tenantry_operator.model.isolation import Layout
from tenantry_operator.model.names import OWNER

FOUND: Final = """
SELECT shobj_description(oid, 'pg_database'), NOT datallowconn AND pg_get_userbyid(datdba) = %s
FROM pg_database WHERE datname = %s
"""

# What goes with the database, and is neither in a schema that is dumped nor brought along by an extension.
STRAYS: Final = """
WITH there AS (
    SELECT 'pg_class'::regclass AS class, oid, relnamespace AS space FROM pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
        WHERE typrelid = 0 AND typtype IN ('b', 'd', 'e', 'r') AND typcategory <> 'A'
)
SELECT o.type || ' ' || o.identity
FROM there JOIN pg_namespace n ON n.oid = there.space, pg_identify_object(class, there.oid, 0) o
WHERE there.oid >= 16384 AND n.nspname <> ALL (%s) AND n.nspname !~ '^pg_(temp|toast)' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = class AND d.objid = there.oid AND d.deptype IN ('e', 'i'))
UNION ALL SELECT 'large object ' || l.oid || ' of ' || pg_get_userbyid(l.lomowner) FROM pg_largeobject_metadata l
WHERE pg_get_userbyid(l.lomowner) <> %s
ORDER BY 1 LIMIT 6
"""


def check_alone(connection: Connection, schemas: Iterable[str], owner: str) -> None:
    """Raise BackupError when the database holds what is in no backup, and would go with it."""
    found = [str(what) for (what,) in connection.execute(STRAYS, ([*schemas], owner)).fetchall()]
    if found:
        raise BackupError(
            f"the tenant's database holds {', '.join(found)}: it would be dropped and is in no backup. Move it into "
            "one of the tenant's schemas, or remove it"
        )


def make_own_database(reach: Reach, connection: Connection, layout: Layout, *, like: str, mark: str,
                      extensions: Iterable[tuple[str, str]]) -> None:  # fmt: skip
    """Make the database, which nobody but the operator gets into. Raises BackupError, psycopg.Error."""
    name = sql.Identifier(layout.database)
    make = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ALLOW_CONNECTIONS false {}")
    connection.execute(make.format(name, sql.Identifier(OWNER), alike(connection, like)))
    with connection.transaction():
        _mark(connection, layout.database, mark)
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    with reach.session(layout.database) as fresh:
        extend(fresh, extensions)


def drop_own_database(connection: Connection, layout: Layout, marks: Iterable[str]) -> None:
    """Drop what an attempt left that bears one of the marks, or was never opened. Raises BackupError for another."""
    row = connection.execute(FOUND, (OWNER, layout.database)).fetchone()
    if row is None:
        return
    comment, is_begun = row
    if comment not in {*marks} and not (comment is None and is_begun):
        raise BackupError(f"database {layout.database} exists and is not what an earlier attempt left")
    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(layout.database)))


def release_own_database(connection: Connection, layout: Layout, marker_text: str) -> None:
    """Leave it as `Retain` does: the customer's roles may connect, of which nobody is a member."""
    grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}")
    names = layout.names
    with connection.transaction():
        connection.execute(grant.format(*map(sql.Identifier, (layout.database, names.app, names.readonly))))
        _mark(connection, layout.database, marker_text)


def _mark(connection: Connection, database: str, text: str) -> None:
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    connection.execute(comment.format(sql.Identifier(database), sql.Literal(text)))
