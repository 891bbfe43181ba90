"""A tenant's last backup: dumped as of one moment, kept, read back, restored for a trial, and only then called one.

It changes nothing of the tenant's, and may be killed anywhere: the next attempt begins anew, in a folder of its own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from tenantry_operator.backup.apart import check_alone
from tenantry_operator.backup.content import read_content, tables
from tenantry_operator.backup.filling import compare, fill
from tenantry_operator.backup.largeobjects import check_owners, write_large_objects
from tenantry_operator.backup.laying import lay_pool
from tenantry_operator.backup.orders import (
    BackupError,
    DumpOrder,
    KeptPart,
    KeptSequence,
    KeptTable,
    LargeObjects,
    Manifest,
    Part,
)
from tenantry_operator.backup.programs import Client
from tenantry_operator.backup.recorded import check_ready, record
from tenantry_operator.backup.rows import Rows, held_rows, revision_of, sequences_of, write_tables
from tenantry_operator.backup.scratch import (
    extensions_of,
    may_be_asked_for,
    scratch_database,
    scratch_mark,
    scratch_name,
)
from tenantry_operator.backup.servers import Connection, Reach, Say, borrowed, lock_number, marker_of, only_one
from tenantry_operator.backup.store import Store
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import OWNER
from tenantry_operator.model.pool import POOL_SCHEMA

LARGE_OBJECTS: Final = "large-objects.tar.gz"
NOW: Final = """SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS"Z"')"""


def dump(
    order: DumpOrder, *, reach: Reach, registry: Reach, store: Store, client: Client, work: Path, unique: str, say: Say
) -> Manifest:
    """Make the backup; return what it holds. Raises BackupError, psycopg.Error, OSError.

    `unique` is something that no other attempt has.
    """
    with registry.session() as rows:
        check_ready(rows)
    with reach.session() as connection:
        client.check_server(connection.info.server_version)
        with only_one(connection, lock_number(order.uid)):
            _check_marker(connection, order)
            if removed := store.clear(order.tenant, order.uid):
                say(f"removed {removed} backups that had not come to their end")
            stamp = _stamp(connection, unique)
            path = f"{order.tenant}/{order.uid}/{stamp}"
            folder = store.begin(path)
            with borrowed(connection, [order.owner]):
                kept = Kept()
                write = _write_rows if order.isolation == Isolation.POOLED else _write
                write(kept, order, reach, store, client, path=path, folder=folder, say=say)
                manifest = _manifest(order, kept, client, connection.info.server_version, stamp=stamp)
                try_out(manifest, path, like=_home(order), reach=reach, connection=connection, store=store,
                        client=client, work=work, say=say)  # fmt: skip
            where = f"{store.place}/{path}"
            with registry.session() as rows:
                record(rows, manifest, sha256(manifest.text).hexdigest(), where=where)
            store.finish(path, manifest)
    say(told(manifest, where))
    return manifest


def _stamp(connection: Connection, unique: str) -> str:
    """Name the attempt by the time of the server, and not of whichever node its pod is on."""
    row = connection.execute(NOW).fetchone()
    return f"{row[0] if row else ''}-{unique}"


def told(manifest: Manifest, where: str) -> str:
    """Say in one line what was made."""
    files = [*(part.file for part in manifest.parts), *(table.file for table in manifest.tables)]
    sums = ", ".join(f"{file.name} {file.sha256}" for file in files)
    what = f"{len(manifest.parts)} schemas by pg_dump, {len(manifest.tables)} tables of the services"
    return (
        f"{where}: {what}, {manifest.rows} rows, {manifest.size} bytes, restored for a trial on "
        f"Postgres {manifest.verified_on // 10000}; sha256 {sums}"
    )


@dataclass
class Kept:
    """What is written so far."""

    revision: str | None = None
    parts: list[KeptPart] = field(default_factory=list)
    tables: list[KeptTable] = field(default_factory=list)
    sequences: dict[str, KeptSequence] = field(default_factory=dict)
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
            if part.role == OWNER:
                rows = Rows(part.schema_name)
                kept.revision = revision_of(held, part.schema_name)
                _write_tables(kept, held, rows, store, path=path, folder=folder, say=say)
                kept.sequences = sequences_of(held, rows)
                continue
            name = f"{part.schema_name}.dump"
            environment = reach.environment(part.database)
            client.dump(part.schema_name, folder / name, role=part.role, snapshot=snapshot, environment=environment)
            file = store.keep(path, name)
            say(f"dumped {part.schema_name}: {file.size} bytes")
            content = read_content(held, part.schema_name)
            kept.parts.append(KeptPart(schema_name=part.schema_name, role=part.role, file=file, content=content))
            check_owners(held, order.owner, order.roles)
            kept.large = _large(held, order.owner, store, path=path, folder=folder)
            # Of the others its script may do anything, or only an administrator can make it: the trial has none either.
            kept.extensions = tuple(one for one in extensions_of(held) if may_be_asked_for(*one))


def _write_rows(
    kept: Kept, order: DumpOrder, reach: Reach, store: Store, _: Client, *, path: str, folder: Path, say: Say
) -> None:
    """Write the rows that a pooled tenant has, and the large objects that its login may have made."""
    with held_rows(reach, order.id) as (held, kept.revision):
        _write_tables(kept, held, Rows(POOL_SCHEMA, order.id), store, path=path, folder=folder, say=say)
        check_owners(held, order.owner, order.roles)
        kept.large = _large(held, order.owner, store, path=path, folder=folder)


def _write_tables(kept: Kept, held: Connection, rows: Rows, store: Store, *, path: str, folder: Path, say: Say) -> None:
    for table, columns, content, name in write_tables(held, rows, folder):
        file = store.keep(path, name)
        say(f"dumped {rows.schema}.{table}: {file.size} bytes")
        kept.tables.append(KeptTable(table=table, columns=columns, file=file, content=content))


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
        sequences=kept.sequences,
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
    # A database of its own is made with what the manifest says, another one is there with what is in it.
    own = manifest.extensions if manifest.isolation == Isolation.DATABASE else None
    with scratch_database(
        reach, connection, like=like, name=name, mark=mark, say=say, extensions=own
    ) as database:  # fmt: skip
        if manifest.isolation == Isolation.POOLED:
            with reach.session(database, autocommit=False) as fresh:
                lay_pool(fresh, manifest)
        refused = fill(manifest, path, database=database, reach=reach, store=store, client=client, work=work)
        if refused:
            raise BackupError(f"the trial could not grant all: {'; '.join(refused[:5])}")
        compare(manifest, database=database, reach=reach)
    say("restored for a trial: the same content")
