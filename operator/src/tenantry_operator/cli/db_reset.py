"""``tenantry db reset``."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, LiteralString

import psycopg
import typer
from psycopg import sql

from tenantry_crds import names as api
from tenantry_migrations import REGISTRY_SCHEMA, VERSION_TABLE
from tenantry_operator.apply.leftovers import drop_lent, drop_trial
from tenantry_operator.apply.tenant import apply_on_server
from tenantry_operator.apply.tenant_sql import Context
from tenantry_operator.cli.db_access import APPLICATION_NAME, Connection, database_url, may_become, session
from tenantry_operator.cli.db_init import AdminUrl, Database, OperatorRole, Registry
from tenantry_operator.cli.db_preparation import OPERATOR_ROLE, REGISTRY_DATABASE, TENANTS_DATABASE
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.clients.sqlstate import classify, connect_error
from tenantry_operator.model.extensions import EXTENSIONS as EXTENSIONS_SCHEMA
from tenantry_operator.model.extensions import MADE_BY_US
from tenantry_operator.model.leftovers import Trial
from tenantry_operator.model.names import OWNER, SERVICES, TENANTS, TenantNames, login_number, service_secret
from tenantry_operator.model.pool import DIRECTORY_SCHEMA, DIRECTORY_TABLE, POOL_ROLES, POOL_SCHEMA
from tenantry_operator.model.tenant import Marker, MarkerState
from tenantry_operator.observe.leftovers import observe_trials
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.database_actions import DropDatabase

EPILOG = (
    "Examples: `tenantry db reset $URL --print` · `tenantry db reset $URL` · "
    "`tenantry db reset $URL --yes-drop-tenants 2`"
)

OPERATORS: Final = """
SELECT application_name FROM pg_stat_activity
WHERE usename = current_user AND pid <> pg_backend_pid() AND application_name LIKE 'tenantry:%' LIMIT 1
"""
ROLES: Final = """
SELECT rolname::text, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname ~ '^(t|s|tenantry)_'
"""
DATABASES: Final = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database"
SCHEMAS: Final = "SELECT nspname::text, pg_get_userbyid(nspowner)::text FROM pg_namespace"
EXTENSIONS: Final = """
SELECT extname::text FROM pg_extension
WHERE obj_description(oid, 'pg_extension') = %s AND pg_get_userbyid(extowner) = current_user
"""
IS_THERE: Final = "SELECT to_regclass(%s) IS NOT NULL"
LIVE: Final = "SELECT name, server, state FROM tenantry.tenants WHERE state <> 'deleted' ORDER BY name"
WHY: Final = "the server is reset"

Async = psycopg.AsyncConnection[Any]


@dataclass(frozen=True)
class Place:
    """Which server, as whom, and which of its databases."""

    url: str
    role: str
    database: str
    registry: str


@dataclass(frozen=True)
class Marked:
    """What bears a tenant's marker."""

    names: TenantNames
    marker_text: str | None
    roles: tuple[str, ...]
    schemas: tuple[str, ...]
    database: tuple[str, str] | None
    """A database of its own, and the marker on it."""

    def __str__(self) -> str:
        own = [f"database {self.database[0]}"] if self.database else []
        held = [*own, *(f"schema {one}" for one in self.schemas), *(f"role {one}" for one in self.roles)]
        return f"{self.names.key.replace('_', '-')}: {', '.join(held)}"


@dataclass(frozen=True)
class Reset:
    """What goes."""

    tenants: tuple[Marked, ...]
    trials: tuple[Trial, ...]
    roles: tuple[str, ...]
    """The shared ones."""
    schemas: tuple[str, ...]
    extensions: tuple[str, ...]
    extensions_schema: bool
    """Whether there is one of ours; it goes if nothing is left in it."""
    registry: bool
    registered: tuple[tuple[str, str, str], ...]
    """Name, server and state of the tenants that the registry holds."""
    server: str
    """The DatabaseServer that holds the server, if one does."""

    @property
    def count(self) -> int:
        """How many tenants there are, by the registry or by a marker."""
        known = {TenantNames(name).key for name, _, _ in self.registered}
        return len(known | {one.names.key for one in self.tenants})

    @property
    def is_empty(self) -> bool:
        return not (self.tenants or self.trials or self.roles or self.schemas or self.extensions or self.registry)


def reset(
    url: AdminUrl,
    print_only: Annotated[bool, typer.Option("--print", help="Say what would go; do nothing.")] = False,
    yes_drop_tenants: Annotated[
        int | None,
        typer.Option(metavar="N", help="Drop the tenants too, with all their data; N is how many there are.", min=0),
    ] = None,
    operator_role: OperatorRole = OPERATOR_ROLE,
    database: Database = TENANTS_DATABASE,
    registry: Registry = REGISTRY_DATABASE,
) -> None:
    """Take away what tenantry made on a Postgres server, for development: as it was after `db init`.

    Tenants' schemas, roles and databases by their markers, the pool, the registry, the services' logins. What bears
    no marker stays, and so do the operator's login and its two databases. All is done with the rights of that login.
    """
    place = Place(url, operator_role, database, registry)
    with told(), session(url) as administrator:
        _see_role(administrator, operator_role)
        with may_become(administrator, operator_role):
            asyncio.run(_reset(place, print_only=print_only, agreed=yes_drop_tenants))


def _see_role(administrator: Connection, role: str) -> None:
    if administrator.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
        raise CommandFailed(f"there is no role {role}: the server was never made ready, or --operator-role is another")


async def _reset(place: Place, *, print_only: bool, agreed: int | None) -> None:
    async with _session(place, place.database) as connection:
        found = await _look(connection, place)
        for line in _lines(found, place):
            print(line)
        if print_only or found.is_empty:
            return
        await _refuse(connection, found, agreed)
        await _drop(connection, found, place)
    print("Done. The server is as after `tenantry db init`.")
    if found.server:
        secrets = " ".join(service_secret(service, found.server) for service in SERVICES)
        print(f"The services' logins are gone: kubectl -n {api.SYSTEM_NAMESPACE} delete secret {secrets}")


def _lines(found: Reset, place: Place) -> Iterator[str]:
    if found.is_empty:
        yield "There is nothing of tenantry on the server."
        return
    yield "This goes:"
    yield from (f"  tenant {one}" for one in found.tenants)
    yield from (f"  database {one.database}, of a trial" for one in found.trials)
    yield from (f"  schema {one} in database {place.database}" for one in found.schemas)
    yield from (f"  extension {one} in database {place.database}" for one in found.extensions)
    if found.registry:
        yield f"  schema {REGISTRY_SCHEMA} in database {place.registry}: the registry, with all API keys"
    yield from (f"  role {one}" for one in found.roles)
    here = {one.names.key for one in found.tenants}
    for name, server, state in found.registered:
        if TenantNames(name).key not in here:
            yield f"  from the registry alone: tenant {name} ({state}) of DatabaseServer {server}; its data is not here"


async def _refuse(connection: Async, found: Reset, agreed: int | None) -> None:
    if found.count and agreed is None:
        raise CommandFailed(
            f"there are {found.count} tenants; nothing was done. To drop them with all their data: --yes-drop-tenants "
            f"{found.count}"
        )
    if agreed is not None and agreed != found.count:
        raise CommandFailed(f"there are {found.count} tenants, and not {agreed}; nothing was done")
    cursor = await connection.execute(OPERATORS)
    if (row := await cursor.fetchone()) is not None:
        raise CommandFailed(
            f"an operator is connected ({row[0]}) and would make it all again; nothing was done. Stop it first: "
            f"kubectl -n {api.SYSTEM_NAMESPACE} scale deployment tenantry-operator --replicas 0"
        )


async def _look(connection: Async, place: Place) -> Reset:
    roles = await _pairs(connection, ROLES)
    databases = await _pairs(connection, DATABASES)
    schemas = await _pairs(connection, SCHEMAS)
    cursor = await connection.execute(EXTENSIONS, (MADE_BY_US,))
    extensions = tuple(str(name) for (name,) in await cursor.fetchall())
    shared = tuple(_shared(roles))
    pool = (POOL_SCHEMA,) if schemas.get(POOL_SCHEMA) == OWNER else ()
    has_directory = await _is_there(connection, f"{DIRECTORY_SCHEMA}.{DIRECTORY_TABLE}")
    is_registry, registered = await _registry(place) if place.registry in databases else (False, ())
    return Reset(
        tenants=tuple(_tenants(roles, databases, schemas)),
        trials=await observe_trials(connection),
        roles=shared,
        schemas=(*pool, *((DIRECTORY_SCHEMA,) if has_directory else ())),
        extensions=extensions,
        extensions_schema=schemas.get(EXTENSIONS_SCHEMA) == OWNER,
        registry=is_registry,
        registered=registered,
        server=(roles.get(OWNER) or "").partition("/")[2],
    )


def _shared(roles: dict[str, str | None]) -> Iterator[str]:
    """Name the shared roles, if their owner bears the mark of a DatabaseServer: it says that they are ours."""
    if "/" not in (roles.get(OWNER) or ""):
        return
    fixed = {OWNER, TENANTS, *POOL_ROLES.values()}
    yield from sorted(role for role in roles if role in fixed or login_number(role) is not None)


def _tenants(
    roles: dict[str, str | None], databases: dict[str, str | None], schemas: dict[str, str | None]
) -> Iterator[Marked]:
    of_roles = {name[2:-6] for name in roles if name.startswith("t_") and name.endswith("_owner")}
    of_databases = {name[2:] for name in databases if name.startswith("t_")}
    for key in sorted(of_roles | of_databases):
        names = TenantNames(key)
        marker, own = roles.get(names.owner), databases.get(names.database)
        marked = Marker.parse(marker) is not None
        database = (names.database, own) if own is not None and Marker.parse(own) else None
        if marked or database:
            mine = tuple(role for role in names.roles if role in roles) if marked else ()
            there = tuple(one for one in names.schemas if schemas.get(one) in (names.owner, OWNER)) if marked else ()
            yield Marked(names, marker if marked else None, mine, there, database)


async def _registry(place: Place) -> tuple[bool, tuple[tuple[str, str, str], ...]]:
    async with _session(place, place.registry) as connection:
        if not await _is_there(connection, f"{REGISTRY_SCHEMA}.{VERSION_TABLE}"):
            return False, ()
        if not await _is_there(connection, f"{REGISTRY_SCHEMA}.tenants"):
            return True, ()
        cursor = await connection.execute(LIVE)
        return True, tuple((str(name), str(server), str(state)) for name, server, state in await cursor.fetchall())


async def _drop(connection: Async, found: Reset, place: Place) -> None:
    """Take the services' logins first and the role with the server's mark last: a reset cut short can be done again."""
    logins = [role for role in found.roles if login_number(role) is not None]
    await _apply(connection, [do.CloseLogin(role=one, reason=WHY) for one in logins], what="the services' logins")
    for trial in found.trials:
        if not await drop_trial(connection, trial):
            raise CommandFailed(f"a restore is at work in database {trial.database}; end it first")
    await drop_lent(connection, place.database)
    failed = [said for one in found.tenants if (said := await _drop_tenant(connection, one, place))]
    if failed:
        raise CommandFailed("; ".join([*failed, "the rest was left as it is"]))
    if found.registry:
        async with _session(place, place.registry) as registry:
            await _drop_schema(registry, REGISTRY_SCHEMA)
            await _apply(registry, _leaving(found, place, place.registry), what="the registry's database")
    for schema in found.schemas:
        await _drop_schema(connection, schema)
    for extension in found.extensions:
        await _drop_unused(connection, "EXTENSION", extension)
    if found.extensions_schema:
        await _drop_unused(connection, "SCHEMA", EXTENSIONS_SCHEMA)
    if found.roles:
        roles = do.DropData(schemas=(), roles=found.roles, reason=WHY)
        await _apply(connection, [*_leaving(found, place, place.database), roles], what="the shared roles")


async def _drop_schema(connection: Async, schema: str) -> None:
    await connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


async def _drop_unused(connection: Async, kind: LiteralString, name: str) -> None:
    """Leave it where something that we do not know is in it, or uses it."""
    try:
        await connection.execute(sql.SQL("DROP {} {} RESTRICT").format(sql.SQL(kind), sql.Identifier(name)))
    except psycopg.errors.DependentObjectsStillExist as error:
        print(f"{kind.lower()} {name} stays: {error.diag.message_detail}")


def _leaving(found: Reset, place: Place, database: str) -> Sequence[do.ServerAction]:
    """Pass on to the operator's login what else the shared roles own: it bears no marker."""
    leave = do.LeaveDatabase(database=database, roles=found.roles, heir=place.role, reason=WHY)
    return [leave] if found.roles else []


async def _drop_tenant(connection: Async, one: Marked, place: Place) -> str | None:
    """Drop all of one tenant, under its marker; return what stood in the way."""
    actions: list[do.ServerAction] = [
        do.CloseLogin(role=login, reason=WHY) for login in one.names.logins if login in one.roles
    ]
    if (marker := Marker.parse(one.marker_text)) and marker.state is not MarkerState.DROPPING:
        dropping = replace(marker, state=MarkerState.DROPPING)
        actions.append(do.BeginDrop(role=one.names.owner, marker=dropping, reason=WHY))
    if one.database:
        name, text = one.database
        await drop_lent(connection, name)
        actions.append(DropDatabase(database=name, marker_text=text, reason=WHY))
    if one.roles:
        # The owner bears the marker, so it goes last.
        actions.append(do.DropData(schemas=one.schemas, roles=one.roles[::-1], reason=WHY))
    context = Context(one.names, place.database)
    applied = await apply_on_server(connection, actions, context=context, marker_text=one.marker_text)
    said = "; ".join(failed.failure.message for failed in applied.failed)
    return f"tenant {one.names.key.replace('_', '-')} cannot be dropped: {said}" if said else None


async def _apply(connection: Async, actions: Sequence[do.ServerAction], *, what: str) -> None:
    context = Context(TenantNames(""), "")
    applied = await apply_on_server(connection, actions, context=context, marker_text=None)
    if applied.failed:
        raise CommandFailed(f"{what}: {applied.failed[0].failure.message}")


async def _pairs(connection: Async, query: str) -> dict[str, str | None]:
    cursor = await connection.execute(query)
    return {str(name): said for name, said in await cursor.fetchall()}


async def _is_there(connection: Async, relation: str) -> bool:
    cursor = await connection.execute(IS_THERE, (relation,))
    return await cursor.fetchone() == (True,)


@asynccontextmanager
async def _session(place: Place, database: str) -> AsyncIterator[Async]:
    """Be the operator's login in a database. Raises CommandFailed, also for what Postgres refuses meanwhile."""
    try:
        connection = await psycopg.AsyncConnection.connect(
            database_url(place.url, database),
            autocommit=True,
            application_name=APPLICATION_NAME,
            connect_timeout=10,
            options="-c search_path=pg_catalog",
        )
    except psycopg.Error as error:
        raise CommandFailed(str(connect_error(error, where=f"database {database}"))) from error
    try:
        async with connection:
            await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(place.role)))
            yield connection
    except psycopg.Error as error:
        raise CommandFailed(f"database {database} refused: {classify(error).message}") from error
