"""The services' tables as their history makes them, so that of a backup nothing but rows is needed."""

import shutil
from pathlib import Path
from typing import Final

from psycopg import sql

from tenantry_migrations import (
    POOL,
    TENANT,
    MigrationError,
    UnknownRevision,
    move_statements,
    render,
    whole_statements,
)
from tenantry_operator.backup.orders import BackupError, KeptTable, Manifest
from tenantry_operator.backup.rows import load_tables, rows_of, write_tables
from tenantry_operator.backup.scratch import scratch_database, scratch_mark, scratch_name
from tenantry_operator.backup.servers import Connection, Reach, Say
from tenantry_operator.backup.store import Store, VolumeStore
from tenantry_operator.model.names import OWNER, TenantNames
from tenantry_operator.model.pool import POOL_ROLES

MOVED: Final = "moved"
"""The folder of the pod's for rows that were brought to another revision."""


def lay_schema(connection: Connection, manifest: Manifest) -> None:
    """Make the services' schema as it was, without any row, in the transaction that is open. Raises BackupError."""
    names = TenantNames(manifest.tenant)
    schema, roles = sql.Identifier(names.service_schema), names.service_roles
    try:
        steps = TENANT.steps(None, str(manifest.revision))
    except MigrationError as error:
        raise BackupError(_unknown(manifest, error)) from error
    connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(schema, sql.Identifier(OWNER)))
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(schema))
    for step in steps:
        connection.execute(render(step, roles=roles, schema=names.service_schema))
    grantees = sql.SQL(", ").join(map(sql.Identifier, roles.values()))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, grantees))
    connection.execute("SET LOCAL ROLE NONE")


def lay_pool(connection: Connection, manifest: Manifest) -> None:
    """Make an empty pool as it was, with all its guards, in the transaction that is open. Raises BackupError."""
    try:
        statements = whole_statements(str(manifest.revision), roles=POOL_ROLES)
    except MigrationError as error:
        raise BackupError(_unknown(manifest, error)) from error
    for statement in statements:
        connection.execute(statement)


def moved_to(
    revision: str, manifest: Manifest, path: str, *, reach: Reach, connection: Connection, store: Store, work: Path,
    say: Say,
) -> tuple[Manifest, Store]:  # fmt: skip
    """Bring a pooled tenant's rows to a later revision, in a database made for that; return them as another backup.

    What a revision does with rows that are there is done with these as well. Raises BackupError.
    """
    try:
        POOL.steps(None, str(manifest.revision))
    except UnknownRevision as error:
        raise BackupError(_unknown(manifest, error)) from error
    if revision not in POOL.revisions:
        raise BackupError(
            f"this version does not know the revision {revision}, at which the pool of DatabaseServer "
            f"{reach.server.name} is: take the operator's own image (--image)"
        )
    try:
        statements = move_statements(str(manifest.revision), revision, roles=POOL_ROLES)
    except MigrationError as error:
        raise BackupError(
            f"the backup is of revision {manifest.revision}, and the pool of DatabaseServer {reach.server.name} is at "
            f"{revision}, from which rows cannot be brought on: move the pool there with a MigrationRun to "
            f"{manifest.revision}, or name with --server one whose pool is at that revision or a later one"
        ) from error
    say(f"the rows are brought from revision {manifest.revision} to {revision}, where the pool is")
    shutil.rmtree(work / MOVED, ignore_errors=True)
    near = VolumeStore(work / MOVED, "the pod", work / MOVED)
    folder = near.begin(path)
    name, mark = scratch_name(manifest.uid), scratch_mark(manifest.uid, manifest.installation)
    like = reach.server.database
    with (
        scratch_database(reach, connection, like=like, name=name, mark=mark, say=say) as database,
        reach.session(database, autocommit=False) as there,
    ):
        lay_pool(there, manifest)
        load_tables(there, manifest, path, store)
        for statement in statements:
            there.execute(statement)
        written = write_tables(there, rows_of(manifest), folder)
        tables = tuple(
            KeptTable(table=table, columns=columns, file=near.keep(path, file), content=content)
            for table, columns, content, file in written
        )
        there.rollback()
    return manifest.model_copy(update={"revision": revision, "tables": tables}), near


def _unknown(manifest: Manifest, error: MigrationError) -> str:
    return f"this version does not know the revision {manifest.revision} of the backup: {error}"
