"""Reads what a server has under tenants' names."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import tuple_row

from tenantry_migrations import VERSION_TABLE, version_query
from tenantry_operator.model.names import OWNER, TenantNames
from tenantry_operator.model.reads import Reads
from tenantry_operator.model.tenant import Catalogue, ForeignGrant, Grant, Marker, Membership, ObservedDatabase, Role
from tenantry_operator.observe.catalogue_sql import FACTS


def catalogue_names(tenants: Iterable[TenantNames]) -> dict[str, list[str]]:
    """Return the parameters of the query: names, never patterns, so that no tenant is taken for another."""
    all_names = list(tenants)
    return {
        "role_keys": [names.key for names in all_names for _ in names.roles],
        "roles": [role for names in all_names for role in names.roles],
        "keys": [names.key for names in all_names],
        "schemas": [names.schema for names in all_names],
        "service_schemas": [names.service_schema for names in all_names],
        "owners": [names.owner for names in all_names],
    }


async def read_facts(
    connection: AsyncConnection[Any], tenants: Iterable[TenantNames], *, own: str | None = None
) -> dict[str, str]:
    """Return, by key, the facts of each tenant of which anything exists; `own` is the database that one has.

    The same facts give the same text, so that a sweep need not look into what did not change.
    """
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(FACTS, {**catalogue_names(tenants), "own": own})
        return dict(await cursor.fetchall())


async def observe_catalogue(
    connection: AsyncConnection[Any], names: TenantNames, *, own: str | None = None
) -> tuple[Catalogue, str]:
    """Return all there is under one tenant's names, its version too, and the text of the facts."""
    facts = (await read_facts(connection, (names,), own=own)).get(names.key, "")
    catalogue = parse_facts(facts)
    if VERSION_TABLE not in catalogue.tables:
        return catalogue, facts
    return replace(catalogue, version=await _version(connection, names.service_schema, catalogue)), facts


async def _version(connection: AsyncConnection[Any], schema: str, catalogue: Catalogue) -> str | None:
    """Read the revision, also while schema or table are somebody else's: that is for the plan to put right."""
    lenders = {catalogue.schemas.get(schema, OWNER), catalogue.table_owners.get(VERSION_TABLE, OWNER)} - {OWNER}
    if not lenders:
        return await _said(connection, schema)
    async with connection.transaction(force_rollback=True):
        for lender in sorted(lenders):
            await connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(lender)))
        # A policy of that owner would be run as us.
        await connection.execute("SET LOCAL row_security TO off")
        return await _said(connection, schema)


async def _said(connection: AsyncConnection[Any], schema: str) -> str | None:
    cursor = await connection.execute(version_query(schema))
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


def parse_facts(text: str) -> Catalogue:
    """Turn the facts of one tenant into a catalogue, all but the version; no facts, nothing there."""
    by_kind: dict[str, list[list[Any]]] = {}
    for kind, fact in json.loads(text) if text else ():
        by_kind.setdefault(kind, []).append(fact)

    def of(kind: str) -> list[list[Any]]:
        return by_kind.get(kind, [])

    return Catalogue(
        roles={role.name: role for role in map(parse_role, of("role"))},
        memberships=frozenset(Membership(*fact) for fact in of("member")),
        schemas=dict(of("schema")),
        schema_grants=frozenset(Grant(*fact) for fact in of("on schema")),
        tables=frozenset(name for (name,) in of("table")),
        table_owners=dict(of("owner")),
        table_grants=frozenset(Grant(*fact) for fact in of("on table")),
        default_grants=frozenset(Grant(*fact) for fact in of("default")),
        reads=next((Reads(*fact) for fact in of("reads")), Reads()),
        settings_elsewhere=frozenset((role, database, name) for role, database, name in of("set elsewhere")),
        foreign=frozenset(map(parse_foreign, of("foreign"))),
        elsewhere=frozenset((role, database) for role, database in of("elsewhere")),
        sessions=frozenset(role for (role,) in of("session")),
        marker_text=next((text for (text,) in of("marker")), None),
        database=next(map(_database, of("database")), None),
    )


def parse_role(fact: list[Any]) -> Role:
    """Read a role from its fact."""
    name, oid, login, inherit, limit, expires, elevated, settings = fact
    return Role(
        name=name,
        oid=oid,
        login=login,
        inherit=inherit,
        connection_limit=limit,
        expires=expires,
        elevated=frozenset(elevated),
        settings=frozenset(_setting(text) for text in settings),
    )


def _database(fact: list[Any]) -> ObservedDatabase:
    name, owner, marker_text, open_, template, limit, entered, grants = fact
    held = frozenset(Grant(*grant) for grant in grants)
    return ObservedDatabase(
        name, owner, marker_text, held, open=open_, template=template, connection_limit=limit, entered=entered
    )


def parse_foreign(fact: list[Any]) -> ForeignGrant:
    """Read a privilege on an object that is not the holder's from its fact."""
    kind, identity, owner, grantee, givers = fact
    return ForeignGrant(kind, identity, owner, grantee, tuple(givers))


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


async def observe_marker(connection: AsyncConnection[Any], names: TenantNames) -> Marker | None:
    """Return whose the tenant's names on a server are; None when nobody's, as far as we know."""
    return Marker.parse(await _comment(connection, names.owner))


async def observe_claim(connection: AsyncConnection[Any]) -> str | None:
    """Return whose the server is: what the shared owner role says. None when it was never prepared."""
    return await _comment(connection, OWNER)


async def _comment(connection: AsyncConnection[Any], role: str) -> str | None:
    query = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    row = await (await connection.execute(query, (role,))).fetchone()
    return None if row is None or row[0] is None else str(row[0])
