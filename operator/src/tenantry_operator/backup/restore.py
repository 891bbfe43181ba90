"""A tenant's data from a backup again, as `Retain` leaves it: the next Tenant of the name adopts it.

It begins with roles that bear a mark of its own, and ends by writing the marker. What a killed attempt left bears that
mark, and is dropped before; nothing else is.
"""

import json
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from tenantry_operator.backup.dump import compare, fill
from tenantry_operator.backup.orders import BackupError, Manifest, RestoreOrder
from tenantry_operator.backup.programs import Client
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.servers import Connection, Reach, Say, borrowed, lock_number, marker_of, only_one
from tenantry_operator.backup.store import Store
from tenantry_operator.model.names import OWNER
from tenantry_operator.model.tenant import Marker, MarkerState

THERE: Final = """
SELECT 'role ' || rolname FROM pg_roles WHERE rolname = ANY (%(roles)s)
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = ANY (%(schemas)s) ORDER BY 1
"""
ROW: Final = "SELECT id::text, state, server FROM tenantry.tenants WHERE name = %s AND state <> 'deleted'"
RECORD: Final = """
INSERT INTO tenantry.tenants (id, name, uid, server, database, schema, isolation, service_login, state, version)
VALUES (%(id)s, %(tenant)s, %(uid)s, %(server)s, %(database)s, %(schema)s, %(isolation)s, %(login)s, 'released',
    %(version)s)
ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, state = excluded.state, server = excluded.server,
    database = excluded.database, schema = excluded.schema, service_login = excluded.service_login,
    version = excluded.version, updated_at = now()
"""


def restore(
    order: RestoreOrder, *, reach: Reach, registry: Reach, store: Store, client: Client, work: Path, say: Say
) -> Manifest:
    """Make the data again; return what the backup holds. Raises BackupError, psycopg.Error, OSError.

    Refused over anything that is there: a row of the name, a role, a schema.
    """
    path = order.path or store.newest(order.tenant)
    manifest = store.manifest(path)
    say(f"the backup is {store.place}/{path}, made at {manifest.made_at} from DatabaseServer {manifest.server}")
    _check_fits(order, manifest)
    with reach.session() as connection:
        _check_versions(connection, manifest, client)
        with only_one(connection, lock_number(order.tenant)):
            with registry.session() as rows:
                is_done = _is_done(rows, connection, order, manifest)
            if is_done:
                say("it is restored already")
                return manifest
            # Before anything is made: a backup that is damaged makes nothing.
            for file in manifest.files:
                store.fetch(path, file)
            _make_room(connection, order, manifest, say)
            with borrowed(connection, [part.role for part in manifest.parts]):
                _fill(order, manifest, path, reach=reach, store=store, client=client, work=work, say=say)
            _release(connection, order, manifest)
            with registry.session() as rows:
                _record(rows, order, manifest)
    say(f"restored {manifest.rows} rows with the tenant id {manifest.id}; a Tenant of the name adopts them")
    return manifest


def restoring_mark(manifest: Manifest, installation: str) -> str:
    """Return the comment of an owner role whose data is not whole yet. As a marker it is none."""
    return json.dumps({"restoring": manifest.id, "operator": installation})


def _check_fits(order: RestoreOrder, manifest: Manifest) -> None:
    if manifest.tenant != order.tenant:
        raise BackupError(f"the backup is of {manifest.tenant}, and names of roles and schemas are made of that name")
    if manifest.isolation != order.isolation:
        raise BackupError(f"the backup is of isolation {manifest.isolation}, and this restores {order.isolation}")
    wanted = {part.schema_name: part.role for part in order.parts}
    for part in manifest.parts:
        if wanted.get(part.schema_name) != part.role:
            raise BackupError(f"this version has no schema {part.schema_name} of {part.role} for {order.tenant}")


def _check_versions(connection: Connection, manifest: Manifest, client: Client) -> None:
    version = connection.info.server_version
    client.check_server(version)
    if version // 10000 < manifest.server_version // 10000:
        raise BackupError(
            f"the backup is of Postgres {manifest.server_version // 10000}, the server is {version // 10000}: it "
            "takes the same or a later version"
        )


def _is_done(rows: Connection, connection: Connection, order: RestoreOrder, manifest: Manifest) -> bool:
    """Say whether an earlier attempt came to its end. Raises BackupError when somebody has the name."""
    row = rows.execute(ROW, (order.tenant,)).fetchone()
    marker = Marker.parse(marker_of(connection, order.owner))
    released = marker is not None and (marker.id, marker.state) == (manifest.id, MarkerState.RELEASED)
    if row is not None and not (released and row[:2] == (manifest.id, "released")):
        id_, state, server = row
        raise BackupError(
            f"tenant {order.tenant} is there: {state}, id {id_}, on DatabaseServer {server}. A restore never writes "
            "over one"
        )
    if released and row is None:
        _record(rows, order, manifest)
    return released


def _make_room(connection: Connection, order: RestoreOrder, manifest: Manifest, say: Say) -> None:
    """Make the roles, all of them closed. Raises BackupError when one of the names is taken."""
    mark = restoring_mark(manifest, order.installation)
    if marker_of(connection, order.owner) == mark:
        say("an earlier attempt did not come to its end: what it left is dropped")
        _drop(connection, order)
    schemas = [part.schema_name for part in order.parts]
    there = connection.execute(THERE, {"roles": [*order.roles], "schemas": schemas}).fetchall()
    if there:
        named = ", ".join(str(what) for (what,) in there)
        raise BackupError(f"{named} exists on DatabaseServer {order.server.name}. A restore never writes over anything")
    with connection.transaction():
        for role in order.roles:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        _comment(connection, order.owner, mark)
    say(f"made the roles {', '.join(order.roles)}")


def _drop(connection: Connection, order: RestoreOrder) -> None:
    with connection.transaction(), borrowed(connection, order.roles):
        for part in order.parts:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(part.schema_name)))
        for role in order.roles[::-1]:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
    with connection.transaction():
        for role in order.roles[::-1]:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _fill(
    order: RestoreOrder,
    manifest: Manifest,
    path: str,
    *,
    reach: Reach,
    store: Store,
    client: Client,
    work: Path,
    say: Say,
) -> None:
    database = order.parts[0].database
    try:
        refused = fill(manifest, path, database=database, reach=reach, store=store, client=client, work=work)
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(f"the operator's login may not make it: {told_of(error)}") from error
    for one in refused:
        say(f"not granted: {one}")
    compare(manifest, database=database, reach=reach)
    say("the content is the backup's")


def _release(connection: Connection, order: RestoreOrder, manifest: Manifest) -> None:
    marker = Marker(manifest.id, manifest.uid, order.installation, MarkerState.RELEASED)
    _comment(connection, order.owner, marker.text())


def _comment(connection: Connection, role: str, text: str) -> None:
    connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(text)))


def _record(rows: Connection, order: RestoreOrder, manifest: Manifest) -> None:
    service = next(part for part in order.parts if part.role == OWNER)
    values = {
        "id": manifest.id,
        "tenant": order.tenant,
        "uid": manifest.uid,
        "server": order.server.name,
        "database": service.database,
        "schema": service.schema_name,
        "isolation": manifest.isolation,
        "login": order.service_login,
        "version": manifest.revision,
    }
    rows.execute(RECORD, values)
