"""Looks at a tenant where it lives: in the server's database, in one of its own, or in the pool."""

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from tenantry_operator.clients.postgres import Connection, DatabaseError, ServerAddress, Servers, ServerUnreachable
from tenantry_operator.model.exposure import Exposure
from tenantry_operator.model.extensions import of_a_new_database
from tenantry_operator.model.isolation import Layout
from tenantry_operator.model.tenant import Catalogue, DesiredTenant
from tenantry_operator.observe.extensions import line_of, parse_extensions, read_extensions, with_available
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
    servers: Servers, address: ServerAddress, desired: DesiredTenant, *, isolation: IsolationWatch
) -> AtHome:
    """Look into the tenant's database. If it is not there, or lets nobody in, look at it from the server's.

    Raises DatabaseError, psycopg.Error.
    """
    layout = desired.layout
    own = layout.own_database
    if own is None:
        async with servers.connection(address) as connection:
            seen = await _look(connection, address, layout, isolation)
            return await _with_extensions(connection, seen, desired.extensions, shared=True)
    try:
        async with servers.connection(address, database=own) as connection:
            seen = await _look(connection, address, layout, isolation)
            return await _with_extensions(connection, seen, desired.extensions, shared=False)
    except DatabaseError as error:
        if isinstance(error, ServerUnreachable) and error.failure.reason != "TooManyConnections":
            raise
        said = str(error)
    async with servers.connection(address) as connection:
        seen = await _look(connection, address, layout, isolation)
        there = seen.catalogue.database
        if there is None or there.is_begun:
            found = await with_available(connection, of_a_new_database(), desired.extensions)
            seen = seen._replace(catalogue=replace(seen.catalogue, extensions=found))
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


async def _with_extensions(connection: Connection, seen: AtHome, wanted: Collection[str], *, shared: bool) -> AtHome:
    """Add what there is of extensions; of a database that others use too, only of those that are asked for."""
    if shared and not wanted:
        return seen
    there = await read_extensions(connection)
    line = line_of(there, wanted) if shared else there
    found = await with_available(connection, parse_extensions(line), wanted)
    facts = with_line(seen.facts, line) if seen.facts else ""
    return seen._replace(catalogue=replace(seen.catalogue, extensions=found), facts=facts)


async def _with_pool(connection: Connection, layout: Layout, catalogue: Catalogue, facts: str) -> tuple[Catalogue, str]:
    """Add what the pool says of the tenant; its version and its tables are the tenant's."""
    line = (await read_lines(connection, (layout.names.name,))).get(layout.names.name, "")
    part = parse_line(line)
    seen = replace(catalogue, version=part.version, tables=part.tables, entry=part.entry)
    return seen, with_line(facts, line)
