"""Does the actions of a Tenant's plan on its server, unit by unit: a unit is one transaction in one round trip."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import psycopg
from psycopg import AsyncConnection, errors, sql

from tenantry_operator.apply.database_sql import (
    closing_statement,
    dropping_statement,
    is_cut_short,
    making_statement,
)
from tenantry_operator.apply.pool import delete_rows, make
from tenantry_operator.apply.pool_writers import WritersRemain
from tenantry_operator.apply.revoked import see_revoked
from tenantry_operator.apply.tenant_drop import thin_out
from tenantry_operator.apply.tenant_sql import (
    CannotRevoke,
    Context,
    Statement,
    borrow,
    dropped,
    give_back,
    lenders,
    statements,
)
from tenantry_operator.clients.sqlstate import Failure, FailureKind, classify
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.database_actions import DropDatabase, MakeDatabase
from tenantry_operator.plan.pool_actions import LeavePool, MakePool

Connection = AsyncConnection[Any]

LIMITS = sql.SQL("SET LOCAL lock_timeout TO '3s'; SET LOCAL statement_timeout TO '60s'")
"""An open transaction of a tenant delays its own pass only, and not for long: the pass fails, and is tried again."""

# The last one, "no possible grantors", is what Postgres 16 to 18 say of a predefined role.
REFUSED = (errors.InsufficientPrivilege, errors.InvalidGrantor, errors.InvalidGrantOperation, errors.InternalError_)
SESSIONS_END_WITHIN_MS = 5000
OBJECTS_NAMED = 8


class MarkerChanged(Exception):
    """The marker is not what the plan was made for; nothing was done."""


class SessionsRemain(Exception):
    """Somebody is still logged in as a role that nobody may log in as any more."""


@dataclass(frozen=True)
class Failed:
    """A unit that was rolled back, and why."""

    actions: tuple[do.ServerAction, ...]
    failure: Failure


@dataclass(frozen=True)
class Applied:
    """What became of the actions. `login_oid` is that of the login that was given a password."""

    done: tuple[do.ServerAction, ...]
    failed: tuple[Failed, ...] = ()
    login_oid: int | None = None


def units(actions: Iterable[do.ServerAction]) -> list[tuple[do.ServerAction, ...]]:
    """Split into what is done in one transaction each: `ALONE` by itself, the others with their neighbours."""
    grouped: list[tuple[do.ServerAction, ...]] = []
    for alone, group in groupby(actions, lambda action: isinstance(action, do.ALONE)):
        members = tuple(group)
        grouped += [(action,) for action in members] if alone else [members]
    return grouped


async def apply_on_server(
    connection: Connection, actions: Sequence[do.ServerAction], *, context: Context, marker_text: str | None
) -> Applied:
    """Do the units in order. One that an administrator must undo does not stop the others; a failure else does.

    `marker_text` is the marker that was observed; each unit fails with nothing done when it is another one by now.
    The connection is in autocommit mode.
    """
    done: list[do.ServerAction] = []
    failed: list[Failed] = []
    oid: int | None = None
    for unit in units(actions):
        try:
            oid = await _apply_unit(connection, unit, context=context, marker_text=marker_text) or oid
        except (psycopg.Error, CannotRevoke, MarkerChanged, SessionsRemain, WritersRemain) as error:
            failed.append(Failed(unit, _failure(error)))
            if not isinstance(unit[0], do.STOPS_NOTHING) and not isinstance(error, CannotRevoke):
                break
            continue
        done += unit
        marker_text = _marker_after(unit, marker_text)
    return Applied(tuple(done), tuple(failed), oid)


def _failure(error: Exception) -> Failure:
    if isinstance(error, MarkerChanged):
        return Failure(FailureKind.TRANSIENT, "Conflict", str(error))
    if isinstance(error, SessionsRemain):
        return Failure(FailureKind.TRANSIENT, "InUse", str(error))
    if isinstance(error, WritersRemain):
        return Failure(FailureKind.TRANSIENT, "TransactionOpen", str(error))
    if isinstance(error, CannotRevoke):
        return Failure(FailureKind.PRIVILEGE, "PrivilegesMissing", str(error))
    failure = classify(error)
    if isinstance(error, errors.DependentObjectsStillExist) and error.diag.message_detail:
        listed = "; ".join(error.diag.message_detail.splitlines()[:OBJECTS_NAMED])
        return replace(failure, message=f"{failure.message}: {listed}")
    return failure


def _marker_after(unit: tuple[do.ServerAction, ...], before: str | None) -> str | None:
    written = [action.marker.text() for action in unit if isinstance(action, do.WriteMarker)]
    return written[-1] if written else before


async def _apply_unit(
    connection: Connection, unit: tuple[do.ServerAction, ...], *, context: Context, marker_text: str | None
) -> int | None:
    """Run the unit; return the login's oid when it was given a password."""
    if isinstance(unit[0], MakePool):
        await make(connection, unit[0].to)
        return None
    if isinstance(unit[0], MakeDatabase | DropDatabase):
        await _make_or_drop(connection, unit[0], context=context, marker_text=marker_text)
        return None
    wanted = await _to_borrow(connection, unit, context=context)
    first: list[Statement] = [LIMITS]
    if marker_text is not None:
        first.append(_guard(context.names.owner, marker_text))
    batch = [*first]
    batch += _with_loans(unit, wanted, context=context)
    asks = [action.role for action in unit if isinstance(action, do.SetPassword)]
    batch += [sql.SQL("SELECT {}::regrole::oid::bigint").format(sql.Literal(role)) for role in asks]
    try:
        for action in unit:
            if isinstance(action, do.DropData) or (isinstance(action, do.LeaveDatabase) and action.heir is None):
                await thin_out(connection, action, first=first)
            elif isinstance(action, LeavePool):
                await delete_rows(connection, action, first=first)
        # Several statements in one message are one transaction.
        cursor = await connection.execute(sql.SQL(";\n").join(batch))
    except errors.InvalidTextRepresentation as error:
        raise MarkerChanged(f"the marker on {context.names.owner} changed meanwhile") from error
    except REFUSED:
        await _see_revoked(connection, unit)
        raise
    for action in unit:
        if isinstance(action, do.CloseLogin):
            await _end_sessions(connection, action.role)
    await _see_revoked(connection, unit)
    return await _last_number(cursor) if asks else None


async def _make_or_drop(
    connection: Connection, action: MakeDatabase | DropDatabase, *, context: Context, marker_text: str | None
) -> None:
    """Do what Postgres does in no transaction. A database is made shut, and shut under the guard before it goes."""
    if isinstance(action, MakeDatabase):
        await connection.execute(await making_statement(connection, action))
        return
    first: list[Statement] = [LIMITS]
    if marker_text is not None:
        first.append(_guard(context.names.owner, marker_text))
    first.append(_database_guard(action.database, action.marker_text))
    if not await is_cut_short(connection, action):
        first.append(closing_statement(action))
    try:
        await connection.execute(sql.SQL(";\n").join(first))
    except errors.InvalidTextRepresentation as error:
        raise MarkerChanged(f"the marker on {action.database} or its owner changed meanwhile") from error
    except errors.InvalidCatalogName:
        return  # somebody dropped it meanwhile
    await connection.execute(dropping_statement(action))


def _with_loans(unit: tuple[do.ServerAction, ...], wanted: frozenset[str], *, context: Context) -> list[Statement]:
    """Order the statements so that a role is borrowed after it is made, and not given back when it is gone."""
    made = {action.role for action in unit if isinstance(action, do.CreateRole)}
    gone = {role for action in unit for role in dropped(action)}
    batch: list[Statement] = [borrow(role) for role in sorted(wanted - made)]
    for action in unit:
        batch += statements(action, context)
        if isinstance(action, do.CreateRole) and action.role in wanted:
            batch.append(borrow(action.role))
    return batch + [give_back(role) for role in sorted(wanted - gone)]


async def _to_borrow(connection: Connection, unit: tuple[do.ServerAction, ...], *, context: Context) -> frozenset[str]:
    """Name the roles to be a member of; one that we are a member of anyway is not borrowed, nor given back."""
    wanted = frozenset(role for action in unit for role in lenders(action, context.names))
    foreign = wanted - set(context.names.roles)
    if not foreign:
        return wanted
    cursor = await connection.execute(
        "SELECT r FROM unnest(%s::text[]) r WHERE pg_has_role(current_user, r::name, 'USAGE')", (sorted(foreign),)
    )
    return wanted - {str(name) for (name,) in await cursor.fetchall()}


def _guard(owner: str, marker_text: str) -> Statement:
    """Fail unless the marker is the one given: the cast of its text to a number does."""
    return sql.SQL(
        "SELECT CASE WHEN m.text = {} THEN 0 ELSE ('marker: ' || m.text)::integer END FROM (SELECT coalesce("
        "shobj_description((SELECT oid FROM pg_roles WHERE rolname = {}), 'pg_authid'), 'none') AS text) m"
    ).format(sql.Literal(marker_text), sql.Literal(owner))


def _database_guard(database: str, marker_text: str | None) -> Statement:
    """Fail unless the database bears the marker that was seen."""
    return sql.SQL(
        "SELECT CASE WHEN m.text = {} THEN 0 ELSE ('marker: ' || m.text)::integer END FROM (SELECT coalesce("
        "shobj_description((SELECT oid FROM pg_database WHERE datname = {}), 'pg_database'), 'none') AS text) m"
    ).format(sql.Literal("none" if marker_text is None else marker_text), sql.Literal(database))


async def _end_sessions(connection: Connection, role: str) -> None:
    """End the role's sessions and see that they are gone; raises SessionsRemain."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()",
        (SESSIONS_END_WITHIN_MS, role),
    )
    cursor = await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (role,))
    row = await cursor.fetchone()
    if row is not None and row[0]:
        raise SessionsRemain(f"{row[0]} sessions of {role} do not end")


async def _see_revoked(connection: Connection, unit: tuple[do.ServerAction, ...]) -> None:
    for action in unit:
        if isinstance(action, do.RevokeMembership | do.ShutOut):
            await see_revoked(connection, action.membership)


async def _last_number(cursor: psycopg.AsyncCursor[Any]) -> int | None:
    while cursor.nextset():
        pass
    row = await cursor.fetchone()
    return None if row is None else int(row[0])
