"""A tenant's last backup: dumped as of one moment, kept, read back, restored for a trial, and only then called one.

It changes nothing of the tenant's, and may be killed anywhere: the next attempt begins anew, in a folder of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from tenantry_migrations import MigrationError, whole_statements
from tenantry_operator.backup.apart import check_alone
from tenantry_operator.backup.content import check_same, read_content, tables
from tenantry_operator.backup.largeobjects import check_owners, digest_of, read_large_objects, write_large_objects
from tenantry_operator.backup.lent import lent_login
from tenantry_operator.backup.orders import BackupError, DumpOrder, KeptPart, KeptTable, LargeObjects, Manifest, Part
from tenantry_operator.backup.programs import Client
from tenantry_operator.backup.rows import compare_tables, held_rows, load_tables, write_tables
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.scratch import extensions_of, scratch_database, scratch_mark, scratch_name
from tenantry_operator.backup.servers import Connection, Reach, Say, borrowed, lock_number, marker_of, only_one
from tenantry_operator.backup.store import Store
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import OWNER
from tenantry_operator.model.pool import POOL_ROLES

LARGE_OBJECTS: Final = "large-objects.tar.gz"


def dump(order: DumpOrder, *, reach: Reach, store: Store, client: Client, work: Path, stamp: str, say: Say) -> Manifest:
    """Make the backup; return what it holds. Raises BackupError, psycopg.Error, OSError.

    `stamp` is the time, and something that no other attempt has.
    """
    with reach.session() as connection:
        client.check_server(connection.info.server_version)
        with only_one(connection, lock_number(order.uid)):
            _check_marker(connection, order)
            if removed := store.clear(order.tenant, order.uid):
                say(f"removed {removed} backups that had not come to their end")
            path = f"{order.tenant}/{order.uid}/{stamp}"
            folder = store.begin(path)
            with borrowed(connection, [order.owner]):
                kept = Kept(order.revision)
                write = _write_rows if order.isolation == Isolation.POOLED else _write
                write(kept, order, reach, store, client, path=path, folder=folder, say=say)
                manifest = _manifest(order, kept, client, connection.info.server_version, stamp=stamp)
                try_out(manifest, path, like=_home(order), reach=reach, connection=connection, store=store,
                        client=client, work=work, say=say)  # fmt: skip
            store.finish(path, manifest)
    say(told(manifest, f"{store.place}/{path}"))
    return manifest


def told(manifest: Manifest, where: str) -> str:
    """Say in one line what was made."""
    files = [*(part.file for part in manifest.parts), *(table.file for table in manifest.tables)]
    sums = ", ".join(f"{file.name} {file.sha256}" for file in files)
    what = f"{len(manifest.tables)} tables" if manifest.tables else f"{len(manifest.parts)} schemas"
    return (
        f"{where}: {what}, {manifest.rows} rows, {manifest.size} bytes, restored for a trial on "
        f"Postgres {manifest.verified_on // 10000}; sha256 {sums}"
    )


@dataclass
class Kept:
    """What is written so far."""

    revision: str | None
    parts: list[KeptPart] = field(default_factory=list)
    tables: list[KeptTable] = field(default_factory=list)
    large: LargeObjects | None = None
    extensions: tuple[tuple[str, str], ...] = ()


def _home(order: DumpOrder) -> str:
    """Name the database that the data is in."""
    return order.parts[0].database if order.parts else order.server.database


def _check_marker(connection: Connection, order: DumpOrder) -> None:
    found = marker_of(connection, order.owner)
    if found != order.marker:
        raise BackupError(
            f"the marker on {order.owner} is {found!r}, and not {order.marker!r}: this is somebody else's"
        )


def _write(
    kept: Kept, order: DumpOrder, reach: Reach, store: Store, client: Client, *, path: str, folder: Path, say: Say
) -> None:
    with ExitStack() as stack:
        for part in order.parts:
            held, snapshot = stack.enter_context(_held_still(reach, part))
            if order.isolation == Isolation.DATABASE:
                check_alone(held, [one.schema_name for one in order.parts], order.owner)
            name = f"{part.schema_name}.dump"
            environment = reach.environment(part.database)
            client.dump(part.schema_name, folder / name, role=part.role, snapshot=snapshot, environment=environment)
            file = store.keep(path, name)
            say(f"dumped {part.schema_name}: {file.size} bytes")
            content = read_content(held, part.schema_name)
            kept.parts.append(KeptPart(schema_name=part.schema_name, role=part.role, file=file, content=content))
            if part.role == order.owner:
                check_owners(held, order.owner, order.roles)
                kept.large = _large(held, order.owner, store, path=path, folder=folder)
                kept.extensions = extensions_of(held)


def _write_rows(
    kept: Kept, order: DumpOrder, reach: Reach, store: Store, _: Client, *, path: str, folder: Path, say: Say
) -> None:
    """Write the rows that a pooled tenant has, and the large objects that its login may have made."""
    with held_rows(reach, order.id) as (held, kept.revision):
        for table, columns, content, name in write_tables(held, order.id, folder):
            file = store.keep(path, name)
            say(f"dumped {table}: {file.size} bytes")
            kept.tables.append(KeptTable(table=table, columns=columns, file=file, content=content))
        check_owners(held, order.owner, order.roles)
        kept.large = _large(held, order.owner, store, path=path, folder=folder)


@contextmanager
def _held_still(reach: Reach, part: Part) -> Iterator[tuple[Connection, str]]:
    """Wait for those who write in the schema, let nobody begin to, and share what is seen then.

    A service's unit of work that had begun before access was taken comes to its end: it is waited for.
    """
    with reach.session(part.database, autocommit=False) as connection:
        names = tables(connection, part.schema_name)
        connection.rollback()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if names:
            locked = sql.SQL(", ").join(sql.Identifier(part.schema_name, name) for name in names)
            try:
                # Before the first look at any row, so that what is seen is of after the wait.
                connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(locked))
            except psycopg.errors.LockNotAvailable as error:
                raise BackupError(f"somebody writes in {part.schema_name} and does not come to an end") from error
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        yield connection, str(row[0]) if row else ""
        connection.rollback()


def _large(held: Connection, owner: str, store: Store, *, path: str, folder: Path) -> LargeObjects | None:
    count, digest = write_large_objects(held, owner, folder / LARGE_OBJECTS)
    if count == 0:
        return None
    return LargeObjects(file=store.keep(path, LARGE_OBJECTS), count=count, digest=digest)


def _manifest(
    order: DumpOrder,
    kept: Kept,
    client: Client,
    version: int,
    *,
    stamp: str,
) -> Manifest:
    return Manifest(
        tenant=order.tenant,
        id=order.id,
        uid=order.uid,
        installation=order.installation,
        isolation=order.isolation,
        made_at=stamp,
        server=order.server.name,
        server_version=version,
        client_version=client.version,
        revision=kept.revision,
        owner=order.owner,
        roles=order.roles,
        parts=tuple(kept.parts),
        tables=tuple(kept.tables),
        large_objects=kept.large,
        extensions=kept.extensions,
        spec=order.spec,
        verified_on=version,
    )


def try_out(
    manifest: Manifest,
    path: str,
    *,
    like: str,
    reach: Reach,
    connection: Connection,
    store: Store,
    client: Client,
    work: Path,
    say: Say,
) -> None:
    """Restore what is kept into a database made for it, compare, and drop that. Raises BackupError."""
    name, mark = scratch_name(manifest.uid), scratch_mark(manifest.uid, manifest.installation)
    with scratch_database(reach, connection, like=like, name=name, mark=mark, say=say) as database:
        if manifest.isolation == Isolation.POOLED:
            _lay_pool(manifest, database=database, reach=reach)
        refused = fill(manifest, path, database=database, reach=reach, store=store, client=client, work=work)
        if refused:
            raise BackupError(f"the trial could not grant all: {'; '.join(refused[:5])}")
        compare(manifest, database=database, reach=reach)
    say("restored for a trial: the same content")


def _lay_pool(manifest: Manifest, *, database: str, reach: Reach) -> None:
    """Make an empty pool as it was, with all its guards."""
    try:
        statements = whole_statements(str(manifest.revision), roles=POOL_ROLES)
    except MigrationError as error:
        raise BackupError(f"this version does not know the revision {manifest.revision}: {error}") from error
    with reach.session(database, autocommit=False) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def fill(
    manifest: Manifest, path: str, *, database: str, reach: Reach, store: Store, client: Client, work: Path,
    loaded: Callable[[Connection], None] | None = None,
) -> list[str]:  # fmt: skip
    """Restore each schema of the backup into the database; return what could not be granted. Raises BackupError.

    `loaded` is called in the transaction that puts rows into a pool.
    """
    refused = []
    for part in manifest.parts:
        file = store.fetch(path, part.file)
        with reach.session(database) as connection:
            make = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}")
            connection.execute(make.format(sql.Identifier(part.schema_name), sql.Identifier(part.role)))
        with ExitStack() as lent:
            environment = reach.environment(database)
            if part.role != OWNER:
                environment = lent.enter_context(lent_login(reach, database=database, role=part.role))
            refused += client.restore(file, schema=part.schema_name, role=part.role, work=work, environment=environment)
    if manifest.isolation == Isolation.POOLED:
        with reach.session(database, autocommit=False) as connection:
            load_tables(connection, manifest, path, store)
            if loaded is not None:
                loaded(connection)
            connection.commit()
    if manifest.large_objects:
        file = store.fetch(path, manifest.large_objects.file)
        with reach.session(database, autocommit=False) as connection:
            try:
                read_large_objects(connection, manifest.owner, file)
            except psycopg.errors.UniqueViolation as error:
                raise BackupError(f"a large object of the backup is another one's by now: {told_of(error)}") from error
    return refused


def compare(manifest: Manifest, *, database: str, reach: Reach) -> None:
    """Raise BackupError when the content of the schemas is not the backup's."""
    with reach.session(database, autocommit=False) as connection:
        for part in manifest.parts:
            check_same(part.schema_name, part.content, read_content(connection, part.schema_name))
        if manifest.tables:
            compare_tables(connection, manifest)
        large = manifest.large_objects
        if large and digest_of(connection, manifest.owner) != large.digest:
            raise BackupError("the large objects that were restored are not those that were dumped")
        connection.rollback()
