"""What a backup holds put into a database, for a trial as for a restore, so that what is tried is what is done.

The services' tables are laid by the history and take rows alone. What the customer defined is SQL, and is run by a
login that is lent for it and may do no more than the tenant.
"""

from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from tenantry_operator.backup.content import check_same, read_content
from tenantry_operator.backup.largeobjects import digest_of, read_large_objects
from tenantry_operator.backup.laying import lay_schema
from tenantry_operator.backup.lent import lent_login
from tenantry_operator.backup.orders import BackupError, Manifest
from tenantry_operator.backup.programs import Client
from tenantry_operator.backup.rows import compare_tables, load_tables, pool_revision
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.servers import Connection, Reach
from tenantry_operator.backup.store import Store
from tenantry_operator.model.isolation import Isolation


def fill(
    manifest: Manifest, path: str, *, database: str, reach: Reach, store: Store, client: Client, work: Path,
    rows_in: Store | None = None, loaded: Callable[[Connection], None] | None = None,
) -> list[str]:  # fmt: skip
    """Restore the backup into the database; return what could not be granted. Raises BackupError.

    `rows_in` is where the files of the tables are, if elsewhere; `loaded`, of which a trial has none, is called in the
    transaction that puts rows into a pool.
    """
    with reach.session(database, autocommit=False) as connection:
        shared = loaded is not None and manifest.isolation == Isolation.POOLED
        _put_rows(connection, manifest, path, rows_in or store, shared=shared)
        if loaded is not None and shared:
            loaded(connection)
        connection.commit()
    refused = []
    for part in manifest.parts:
        file = store.fetch(path, part.file)
        with reach.session(database) as connection:
            make = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}")
            connection.execute(make.format(sql.Identifier(part.schema_name), sql.Identifier(part.role)))
        with lent_login(reach, database=database, role=part.role) as environment:
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
        if manifest.tables:
            compare_tables(connection, manifest)
        large = manifest.large_objects
        if large and digest_of(connection, manifest.owner) != large.digest:
            raise BackupError("the large objects that were restored are not those that were dumped")
        connection.rollback()


def _put_rows(connection: Connection, manifest: Manifest, path: str, store: Store, *, shared: bool) -> None:
    if manifest.isolation == Isolation.POOLED:
        # Nobody moves the pool before they are in.
        if (found := pool_revision(connection, keep=True)) != manifest.revision:
            raise BackupError(f"the pool is at {found} by now, and the rows are of {manifest.revision}; try again")
    elif manifest.revision is None:
        if manifest.tables:
            raise BackupError("the services' schema has tables and no revision: what no revision made is in no backup")
        return
    else:
        lay_schema(connection, manifest)
    load_tables(connection, manifest, path, store, shared=shared)
