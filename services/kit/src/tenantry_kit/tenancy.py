"""The unit of work: one transaction in one tenant, and the only way to a tenant's rows.

It begins in one round trip, which starts the transaction, sets role, search_path, `app.tenant` and statement_timeout
for its duration, and reads the tenant's marker. A marker of another tenant id means that the tenant was deleted and
made anew under its name: the work ends before it has read a row. It ends in one round trip too, which shows what
stayed behind on the connection; a connection that something stayed on is closed.

Three guards, each enough alone: the role cannot reach another tenant's schema, the marker cannot be another tenant's,
and every query of the ORM is narrowed to the tenant's id. Pooled tenants share a schema and a role: there row security
stands in place of the first, by `app.tenant`, and the pool itself is asked whether it has let the tenant be chosen.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, UOWTransaction, mapped_column, with_loader_criteria

from tenantry_kit.databases import Databases
from tenantry_kit.logs import Logger
from tenantry_kit.metrics import Metrics
from tenantry_kit.problems import DATABASE_UNAVAILABLE, TENANT_UNAVAILABLE, Problem
from tenantry_kit.scope import TenantScope

_BEGIN = sql.SQL(
    "BEGIN; SELECT current_setting('search_path'), set_config('role', {role}, true),"
    " set_config('search_path', {path}, true), set_config('app.tenant', {tenant}, true),"
    " set_config('statement_timeout', {timeout}, true),"
    " (SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = {owner})"
)
# A statement of its own: whether the role may ask is looked at before a statement begins.
_CHOSEN = sql.SQL("; SELECT tenantry.chosen_tenant()")
_END = sql.SQL(
    "{end}; SELECT current_setting('role'), current_setting('search_path'),"
    " coalesce(current_setting('app.tenant', true), '')"
)

# What Postgres says when a tenant's role, schema or table is not there (yet, or any more).
_NOT_SET_UP = (
    psycopg.errors.InvalidParameterValue,  # role does not exist
    psycopg.errors.UndefinedObject,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InvalidCatalogName,
)


class TenantOwned:
    """Mixin of every model whose rows are a tenant's. The unit of work fills the column in and filters by it."""

    tenant_id: Mapped[UUID] = mapped_column(index=False)


class ScopeViolation(Exception):
    """A row of another tenant was about to be written. It is a bug of the service, never the caller's."""


class TenantReplaced(Exception):
    """The tenant of this id is gone: it was released, or its name belongs to another one now."""


class NotCommitted(Exception):
    """Postgres rolled back what was to be committed, since a statement had failed and nobody minded. It is a bug."""


@dataclass(frozen=True)
class TenancySession:
    """What a repository works with: an ORM session that sees one tenant, inside one transaction."""

    scope: TenantScope
    orm: AsyncSession


class _ScopedSession(Session):
    """A session whose every query and write stays within `info["scope"]`."""


@event.listens_for(_ScopedSession, "do_orm_execute")
def narrow_to_tenant(state: ORMExecuteState) -> None:
    """Add the tenant's id to each ORM statement, whatever the repository wrote."""
    tenant_id = state.session.info["scope"].tenant_id
    state.statement = state.statement.options(
        with_loader_criteria(TenantOwned, lambda model: model.tenant_id == tenant_id, include_aliases=True)
    )


@event.listens_for(_ScopedSession, "before_flush")
def stamp_tenant(session: Session, _context: UOWTransaction, _instances: object) -> None:
    """Fill the tenant's id in on new rows. Raises ScopeViolation for a row of another tenant."""
    tenant_id = session.info["scope"].tenant_id
    for row in {*session.new, *session.dirty, *session.deleted}:
        if not isinstance(row, TenantOwned):
            continue
        if row.tenant_id is None:
            row.tenant_id = tenant_id
        if row.tenant_id != tenant_id:
            raise ScopeViolation(type(row).__name__)


class UnitsOfWork:
    """Begins units of work."""

    def __init__(self, databases: Databases, metrics: Metrics, logger: Logger, *, statement_timeout: int) -> None:
        self._databases = databases
        self._metrics = metrics
        self._logger = logger
        self._statement_timeout = statement_timeout

    @asynccontextmanager
    async def begin(self, scope: TenantScope) -> AsyncIterator[TenancySession]:
        """Give a session in the tenant's scope; commit when the block ends, roll back when it raises.

        Raises TenantReplaced when the marker is another tenant's, and Problem(TENANT_UNAVAILABLE) or
        Problem(DATABASE_UNAVAILABLE) for what the caller cannot help.
        """
        async with self._opened(scope) as work:
            orm = AsyncSession(
                work.connection,
                sync_session_class=_ScopedSession,
                expire_on_commit=False,
                info={"scope": scope},
            )
            try:
                yield TenancySession(scope, orm)
                await orm.flush()
                await self._end(work, "COMMIT")
            except BaseException as error:
                await self._abandon(work)
                _raise_as_problem(error)
                raise
            finally:
                await orm.close()

    @asynccontextmanager
    async def _opened(self, scope: TenantScope) -> AsyncIterator["_Work"]:
        """Open a unit of work; once more when the pool's connection had died while it was idle."""
        async with self._databases.connection(scope.server, scope.database, login=scope.login) as connection:
            work = await self._open(connection, scope)
            if work is not None:
                yield work
                return
        await self._databases.forget_idle(scope.server, scope.database, login=scope.login)
        async with self._databases.connection(scope.server, scope.database, login=scope.login) as connection:
            work = await self._open(connection, scope)
            if work is None:
                raise Problem(DATABASE_UNAVAILABLE)
            yield work

    async def _open(self, connection: AsyncConnection, scope: TenantScope) -> "_Work | None":
        """Begin the transaction and check the marker. Return None when the connection is dead."""
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)  # noqa: S101  # for types; the URL names the driver
        work = _Work(connection, driver)
        try:
            work.search_path, marker = await _send_begin(driver, scope, self._statement_timeout)
            check_marker(marker, scope)
        except psycopg.OperationalError as error:
            await connection.invalidate()
            if driver.closed:
                return None
            raise Problem(DATABASE_UNAVAILABLE) from error
        except BaseException as error:
            await self._abandon(work)
            _raise_as_problem(error)
            raise
        return work

    async def _end(self, work: "_Work", end: str) -> None:
        cursor = await work.driver.execute(_END.format(end=sql.SQL(end)))
        # A COMMIT of a failed transaction is answered with ROLLBACK, and no error.
        done = (cursor.statusmessage or "").upper()
        cursor.nextset()
        left = await cursor.fetchone()
        if left != ("none", work.search_path, ""):
            self._metrics.connections_killed.inc()
            self._logger.error("connection_leaked", left=left)
            await work.connection.invalidate()
        if done != end:
            raise NotCommitted(f"{end} was answered with {done}")

    async def _abandon(self, work: "_Work") -> None:
        if work.driver.closed:
            # Or the session would roll back on it once more, and that error would hide the first.
            await work.connection.invalidate()
            return
        try:
            if work.driver.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                await self._end(work, "ROLLBACK")
        except psycopg.Error:
            await work.connection.invalidate()


@dataclass
class _Work:
    connection: AsyncConnection
    driver: psycopg.AsyncConnection[tuple[object, ...]]
    search_path: str = ""


async def _send_begin(
    driver: psycopg.AsyncConnection[tuple[object, ...]], scope: TenantScope, statement_timeout: int
) -> tuple[str, str | None]:
    """Begin the transaction in the tenant's scope; return the search_path before, and the tenant's marker."""
    statement = _BEGIN.format(
        role=sql.Literal(scope.role),
        # Without pg_temp at the end, temporary tables would be found first.
        path=sql.Literal(f"{scope.schema}, pg_temp"),
        tenant=sql.Literal(str(scope.tenant_id)),
        timeout=sql.Literal(str(statement_timeout)),
        owner=sql.Literal(scope.owner_role),
    )
    cursor = await driver.execute(statement + _CHOSEN if scope.is_pooled else statement)
    cursor.nextset()
    row = await cursor.fetchone()
    if row is None:
        raise Problem(DATABASE_UNAVAILABLE)
    return str(row[0]), None if row[-1] is None else str(row[-1])


def check_marker(marker: str | None, scope: TenantScope) -> None:
    """Raise TenantReplaced unless the marker is this tenant's and live, Problem(TENANT_UNAVAILABLE) if it says nothing.

    The operator writes it as JSON: the tenant's id in `tenant`, and `state`, which is `live` or `released`.
    """
    try:
        found = json.loads(marker or "")
        tenant_id, state = UUID(found["tenant"]), found["state"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Problem(TENANT_UNAVAILABLE) from error
    if tenant_id != scope.tenant_id or state != "live":
        raise TenantReplaced(scope.name)


def _raise_as_problem(error: BaseException) -> None:
    """Raise the problem that an error of the database is for the caller; return for any other error."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, _NOT_SET_UP):
        raise Problem(TENANT_UNAVAILABLE) from error
    if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)):
        raise Problem(DATABASE_UNAVAILABLE) from error
