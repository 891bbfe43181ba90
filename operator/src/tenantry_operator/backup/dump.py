"""A tenant's last backup: dumped as of one moment, kept, read back, restored for a trial, and only then called one.

It changes nothing of the tenant's, and may be killed anywhere: the next attempt begins anew, in a folder of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from tenantry_operator.backup.content import check_same, read_content, tables
from tenantry_operator.backup.largeobjects import check_owners, digest_of, read_large_objects, write_large_objects
from tenantry_operator.backup.lent import lent_login
from tenantry_operator.backup.orders import BackupError, DumpOrder, KeptPart, LargeObjects, Manifest, Part
from tenantry_operator.backup.programs import Client
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.scratch import scratch_database, scratch_mark, scratch_name
from tenantry_operator.backup.servers import Connection, Reach, Say, borrowed, lock_number, marker_of, only_one
from tenantry_operator.backup.store import Store
from tenantry_operator.model.names import OWNER

RESTORABLE: Final = "Schema"
LARGE_OBJECTS: Final = "large-objects.tar.gz"


def dump(order: DumpOrder, *, reach: Reach, store: Store, client: Client, work: Path, stamp: str, say: Say) -> Manifest:
    """Make the backup; return what it holds. Raises BackupError, psycopg.Error, OSError.

    `stamp` is the time, and something that no other attempt has.
    """
    _check_isolation(order)
    with reach.session() as connection:
        client.check_server(connection.info.server_version)
        with only_one(connection, lock_number(order.uid)):
            _check_marker(connection, order)
            if removed := store.clear(order.tenant, order.uid):
                say(f"removed {removed} backups that had not come to their end")
            path = f"{order.tenant}/{order.uid}/{stamp}"
            folder = store.begin(path)
            with borrowed(connection, [part.role for part in order.parts]):
                parts, large = _write(order, reach, store, client, path=path, folder=folder, say=say)
                manifest = _manifest(order, parts, large, client, connection.info.server_version, stamp=stamp)
                try_out(manifest, path, order.parts, reach=reach, connection=connection, store=store, client=client,
                        work=work, say=say)  # fmt: skip
            store.finish(path, manifest)
    say(told(manifest, f"{store.place}/{path}"))
    return manifest


def told(manifest: Manifest, where: str) -> str:
    """Say in one line what was made."""
    sums = ", ".join(f"{part.file.name} {part.file.sha256}" for part in manifest.parts)
    return (
        f"{where}: {len(manifest.parts)} schemas, {manifest.rows} rows, {manifest.size} bytes, restored for a trial on "
        f"Postgres {manifest.verified_on // 10000}; sha256 {sums}"
    )


def _check_isolation(order: DumpOrder) -> None:
    if order.isolation != RESTORABLE:
        raise BackupError(f"a backup of isolation {order.isolation} cannot be restored by this version: none is made")


def _check_marker(connection: Connection, order: DumpOrder) -> None:
    found = marker_of(connection, order.owner)
    if found != order.marker:
        raise BackupError(
            f"the marker on {order.owner} is {found!r}, and not {order.marker!r}: this is somebody else's"
        )


def _write(
    order: DumpOrder, reach: Reach, store: Store, client: Client, *, path: str, folder: Path, say: Say
) -> tuple[list[KeptPart], LargeObjects | None]:
    kept: list[KeptPart] = []
    large = None
    with ExitStack() as stack:
        for part in order.parts:
            held, snapshot = stack.enter_context(_held_still(reach, part))
            name = f"{part.schema_name}.dump"
            environment = reach.environment(part.database)
            client.dump(part.schema_name, folder / name, role=part.role, snapshot=snapshot, environment=environment)
            file = store.keep(path, name)
            say(f"dumped {part.schema_name}: {file.size} bytes")
            content = read_content(held, part.schema_name)
            kept.append(KeptPart(schema_name=part.schema_name, role=part.role, file=file, content=content))
            if part.role == order.owner:
                check_owners(held, order.owner, order.roles)
                large = _large(held, order.owner, store, path=path, folder=folder)
    return kept, large


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
    parts: Sequence[KeptPart],
    large: LargeObjects | None,
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
        revision=order.revision,
        owner=order.owner,
        roles=order.roles,
        parts=tuple(parts),
        large_objects=large,
        spec=order.spec,
        verified_on=version,
    )


def try_out(
    manifest: Manifest,
    path: str,
    parts: Sequence[Part],
    *,
    reach: Reach,
    connection: Connection,
    store: Store,
    client: Client,
    work: Path,
    say: Say,
) -> None:
    """Restore what is kept into a database made for it, compare, and drop that. Raises BackupError."""
    name, mark = scratch_name(manifest.uid), scratch_mark(manifest.uid, manifest.installation)
    like = parts[0].database
    with scratch_database(reach, connection, like=like, name=name, mark=mark, say=say) as database:
        refused = fill(manifest, path, database=database, reach=reach, store=store, client=client, work=work)
        if refused:
            raise BackupError(f"the trial could not grant all: {'; '.join(refused[:5])}")
        compare(manifest, database=database, reach=reach)
    say("restored for a trial: the same content")


def fill(
    manifest: Manifest, path: str, *, database: str, reach: Reach, store: Store, client: Client, work: Path
) -> list[str]:
    """Restore each schema of the backup into the database; return what could not be granted. Raises BackupError."""
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
        large = manifest.large_objects
        if large and digest_of(connection, manifest.owner) != large.digest:
            raise BackupError("the large objects that were restored are not those that were dumped")
        connection.rollback()
