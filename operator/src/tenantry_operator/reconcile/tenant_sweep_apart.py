"""Looks into the databases that tenants have of their own: into those where something changed, and a few in turn."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import psycopg

from tenantry_operator.clients.postgres import (
    ONE_MOMENT,
    Connection,
    DatabaseError,
    ServerAddress,
    Servers,
    ServerUnreachable,
)
from tenantry_operator.model.exposure import Exposure
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.extensions import read_extensions
from tenantry_operator.observe.marks_apart import read_marks_apart
from tenantry_operator.observe.pool import with_line
from tenantry_operator.observe.tenant import read_facts
from tenantry_operator.reconcile.tenant_isolation import IsolationWatch

IN_TURN: Final = 20
"""Databases that a sweep looks into though nothing is known to have changed there. Each costs a connection."""


class Entered(NamedTuple):
    """What was seen of one Tenant: its facts and what it is exposed to only if its database was looked into."""

    mark: str
    facts: str | None = None
    ways: frozenset[Exposure] | None = None


class ApartSweep:
    """Finds out what changed of tenants that have a database of their own, mostly without entering any."""

    def __init__(self, servers: Servers, isolation: IsolationWatch) -> None:
        self._servers = servers
        self._isolation = isolation
        self._last: dict[str, str] = {}
        """Server to the Tenant whose turn it was last."""

    async def look(
        self, address: ServerAddress, names: Sequence[str], *, is_quiet: Callable[[str, str], bool]
    ) -> dict[str, Entered]:
        """Return marks of all, and facts of those that are not quiet by their marks, or whose turn it is.

        No facts of one that cannot be entered: "" is what nobody's facts are. Raises DatabaseError, psycopg.Error.
        """
        async with self._servers.connection(address) as connection, connection.transaction():
            await connection.execute(ONE_MOMENT)
            marks = await read_marks_apart(connection, map(TenantNames, names))
        found = {name: Entered(marks.get(TenantNames(name).key, "")) for name in names}
        turn = set(self._turn(address.name, names))
        for name in names:
            if name in turn or not is_quiet(name, found[name].mark):
                found[name] = await self._enter(address, TenantNames(name))
        return found

    def _turn(self, server: str, names: Iterable[str]) -> Iterator[str]:
        """Yield the next few after those of the last sweep, round and round."""
        ordered = sorted(names)
        start = bisect_right(ordered, self._last.get(server, ""))
        for name in (ordered[start:] + ordered[:start])[:IN_TURN]:
            self._last[server] = name
            yield name

    async def _enter(self, address: ServerAddress, names: TenantNames) -> Entered:
        """Return mark and facts of one moment: a change in between would leave the mark of the one with the other's."""
        try:
            async with self._servers.connection(address, database=names.database) as connection:
                return await self._one_moment(connection, address, names, inside=True)
        except DatabaseError as error:
            if isinstance(error, ServerUnreachable) and error.failure.reason != "TooManyConnections":
                raise
        # It is gone, or lets nobody in.
        async with self._servers.connection(address) as connection:
            return await self._one_moment(connection, address, names, inside=False)

    async def _one_moment(
        self, connection: Connection, address: ServerAddress, names: TenantNames, *, inside: bool
    ) -> Entered:
        try:
            async with connection.transaction():
                await connection.execute(ONE_MOMENT)
                marks = await read_marks_apart(connection, (names,))
                facts = (await read_facts(connection, (names,), own=names.database)).get(names.key, "")
                ways = await self._isolation.seen_apart(connection, address, names) if facts else frozenset()
                if facts and inside:
                    facts = with_line(facts, await read_extensions(connection))
        except psycopg.OperationalError:
            return Entered("", "", frozenset())  # it is being dropped
        return Entered(marks.get(names.key, ""), facts, ways)
