"""One tenant's rows of the pool: kept table by table as COPY writes them, read back, and put into a pool again.

All of it is done as a member of the pool's owner, whom row security lets reach the rows of the tenant that it names,
and no others: neither can a row of another tenant get into a backup, nor come out of one that was changed.
"""

import gzip
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from tenantry_migrations import TENANT_ID, VERSION_TABLE
from tenantry_operator.backup.orders import BackupError, KeptTable, Manifest
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.servers import Connection, Reach
from tenantry_operator.backup.store import Store
from tenantry_operator.model.pool import DIRECTORY_SCHEMA, DIRECTORY_TABLE, POOL_SCHEMA

WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2
BLOCK: Final = 1 << 20

# The oldest first: a table refers to older ones.
TABLES: Final[LiteralString] = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %s AND NOT a.attisdropped
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.oid
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


@contextmanager
def held_rows(reach: Reach, tenant: str) -> Iterator[tuple[Connection, str]]:
    """Wait for those who may write rows of the tenant still, and see the pool as of then; yield its revision.

    No other tenant is kept from writing meanwhile; a revision is kept from the pool. Raises BackupError.
    """
    with reach.session() as watching:
        _wait(watching)
    with reach.session(autocommit=False) as connection:
        names = tables(connection)
        connection.rollback()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        locked = sql.SQL(", ").join(sql.Identifier(POOL_SCHEMA, name) for name in [*names, VERSION_TABLE])
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(locked))
        name_tenant(connection, tenant)
        _check_closed(connection, tenant)
        yield connection, _revision(connection)
        connection.rollback()


def write_tables(connection: Connection, tenant: str, folder: Path) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Write a file for each table; yield its table, columns, content, and the file's name once it is written."""
    for table, columns in columns_of(connection).items():
        file = f"{table}.copy.gz"
        query = sql.SQL("COPY ({}) TO STDOUT").format(_rows(table, columns, tenant))
        with gzip.open(folder / file, "wb", compresslevel=1) as kept, connection.cursor().copy(query) as copy:
            for data in copy:
                kept.write(data)
        yield table, columns, _content(connection, table, columns, tenant), file


def load_tables(connection: Connection, manifest: Manifest, path: str, store: Store) -> None:
    """Put the rows into the pool, in the transaction that is open, and see that they are those of the backup.

    The pool is kept at the backup's revision until the transaction ends. Raises BackupError.
    """
    name_tenant(connection, manifest.id)
    revision = _revision(connection, keep=True)
    if revision != manifest.revision:
        raise BackupError(
            f"the backup is of revision {manifest.revision}, the pool of the server is at {revision}: rows can be put "
            "back into a pool of their own revision only"
        )
    there = columns_of(connection)
    for kept in manifest.tables:
        if there.get(kept.table) != kept.columns:
            raise BackupError(f"table {kept.table} of the pool has other columns than the backup")
    _check_none(connection, manifest, there)
    for number, kept in enumerate(manifest.tables):
        _fetch_into(connection, number, kept, store.fetch(path, kept.file))
    # One statement: a foreign key is looked at when all of it is done, whichever table refers to which.
    puts = [_put(number, kept) for number, kept in enumerate(manifest.tables)]
    try:
        if puts:
            connection.execute(sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(puts)))
    except psycopg.errors.IntegrityError as error:
        raise BackupError(f"the pool does not take the rows: {told_of(error)}") from error
    compare_tables(connection, manifest)


def compare_tables(connection: Connection, manifest: Manifest) -> None:
    """Raise BackupError when the rows of the tenant are not the backup's; in the transaction that is open."""
    name_tenant(connection, manifest.id)
    found = {kept.table: _content(connection, kept.table, kept.columns, manifest.id) for kept in manifest.tables}
    differs = [f"{one.table}: {one.content} became {found[one.table]}" for one in manifest.tables
               if found[one.table] != one.content]  # fmt: skip
    if differs:
        raise BackupError(f"the rows that were restored are not those that were dumped: {'; '.join(differs[:10])}")


def delete_rows(connection: Connection, tenant: str) -> None:
    """Delete what an attempt left of the tenant's rows, in the transaction that is open; nothing without a pool."""
    there = tables(connection)
    if not there:
        return
    name_tenant(connection, tenant)
    delete = sql.SQL("{} AS (DELETE FROM {} WHERE tenant_id = {}::uuid)")
    gone = [
        delete.format(sql.Identifier(f"d{number}"), sql.Identifier(POOL_SCHEMA, table), sql.Literal(tenant))
        for number, table in enumerate(there)
    ]
    connection.execute(sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(gone)))


def tables(connection: Connection) -> list[str]:
    """Name the tables of the pool that hold rows of tenants, the oldest first."""
    return [str(name) for (name,) in connection.execute(TABLES, (TENANT_ID, POOL_SCHEMA)).fetchall()]


def columns_of(connection: Connection) -> Columns:
    """Return the columns of each table that are not computed from others."""
    found = {}
    for table in tables(connection):
        where = sql.Identifier(POOL_SCHEMA, table).as_string(connection)
        found[table] = tuple(str(name) for (name,) in connection.execute(COLUMNS, (where,)).fetchall())
    return found


def name_tenant(connection: Connection, tenant: str) -> None:
    """Name the tenant whose rows are reached until the transaction ends."""
    connection.execute(SETTINGS)
    connection.execute("SELECT set_config('app.tenant', %s, true)", (tenant,))


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


def _revision(connection: Connection, *, keep: bool = False) -> str:
    """Return the pool's revision; with `keep` nobody moves the pool before the transaction ends."""
    if connection.execute("SELECT to_regclass(%s)", (f"{POOL_SCHEMA}.{VERSION_TABLE}",)).fetchone() == (None,):
        raise BackupError(
            "the server has no pool yet: apply a Tenant of isolation Pooled there, which makes it and may go again"
        )
    query = sql.SQL("SELECT version FROM {} FOR SHARE") if keep else sql.SQL("SELECT version FROM {}")
    row = connection.execute(query.format(sql.Identifier(POOL_SCHEMA, VERSION_TABLE))).fetchone()
    return str(row[0]) if row else ""


def _rows(table: str, columns: Sequence[str], tenant: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("SELECT {} FROM {} WHERE tenant_id = {}::uuid")
    return query.format(names, sql.Identifier(POOL_SCHEMA, table), sql.Literal(tenant))


def _content(connection: Connection, table: str, columns: Sequence[str], tenant: str) -> str:
    query = sql.SQL(
        "SELECT count(*) || ' ' || coalesce(sum(hashtextextended("
        "pg_catalog.textin(pg_catalog.record_out(t)), 0)), 0) FROM ({}) t"
    )
    row = connection.execute(query.format(_rows(table, columns, tenant))).fetchone()
    return str(row[0]) if row else ""


def _check_none(connection: Connection, manifest: Manifest, tables: Iterable[str]) -> None:
    for table in tables:
        query = sql.SQL("SELECT FROM {} WHERE tenant_id = {}::uuid LIMIT 1")
        where = sql.Identifier(POOL_SCHEMA, table)
        if connection.execute(query.format(where, sql.Literal(manifest.id))).fetchone() is not None:
            raise BackupError(f"table {table} of the pool has rows of the tenant id {manifest.id} already")


def _fetch_into(connection: Connection, number: int, kept: KeptTable, file: Path) -> None:
    """Read the file into a table of this session: COPY does not write where row security stands guard."""
    where = sql.Identifier("pg_temp", f"kept_{number}")
    names = sql.SQL(", ").join(map(sql.Identifier, kept.columns))
    like = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WHERE false")
    connection.execute(like.format(where, names, sql.Identifier(POOL_SCHEMA, kept.table)))
    query = sql.SQL("COPY {} FROM STDIN").format(where)
    with gzip.open(file, "rb") as source, connection.cursor().copy(query) as copy:
        shutil.copyfileobj(source, _Written(copy), BLOCK)


def _put(number: int, kept: KeptTable) -> sql.Composed:
    """Insert them with the keys that they had, also where the pool would number them."""
    names = sql.SQL(", ").join(map(sql.Identifier, kept.columns))
    insert = sql.SQL("{} AS (INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {})")
    source = sql.Identifier("pg_temp", f"kept_{number}")
    where = sql.Identifier(POOL_SCHEMA, kept.table)
    return insert.format(sql.Identifier(f"p{number}"), where, names, names, source)


class _Written:
    """A COPY as something that is written to."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy

    def write(self, data: bytes) -> int:
        self._copy.write(data)
        return len(data)
