"""What the services keep of a tenant: each table as COPY writes it, read back, and put again where it belongs.

The tables are laid by the history and by nothing that is in a backup, of which no word is run as SQL. In the pool all
is done as a member of its owner, whom row security lets reach the rows of the tenant that it names, and no others:
neither can a row of another tenant get into a backup, nor come out of one that was changed.
"""

import gzip
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from tenantry_migrations import TENANT_ID, VERSION_TABLE, version_query
from tenantry_operator.backup.numbering import count_on, put_aside
from tenantry_operator.backup.orders import BackupError, KeptSequence, KeptTable, Manifest
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.servers import Connection, Reach
from tenantry_operator.backup.store import Store
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.pool import DIRECTORY_SCHEMA, DIRECTORY_TABLE, POOL_SCHEMA

WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2
BLOCK: Final = 1 << 20

# Of a schema of its own all, so that one that no revision made is noticed. The oldest first.
TABLES: Final[LiteralString] = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> %(version)s
AND (%(own)s OR EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = %(tenant)s AND NOT a.attisdropped))
ORDER BY c.oid
"""

SEQUENCES: Final[LiteralString] = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'S' ORDER BY c.relname
"""

COLUMNS: Final[LiteralString] = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
AND attgenerated = '' ORDER BY attnum
"""

# A service's unit of work may write whatever it has locked until now; another's, if it writes in the pool.
AT_WORK: Final[LiteralString] = """
SELECT DISTINCT l.virtualtransaction FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
JOIN pg_database d ON d.datname = current_database()
LEFT JOIN pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
WHERE l.pid IS DISTINCT FROM pg_backend_pid() AND (a.datid = d.oid OR l.pid IS NULL AND l.database = d.oid) AND (
    l.locktype = 'virtualxid' AND a.usename ~ '^tenantry_svc_'
    OR c.relnamespace = to_regnamespace(%s) AND l.mode <> 'AccessShareLock')
"""

# Values as text must not depend on how a session is set.
SETTINGS: Final[LiteralString] = """
SET LOCAL search_path TO pg_catalog; SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO, YMD';
SET LOCAL intervalstyle TO 'postgres'; SET LOCAL bytea_output TO 'hex'; SET LOCAL extra_float_digits TO 1;
SET LOCAL client_encoding TO 'UTF8'; SET LOCAL row_security TO on; SET LOCAL statement_timeout TO 0
"""

Columns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Rows:
    """Where a tenant's rows are: all of a schema of its own, or in the pool those of its id."""

    schema: str
    tenant: str | None = None


def rows_of(manifest: Manifest) -> Rows:
    """Say where the rows of a backup belong."""
    if manifest.isolation == Isolation.POOLED:
        return Rows(POOL_SCHEMA, manifest.id)
    return Rows(TenantNames(manifest.tenant).service_schema)


@contextmanager
def held_rows(reach: Reach, tenant: str) -> Iterator[tuple[Connection, str]]:
    """Wait for those who may write rows of the tenant still, and see the pool as of then; yield its revision.

    No other tenant is kept from writing meanwhile; a revision is kept from the pool. Raises BackupError.
    """
    with reach.session() as watching:
        _wait(watching)
    with reach.session(autocommit=False) as connection:
        rows = Rows(POOL_SCHEMA, tenant)
        names = tables(connection, rows)
        connection.rollback()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        locked = sql.SQL(", ").join(sql.Identifier(POOL_SCHEMA, name) for name in [*names, VERSION_TABLE])
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(locked))
        reach_rows(connection, rows)
        _check_closed(connection, tenant)
        yield connection, pool_revision(connection)
        connection.rollback()


def write_tables(connection: Connection, rows: Rows, folder: Path) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Write a file for each table; yield its table, columns, content, and the file's name once it is written."""
    reach_rows(connection, rows)
    for table, columns in columns_of(connection, rows).items():
        file = f"{table}.copy.gz"
        query = sql.SQL("COPY ({}) TO STDOUT").format(_select(rows, table, columns))
        with gzip.open(folder / file, "wb", compresslevel=1) as kept, connection.cursor().copy(query) as copy:
            for data in copy:
                kept.write(data)
        yield table, columns, _content(connection, rows, table, columns), file


def load_tables(connection: Connection, manifest: Manifest, path: str, store: Store, *, shared: bool = False) -> None:
    """Put the rows where they belong, in the transaction that is open, and see that they are those of the backup.

    `shared` says that it is a pool in which others are. Raises BackupError.
    """
    rows = rows_of(manifest)
    reach_rows(connection, rows)
    _check_shape(manifest, rows, columns_of(connection, rows))
    if rows.tenant is None:
        # What a revision put there is among the rows of the backup, as it became.
        _empty(connection, rows, manifest)
    else:
        _check_none(connection, manifest, rows)
    for number, kept in enumerate(manifest.tables):
        _fetch_into(connection, rows, number, kept, store.fetch(path, kept.file))
    # One statement: a foreign key is looked at when all of it is done, whichever table refers to which.
    puts = [_put(rows, number, kept) for number, kept in enumerate(manifest.tables)]
    try:
        if puts:
            connection.execute(sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(puts)))
    except psycopg.errors.IntegrityError as error:
        raise BackupError(f"schema {rows.schema} does not take the rows: {told_of(error)}") from error
    if rows.tenant is None:
        _count_as(connection, manifest, rows)
    compare_tables(connection, manifest)
    if rows.tenant is not None:
        # Last: others who number a row wait from here until the transaction ends.
        count_on(connection, rows.schema, manifest.tables, shared=shared)


def compare_tables(connection: Connection, manifest: Manifest) -> None:
    """Raise BackupError when the rows of the tenant are not the backup's; in the transaction that is open."""
    rows = rows_of(manifest)
    reach_rows(connection, rows)
    found = {kept.table: _content(connection, rows, kept.table, kept.columns) for kept in manifest.tables}
    differs = [f"{one.table}: {one.content} became {found[one.table]}" for one in manifest.tables
               if found[one.table] != one.content]  # fmt: skip
    if manifest.sequences and (counted := sequences_of(connection, rows)) != manifest.sequences:
        differs.append(f"sequences: {dict(manifest.sequences)} became {counted}")
    if differs:
        raise BackupError(f"the rows that were restored are not those that were dumped: {'; '.join(differs[:10])}")


def delete_rows(connection: Connection, tenant: str) -> None:
    """Delete what an attempt left of the tenant's rows, in the transaction that is open; nothing without a pool."""
    rows = Rows(POOL_SCHEMA, tenant)
    there = tables(connection, rows)
    if not there:
        return
    reach_rows(connection, rows)
    delete = sql.SQL("{} AS (DELETE FROM {} WHERE tenant_id = {}::uuid)")
    gone = [
        delete.format(sql.Identifier(f"d{number}"), sql.Identifier(POOL_SCHEMA, table), sql.Literal(tenant))
        for number, table in enumerate(there)
    ]
    connection.execute(sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(gone)))


def tables(connection: Connection, rows: Rows) -> list[str]:
    """Name the tables of the schema, of the pool those that hold rows of tenants, the oldest first."""
    asked = {"schema": rows.schema, "version": VERSION_TABLE, "own": rows.tenant is None, "tenant": TENANT_ID}
    return [str(name) for (name,) in connection.execute(TABLES, asked).fetchall()]


def columns_of(connection: Connection, rows: Rows) -> Columns:
    """Return the columns of each table that are not computed from others."""
    found = {}
    for table in tables(connection, rows):
        where = sql.Identifier(rows.schema, table).as_string(connection)
        found[table] = tuple(str(name) for (name,) in connection.execute(COLUMNS, (where,)).fetchall())
    return found


def sequences_of(connection: Connection, rows: Rows) -> dict[str, KeptSequence]:
    """Return how far each sequence of a schema of its own has come; the pool's are everybody's."""
    found = {}
    for (name,) in connection.execute(SEQUENCES, (rows.schema,)).fetchall():
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(rows.schema, name))
        for last, called in connection.execute(query).fetchall():
            found[str(name)] = KeptSequence(last=last, called=called)
    return found


def reach_rows(connection: Connection, rows: Rows) -> None:
    """Set the session up for it until the transaction ends; in the pool it names the tenant whose rows are reached."""
    connection.execute(SETTINGS)
    if rows.tenant is None:
        # A policy that a hand made is an error, and hides no row.
        connection.execute("SET LOCAL row_security TO off")
    else:
        connection.execute("SELECT set_config('app.tenant', %s, true)", (rows.tenant,))


def _wait(connection: Connection) -> None:
    """Wait for the transactions that are under way; those that begin now find the tenant closed."""
    left, ends = _at_work(connection), time.monotonic() + WAIT_SECONDS
    while left:
        if time.monotonic() > ends:
            raise BackupError(
                "somebody has a transaction open that may write in the pool, or has prepared one "
                "(pg_prepared_xacts), and does not end it"
            )
        time.sleep(POLL_SECONDS)
        left &= _at_work(connection)


def _at_work(connection: Connection) -> set[str]:
    return {str(one) for (one,) in connection.execute(AT_WORK, (POOL_SCHEMA,)).fetchall()}


def _check_closed(connection: Connection, tenant: str) -> None:
    query = sql.SQL("SELECT open FROM {} WHERE tenant_id = {}::uuid")
    table = sql.Identifier(DIRECTORY_SCHEMA, DIRECTORY_TABLE)
    row = connection.execute(query.format(table, sql.Literal(tenant))).fetchone()
    if row is not None and row[0]:
        raise BackupError("the tenant is open in the directory of the pool: somebody may write")


def revision_of(connection: Connection, schema: str) -> str | None:
    """Return the revision that a schema is at; None when no step has run there."""
    table = sql.Identifier(schema, VERSION_TABLE).as_string(connection)
    if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
        return None
    row = connection.execute(version_query(schema)).fetchone()
    return str(row[0]) if row else None


def pool_revision(connection: Connection, *, keep: bool = False) -> str:
    """Return the pool's revision; with `keep` nobody moves the pool before the transaction ends. Raises BackupError."""
    found = revision_of(connection, POOL_SCHEMA)
    if found is None:
        raise BackupError(
            "the server has no pool yet: apply a Tenant of isolation Pooled there, which makes it and may go again"
        )
    if keep:
        query = sql.SQL("SELECT version FROM {} FOR SHARE").format(sql.Identifier(POOL_SCHEMA, VERSION_TABLE))
        [(found,)] = connection.execute(query).fetchall()
    return str(found)


def _select(rows: Rows, table: str, columns: Sequence[str]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(rows.schema, table))
    return query if rows.tenant is None else query + _of_tenant(rows.tenant)


def _of_tenant(tenant: str) -> sql.Composed:
    return sql.SQL(" WHERE tenant_id = {}::uuid").format(sql.Literal(tenant))


def _content(connection: Connection, rows: Rows, table: str, columns: Sequence[str]) -> str:
    query = sql.SQL(
        "SELECT count(*) || ' ' || coalesce(sum(hashtextextended("
        "pg_catalog.textin(pg_catalog.record_out(t)), 0)), 0) FROM ({}) t"
    )
    row = connection.execute(query.format(_select(rows, table, columns))).fetchone()
    return str(row[0]) if row else ""


def _check_shape(manifest: Manifest, rows: Rows, there: Columns) -> None:
    """Raise BackupError unless the tables of the backup are those of the schema, each with the same columns."""
    kept = {one.table: {*one.columns} for one in manifest.tables}
    # A pool may have more, of which this tenant has no row.
    asked = {*kept, *there} if rows.tenant is None else {*kept}
    differs = sorted(name for name in asked if kept.get(name) != {*there.get(name, ())})
    if differs:
        raise BackupError(
            f"{', '.join(differs)}: the tables of the backup are not those of schema {rows.schema} at "
            f"revision {manifest.revision}. What no revision made is in no backup: move it elsewhere"
        )


def _empty(connection: Connection, rows: Rows, manifest: Manifest) -> None:
    if manifest.tables:
        names = (sql.Identifier(rows.schema, kept.table) for kept in manifest.tables)
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names)))


def _count_as(connection: Connection, manifest: Manifest, rows: Rows) -> None:
    """Have the sequences of a schema of its own go on as they were."""
    if differs := {*manifest.sequences} ^ {*sequences_of(connection, rows)}:
        raise BackupError(f"{', '.join(sorted(differs))}: the sequences of the backup are not those of the schema")
    for name, kept in manifest.sequences.items():
        where = sql.Identifier(rows.schema, name).as_string(connection)
        connection.execute("SELECT setval(%s::regclass, %s, %s)", (where, kept.last, kept.called))


def _check_none(connection: Connection, manifest: Manifest, rows: Rows) -> None:
    for table in tables(connection, rows):
        query = sql.SQL("SELECT FROM {} {} LIMIT 1")
        where = sql.Identifier(rows.schema, table), _of_tenant(manifest.id)
        if connection.execute(query.format(*where)).fetchone() is not None:
            raise BackupError(f"table {table} of the pool has rows of the tenant id {manifest.id} already")


def _fetch_into(connection: Connection, rows: Rows, number: int, kept: KeptTable, file: Path) -> None:
    """Read the file into a table of this session: COPY does not write where row security stands guard."""
    where = put_aside(number)
    names = sql.SQL(", ").join(map(sql.Identifier, kept.columns))
    like = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WHERE false")
    connection.execute(like.format(where, names, sql.Identifier(rows.schema, kept.table)))
    query = sql.SQL("COPY {} FROM STDIN").format(where)
    with gzip.open(file, "rb") as source, connection.cursor().copy(query) as copy:
        shutil.copyfileobj(source, _Written(copy), BLOCK)


def _put(rows: Rows, number: int, kept: KeptTable) -> sql.Composed:
    """Insert them with the keys that they had, also where the schema would number them."""
    names = sql.SQL(", ").join(map(sql.Identifier, kept.columns))
    insert = sql.SQL("{} AS (INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {})")
    source = put_aside(number)
    where = sql.Identifier(rows.schema, kept.table)
    return insert.format(sql.Identifier(f"p{number}"), where, names, names, source)


class _Written:
    """A COPY as something that is written to."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy

    def write(self, data: bytes) -> int:
        self._copy.write(data)
        return len(data)
