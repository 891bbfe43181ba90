"""A tenant's data from a backup again, as `Retain` leaves it: the next Tenant of the name adopts it.

It begins with roles that bear a mark of its own, and ends by writing the marker. What a killed attempt left bears that
mark, and is dropped before; nothing else is. A backup is believed if the registry knows its manifest, and none of it is
run with more rights than the tenant has.
"""

import json
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from tenantry_operator.backup.apart import drop_own_database, make_own_database, release_own_database
from tenantry_operator.backup.filling import compare, fill
from tenantry_operator.backup.laying import moved_to
from tenantry_operator.backup.orders import BackupError, Manifest, RestoreOrder
from tenantry_operator.backup.programs import Client
from tenantry_operator.backup.recorded import check_path, check_recorded
from tenantry_operator.backup.rows import delete_rows, pool_revision
from tenantry_operator.backup.sayings import told_of
from tenantry_operator.backup.scratch import may_be_asked_for
from tenantry_operator.backup.servers import Connection, Reach, Say, borrowed, lock_number, marker_of, only_one
from tenantry_operator.backup.store import Store
from tenantry_operator.model.isolation import Isolation, Layout, layout_of
from tenantry_operator.model.names import TenantNames, login_number, service_login
from tenantry_operator.model.placement import Candidate, Taken, seat_on
from tenantry_operator.model.tenant import Marker, MarkerState

THERE: Final = """
SELECT 'role ' || rolname FROM pg_roles WHERE rolname = ANY (%(roles)s)
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = ANY (%(schemas)s)
UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname = %(database)s ORDER BY 1
"""
ROW: Final = "SELECT id::text, state, server FROM tenantry.tenants WHERE name = %s AND state <> 'deleted'"
OF_ID: Final = "SELECT name, state FROM tenantry.tenants WHERE id = %s"
HELD: Final = "SELECT service_login, count(*) FROM tenantry.tenants WHERE server = %s AND state <> 'deleted' GROUP BY 1"
RECORD: Final = """
INSERT INTO tenantry.tenants (id, name, uid, server, database, schema, isolation, service_login, state, version)
VALUES (%(id)s, %(tenant)s, %(uid)s, %(server)s, %(database)s, %(schema)s, %(isolation)s, %(login)s, 'released',
    %(version)s)
ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, state = excluded.state, server = excluded.server,
    database = excluded.database, schema = excluded.schema, service_login = excluded.service_login,
    version = excluded.version, updated_at = now()
    WHERE tenants.name = excluded.name AND tenants.state IN ('released', 'deleted')
"""


def restore(
    order: RestoreOrder, *, reach: Reach, registry: Reach, store: Store, client: Client, work: Path, say: Say
) -> Manifest:
    """Make the data again; return what the backup holds. Raises BackupError, psycopg.Error, OSError.

    Refused over anything that is there: a row of the name, a role, a schema.
    """
    path = order.path or store.newest(order.tenant)
    manifest, digest = store.manifest(path)
    where = f"{store.place}/{path}"
    check_path(manifest, path, where=where)
    say(f"the backup is {where}, made at {manifest.made_at} from DatabaseServer {manifest.server}")
    layout = _layout(order, manifest)
    # What it is when all is done: bound to this very backup, of this very Tenant.
    done = Marker(manifest.id, manifest.uid, order.installation, MarkerState.RELEASED, path)
    with reach.session() as connection:
        _check_versions(connection, manifest, client)
        with only_one(connection, lock_number(order.tenant)):
            with registry.session() as rows:
                if order.unrecorded:
                    say("the registry is not asked whether it knows the backup")
                else:
                    check_recorded(rows, manifest, digest, where=where)
                is_done = _is_done(rows, connection, order, manifest, layout=layout, done=done)
                login = "" if is_done else _login(rows, order)
            if is_done:
                say("it is restored already")
                return manifest
            # Before anything is made: a backup that is damaged makes nothing.
            for file in manifest.files:
                store.fetch(path, file)
            rows_in = store
            if layout.is_pooled and (now_at := pool_revision(connection)) != manifest.revision:
                manifest, rows_in = moved_to(now_at, manifest, path, reach=reach, connection=connection, store=store,
                                             work=work, say=say)  # fmt: skip
            _make_room(connection, order, manifest, reach=reach, layout=layout, done=done, say=say)
            with borrowed(connection, [layout.names.owner]):
                loaded = restoring_mark(manifest, order.installation, is_loaded=True)
                _fill(layout, manifest, path, reach=reach, store=store, rows_in=rows_in, client=client, work=work,
                      loaded=loaded, say=say)  # fmt: skip
            _release(connection, layout, done)
            with registry.session() as rows:
                _record(rows, connection, order, manifest, layout=layout, login=login)
    say(f"restored {manifest.rows} rows with the tenant id {manifest.id}; a Tenant of the name adopts them")
    return manifest


def restoring_mark(manifest: Manifest, installation: str, *, is_loaded: bool = False) -> str:
    """Return the comment of an owner role whose data is not whole yet. As a marker it is none.

    `is_loaded` says that the pool's rows of the tenant id are of this attempt; it is written together with them.
    """
    return json.dumps({"restoring": manifest.id, "operator": installation} | ({"loaded": True} if is_loaded else {}))


def _layout(order: RestoreOrder, manifest: Manifest) -> Layout:
    """Say where the data belongs; how the tenant is kept apart is the backup's word. Raises BackupError."""
    if manifest.tenant != order.tenant:
        raise BackupError(f"the backup is of {manifest.tenant}, and names of roles and schemas are made of that name")
    if manifest.isolation not in [*Isolation]:
        raise BackupError(f"the backup is of isolation {manifest.isolation}, which this version does not know")
    server, names = order.server, TenantNames(order.tenant)
    if manifest.owner != names.owner:
        raise BackupError(f"the backup names {manifest.owner} as its owner, and not {names.owner}")
    layout = layout_of(names, Isolation(manifest.isolation), server=server.name, database=server.database)
    mine = [] if layout.is_pooled else [(layout.customers.schema, layout.customers.owner)]
    for part in manifest.parts:
        if (part.schema_name, part.role) not in mine:
            raise BackupError(f"the backup has schema {part.schema_name} of {part.role}, which is not the customer's")
    for extension, schema in manifest.extensions:
        if not may_be_asked_for(extension, schema):
            raise BackupError(f"the backup has extension {extension} in schema {schema}, which no Tenant may ask for")
    return layout


def _check_versions(connection: Connection, manifest: Manifest, client: Client) -> None:
    """Rows are text that each version reads. Of schemas there is SQL, which an earlier version may not know."""
    if not manifest.parts:
        return
    client.check_archive(manifest.client_version)
    version = connection.info.server_version
    if version // 10000 < manifest.server_version // 10000:
        raise BackupError(
            f"the backup is of Postgres {manifest.server_version // 10000}, the server is {version // 10000}: it "
            "takes the same or a later version"
        )


def _is_done(
    rows: Connection, connection: Connection, order: RestoreOrder, manifest: Manifest, *, layout: Layout, done: Marker
) -> bool:
    """Say whether an earlier attempt came to its end. Raises BackupError when somebody has the name.

    A later life of the tenant, which was released too, bears its own UID; another backup of this one has another path.
    """
    row = rows.execute(ROW, (order.tenant,)).fetchone()
    released = Marker.parse(marker_of(connection, layout.names.owner)) == done
    if row is not None and not (released and row[:2] == (manifest.id, "released")):
        id_, state, server = row
        raise BackupError(
            f"tenant {order.tenant} is there: {state}, id {id_}, on DatabaseServer {server}. A restore never writes "
            "over one"
        )
    held = rows.execute(OF_ID, (manifest.id,)).fetchone()
    if held is not None and (held[0] != order.tenant or held[1] not in ("released", "deleted")):
        raise BackupError(_another(manifest, f"{held[0]}: {held[1]}"))
    if released and row is None:
        _record(rows, connection, order, manifest, layout=layout, login=_login(rows, order))
    return released


def _another(manifest: Manifest, whose: str) -> str:
    return f"the registry holds the backup's tenant id {manifest.id} for {whose}. A restore never writes over one"


def _login(rows: Connection, order: RestoreOrder) -> str:
    """Choose the services' login by which the tenant is reached, as for one that is new there. Raises BackupError."""
    held = rows.execute(HELD, (order.server.name,)).fetchall()
    by_login = {number: int(count) for login, count in held if (number := login_number(str(login))) is not None}
    server = Candidate(order.server.name, logins=order.logins, most_per_login=order.most_per_login)
    seat = seat_on(server, Taken(by_login=by_login))
    if seat is None:
        raise BackupError(f"the services' logins of DatabaseServer {server.name} are full; try again when it has more")
    return service_login("accounts", seat.login)


def _make_room(
    connection: Connection, order: RestoreOrder, manifest: Manifest, *, reach: Reach, layout: Layout, done: Marker,
    say: Say,
) -> None:  # fmt: skip
    """Make the roles, all of them closed, and the database. Raises BackupError when one of the names is taken."""
    mark, owner, roles = restoring_mark(manifest, order.installation), layout.names.owner, layout.group_roles
    loaded = restoring_mark(manifest, order.installation, is_loaded=True)
    found = marker_of(connection, owner)
    if found in (mark, loaded):
        say("an earlier attempt did not come to its end: what it left is dropped")
        if layout.own_database:
            drop_own_database(connection, layout, (mark, done.text()))
        _drop(connection, layout, rows_of=manifest.id if found == loaded else None)
    values = {"roles": [*roles], "schemas": [*layout.schemas], "database": layout.own_database}
    there = connection.execute(THERE, values).fetchall()
    if there:
        named = ", ".join(str(what) for (what,) in there)
        raise BackupError(f"{named} exists on DatabaseServer {order.server.name}. A restore never writes over anything")
    with connection.transaction():
        for role in roles:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        _comment(connection, owner, mark)
    say(f"made the roles {', '.join(roles)}")
    if layout.own_database:
        make_own_database(reach, connection, layout, like=order.server.database, mark=mark,
                          extensions=manifest.extensions)  # fmt: skip
        say(f"made the database {layout.own_database}")


def _drop(connection: Connection, layout: Layout, *, rows_of: str | None) -> None:
    """Drop what an attempt left; the pool's rows of a tenant id only when they are its own."""
    roles = layout.group_roles[::-1]
    with connection.transaction(), borrowed(connection, roles):
        for schema in () if layout.own_database else layout.schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        if layout.is_pooled and rows_of is not None:
            delete_rows(connection, rows_of)
        for role in roles:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
    with connection.transaction():
        for role in roles:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _fill(
    layout: Layout,
    manifest: Manifest,
    path: str,
    *,
    reach: Reach,
    store: Store,
    rows_in: Store,
    client: Client,
    work: Path,
    loaded: str,
    say: Say,
) -> None:
    database = layout.database

    def remember(connection: Connection) -> None:
        _comment(connection, layout.names.owner, loaded)

    try:
        refused = fill(manifest, path, database=database, reach=reach, store=store, rows_in=rows_in, client=client,
                       work=work, loaded=remember)  # fmt: skip
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(f"the operator's login may not make it: {told_of(error)}") from error
    for one in refused:
        say(f"not granted: {one}")
    compare(manifest, database=database, reach=reach)
    say("the content is the backup's")


def _release(connection: Connection, layout: Layout, done: Marker) -> None:
    """Leave it to whoever adopts it. The marker on the role is the last word."""
    if layout.own_database:
        release_own_database(connection, layout, done.text())
    _comment(connection, layout.names.owner, done.text())


def _comment(connection: Connection, role: str, text: str) -> None:
    connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(text)))


def _record(
    rows: Connection, connection: Connection, order: RestoreOrder, manifest: Manifest, *, layout: Layout, login: str
) -> None:
    values = {
        "id": manifest.id,
        "tenant": order.tenant,
        "uid": manifest.uid,
        "server": order.server.name,
        "database": layout.database,
        "schema": layout.services.schema,
        "isolation": manifest.isolation,
        "login": login,
        # The pool's own: it may be at a later one than the backup.
        "version": pool_revision(connection) if layout.is_pooled else manifest.revision,
    }
    if rows.execute(RECORD, values).rowcount != 1:
        raise BackupError(_another(manifest, "a tenant that is there"))
