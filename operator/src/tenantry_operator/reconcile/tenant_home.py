"""Looks at a tenant where it lives: in the server's database, in one of its own, or in the pool."""

from dataclasses import replace
from typing import NamedTuple

from tenantry_operator.clients.postgres import Connection, DatabaseError, ServerAddress, Servers, ServerUnreachable
from tenantry_operator.model.exposure import Exposure
from tenantry_operator.model.isolation import Layout
from tenantry_operator.model.tenant import Catalogue
from tenantry_operator.observe.pool import parse_line, read_lines, with_line
from tenantry_operator.observe.sessions import observe_sessions
from tenantry_operator.observe.tenant import observe_catalogue, observe_claim
from tenantry_operator.reconcile.tenant_isolation import IsolationWatch


class AtHome(NamedTuple):
    """What a server says of a tenant."""

    catalogue: Catalogue
    facts: str
    sessions: frozenset[str]
    claim: str | None
    """Whose the server is."""
    ways: frozenset[Exposure]
    """What opens a way between the tenant and others."""


async def look_at_home(
    servers: Servers, address: ServerAddress, layout: Layout, *, isolation: IsolationWatch
) -> AtHome:
    """Look into the tenant's database. If it is not there, or lets nobody in, look at it from the server's.

    Raises DatabaseError, psycopg.Error.
    """
    own = layout.own_database
    if own is None:
        async with servers.connection(address) as connection:
            return await _look(connection, address, layout, isolation)
    try:
        async with servers.connection(address, database=own) as connection:
            return await _look(connection, address, layout, isolation)
    except DatabaseError as error:
        if isinstance(error, ServerUnreachable) and error.failure.reason != "TooManyConnections":
            raise
        said = str(error)
    async with servers.connection(address) as connection:
        seen = await _look(connection, address, layout, isolation)
    there = seen.catalogue.database
    if there is None:
        return seen
    return seen._replace(catalogue=replace(seen.catalogue, database=replace(there, shut=said)))


async def _look(connection: Connection, address: ServerAddress, layout: Layout, isolation: IsolationWatch) -> AtHome:
    catalogue, facts = await observe_catalogue(connection, layout.names, own=layout.own_database)
    if layout.is_pooled:
        catalogue, facts = await _with_pool(connection, layout, catalogue, facts)
    sessions = await observe_sessions(connection, layout.names, catalogue)
    ways = await isolation.seen_by_pass(connection, address, layout) if facts else frozenset()
    return AtHome(catalogue, facts, sessions, await observe_claim(connection), ways)


async def _with_pool(connection: Connection, layout: Layout, catalogue: Catalogue, facts: str) -> tuple[Catalogue, str]:
    """Add what the pool says of the tenant; its version and its tables are the tenant's."""
    line = (await read_lines(connection, (layout.names.name,))).get(layout.names.name, "")
    part = parse_line(line)
    seen = replace(catalogue, version=part.version, tables=part.tables, entry=part.entry)
    return seen, with_line(facts, line)
