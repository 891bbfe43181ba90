"""Finds the Tenants of which something changed since their last pass, without looking into any of them."""

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import psycopg

from tenantry_crds import names as api
from tenantry_operator.clients.kube import ApiError
from tenantry_operator.clients.postgres import ONE_MOMENT, DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.cache import ObjectCache, key_of
from tenantry_operator.engine.moving import Moving
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.exposure import Exposure
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.level import Level
from tenantry_operator.model.names import OWNER, TenantNames
from tenantry_operator.model.tenant import Grant, Place, RegistryRow
from tenantry_operator.observe.pool import with_line
from tenantry_operator.observe.registry import read_rows
from tenantry_operator.observe.tenant import read_facts
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.reconcile.tenant_desired import place_of, service_tables
from tenantry_operator.reconcile.tenant_isolation import IsolationWatch
from tenantry_operator.reconcile.tenant_level import LevelBook, children_of
from tenantry_operator.reconcile.tenant_lines import pooled_of, read_marked
from tenantry_operator.reconcile.tenant_namespace import Children, versions_now
from tenantry_operator.reconcile.tenant_sweep_apart import ApartSweep
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

KIND: Final = "Tenant"
BATCH: Final = 500
"""Tenants of which the facts are read in one query, so that its plan and its answer stay small."""

Found = tuple[str, bytes | None, frozenset[Exposure] | None]
"""Mark, digest of the facts, and ways; None: not looked at."""

DIGEST: Final = 16
"""Bytes."""

SecretSeen = tuple[str, str, str]
"""Name, namespace and resourceVersion."""


@dataclass(frozen=True)
class Seen:
    """All that a pass concluded from, besides the Tenant itself: the same again would come to the same."""

    place: Place
    row: RegistryRow | None
    released: str | None
    facts: bytes
    secret: SecretSeen | None
    children: Children = frozenset()
    """The namespace and what is in it."""
    isolation: Isolation = Isolation.SCHEMA
    ways: frozenset[Exposure] = frozenset()
    """What opens a way between the tenant and others."""


@dataclass(frozen=True)
class Settled:
    """The versions of a Tenant and its Secret after a pass that had nothing left to do."""

    secret: tuple[str, str]
    """Name and namespace."""
    tenant_version: str | None
    secret_version: str | None
    children: Children = frozenset()


@dataclass(frozen=True)
class Quiet:
    """The mark under which a Tenant's facts were those that its last pass saw; the same mark, the same facts."""

    mark: str
    seen: Seen
    written: bool = False
    """Whether the registry says so too."""


class TenantSweep:
    """Remembers what each Tenant's last complete pass saw, and yields those of which one would see something else.

    A Tenant of which nothing is remembered, since the process is new or its pass failed, is yielded too; so is one
    whose last pass changed something, once, to see that it holds.
    """

    def __init__(
        self,
        servers: Servers,
        cache: ObjectCache,
        addresses: Addresses,
        *,
        settings: OperatorSettings,
        isolation: IsolationWatch,
        due: Callable[[str], datetime | None],
        moving: Moving,
    ) -> None:
        self._isolation = isolation
        self._servers = servers
        self._cache = cache
        self._addresses = addresses
        self._settings = settings
        self._due = due
        self._moving = moving
        self._remembered: dict[str, Seen] = {}
        self._settled: dict[str, Settled] = {}
        self._unknown: set[str] = set()
        self._quiet: dict[str, Quiet] = {}
        self._other_secrets: dict[str, set[tuple[str, str]]] = {}
        self._apart = ApartSweep(servers, isolation)
        self._levels = LevelBook(servers, cache, addresses, settings=settings)
        self._unread: set[str] = set()
        """Tenants that no pass of this process looked into: of these, the schema's own version is still to be read."""

    async def resume(self) -> Mapping[str, datetime | None]:
        """Take over from the process before: remember of whom nothing changed since; return when each is due.

        The next sweep looks at them like at all others.
        """
        resumed = await self._levels.resumed()
        for name, one in resumed.items():
            level = one.level
            secret, children = level.secret, children_of(level)
            # What the facts were is not known; another mark means other facts.
            known = (*secret[:2], secret[2]) if secret[2] is not None else None
            seen = Seen(one.place, one.row, one.released, b"", known, children, Isolation(one.row.isolation))
            self._remembered[name], self._quiet[name] = seen, Quiet(level.mark, seen, written=True)
            self._settled[name] = Settled(secret[:2], level.tenant[1], secret[2], children)
        self._unread = {name for name, one in resumed.items() if one.row.isolation == Isolation.SCHEMA}
        return {name: one.level.due for name, one in resumed.items()}

    def remember(self, name: str, seen: Seen) -> None:
        self._remembered[name] = seen

    def forget(self, name: str) -> None:
        self._remembered.pop(name, None)
        self._settled.pop(name, None)
        self._quiet.pop(name, None)
        self._unread.discard(name)

    def settle(
        self,
        name: str,
        secret: tuple[str, str],
        *,
        versions: tuple[str, str | None],
        children: Children = frozenset(),
    ) -> None:
        """Remember that a pass left the Tenant and its Secret at these versions; the cache may be past them already."""
        self._settled[name] = Settled(secret, *versions, children)

    def is_settled(self, name: str) -> bool:
        """Whether a pass would only answer to what the last one wrote itself.

        The watch may bring our own write before its answer does; then it asks for a pass that nobody needs. A pass
        that a sweep asks for is needed: it looks where no event comes from.
        """
        settled = self._settled.get(name)
        return settled is not None and settled == self._held(name, settled)

    def _held(self, name: str, settled: Settled) -> Settled:
        secret = self._version(Key("Secret", *settled.secret))
        children = versions_now(self._cache, settled.children)
        return Settled(settled.secret, self._version(Key(KIND, name)), secret, children)

    def _version(self, key: Key) -> str | None:
        body = self._cache.get(key)
        return None if body is None else body["metadata"]["resourceVersion"]

    def _asked(self, name: str) -> Key:
        self._settled.pop(name, None)
        return Key(KIND, name)

    def other_secrets(self, name: str) -> Iterable[tuple[str, str]]:
        """Name and namespace of the Secrets that bear the Tenant's label, as the last sweep saw them."""
        return frozenset(self._other_secrets.get(name, ()))

    async def run(self) -> AsyncIterator[Key]:
        """Yield the keys of Tenants that need a pass. An unreachable server's Tenants need one to say so."""
        keys = [key_of(KIND, body) for body in self._cache.all(KIND) if self._settings.own.owns(body)]
        secrets = self._secrets()
        self._other_secrets = {name: {(one[0], one[1]) for one in held} for name, held in secrets.items()}
        unknown = {key.name for key in keys if key.name not in self._remembered}
        # A Tenant that came since the last sweep is probably being made just now.
        lasting, self._unknown = unknown & self._unknown, unknown
        for name in sorted(lasting):
            yield self._asked(name)
        known = [key.name for key in keys if key.name in self._remembered]
        async for name in self._changed(known, secrets):
            yield self._asked(name)
        for name in self._isolation.due(known):
            yield self._asked(name)
        for name in self._remembered.keys() - {key.name for key in keys}:
            self.forget(name)
        await self._write_levels()

    def _level(self, name: str) -> Level | None:
        """Say what the Tenant was left as; None when it is not level, or when no mark tells all that changes of it."""
        seen, settled, quiet = self._remembered.get(name), self._settled.get(name), self._quiet[name]
        if seen is None or quiet.seen is not seen or settled is None or not self.is_settled(name):
            return None
        body = self._cache.get(Key(KIND, name))
        if body is None or seen.row is None or seen.isolation is Isolation.DATABASE or seen.ways:
            return None
        secret, children = (*settled.secret, settled.secret_version), seen.children
        level = self._levels.level(body, secret, children, place=seen.place, row=(seen.row, seen.released))
        return replace(level, mark=quiet.mark, due=self._due(name))

    async def _write_levels(self) -> None:
        """Write down of whom it was found that nothing is left to do, for the next process."""
        quiet = {name: one for name, one in self._quiet.items() if not one.written}
        levels = {name: level for name in quiet if (level := self._level(name)) is not None}
        by_id = {one.seen.row.id: levels[name] for name, one in quiet.items() if name in levels and one.seen.row}
        if await self._levels.write(by_id):
            # A pass may have begun meanwhile, and have forgotten.
            self._quiet |= {name: replace(quiet[name], written=True) for name in levels.keys() & self._quiet.keys()}

    async def _changed(self, names: list[str], secrets: dict[str, list[SecretSeen]]) -> AsyncIterator[str]:
        try:
            registry = await self._addresses.registry(self._settings.registry_server, self._settings.registry_database)
            async with self._servers.connection(registry) as connection:
                released, rows = await read_rows(connection)
        except (NoAddress, ApiError, DatabaseError, psycopg.Error) as error:
            logger.warning("the registry cannot be swept", extra={"error": str(error)})
            for name in names:
                yield name
            return
        for server, here in self._by_server(names).items():
            async for name in self._changed_on(server, here, rows=rows, released=released, secrets=secrets):
                yield name

    def _by_server(self, names: list[str]) -> dict[str, list[str]]:
        grouped: dict[str, list[str]] = {}
        for name in names:
            seen = self._remembered.get(name)
            if seen is not None:  # else a pass began meanwhile, and sees for itself
                grouped.setdefault(seen.place.server, []).append(name)
        return grouped

    async def _changed_on(
        self,
        server: str,
        names: list[str],
        *,
        rows: dict[str, RegistryRow],
        released: str | None,
        secrets: dict[str, list[SecretSeen]],
    ) -> AsyncIterator[str]:
        try:
            address = await self._addresses.address(server)
            found = await self._found(address, names)
        except (NoAddress, ApiError, DatabaseError, psycopg.Error) as error:
            logger.warning("a server cannot be swept", extra={"server": server, "error": str(error)})
            for name in names:
                yield name
            return
        place = place_of(address)
        for name in names:
            seen = self._remembered.get(name)
            if seen is None:
                continue  # a pass began meanwhile, and sees for itself
            mark, facts, ways = found[name]
            children = versions_now(self._cache, seen.children)
            where, facts_now, ways_now = _place(place, seen), facts or seen.facts, seen.ways if ways is None else ways
            now = Seen(where, rows.get(name), released, facts_now, seen.secret, children, seen.isolation, ways_now)
            if now != seen and self._moving.has(name) and is_only_moved(seen, now):
                # A pass is made once the run ends: it would need the same connections, and cost more than the move.
                self._moving.note(name, mark)
            elif now != seen or self._secrets_differ(seen.secret, secrets.get(name, [])):
                yield name
            elif facts is not None:
                self._quiet[name] = Quiet(mark, seen)
        async for name in self._moved(address, [name for name in names if name in self._unread], rows):
            yield name

    async def _moved(
        self, address: ServerAddress, unread: list[str], rows: dict[str, RegistryRow]
    ) -> AsyncIterator[str]:
        """Yield those whose schema says another version than the registry; a few in each sweep, for it takes long."""
        for name, version in (await self._levels.versions(address, unread[:BATCH])).items():
            if name not in self._unread:
                continue  # a pass looked meanwhile
            self._unread.discard(name)
            if name in rows and version != rows[name].version:
                yield name

    async def _found(self, address: ServerAddress, names: list[str]) -> dict[str, Found]:
        """Return each Tenant's mark, the digest of its facts unless the mark says that they are as they were, and ways.

        All are of one moment: a change between two looks, and back, would leave the mark of the one with the facts of
        the other.
        """
        apart = [name for name in names if self._is_apart(name)]
        entered = await self._apart.look(address, apart, is_quiet=self._is_quiet) if apart else {}
        looked: dict[str, Found] = {
            name: (one.mark, None if one.facts is None else _digest_of(name, one.facts), one.ways)
            for name, one in entered.items()
        }
        names = [name for name in names if name not in looked]
        async with self._servers.connection(address) as connection, connection.transaction():
            await connection.execute(ONE_MOMENT)
            tenants = [TenantNames(name) for name in names]
            marked, pooled = await read_marked(connection, names, self._cache), pooled_of(names, self._cache)
            ways = await self._isolation.seen_by_sweep(connection, address, tenants, pooled=pooled)
            found: dict[str, Found] = {name: (marked.marks[name], None, ways[name]) for name in names}
            doubtful = [name for name in names if not self._is_quiet(name, found[name][0])]
            for start in range(0, len(doubtful), BATCH):
                batch = doubtful[start : start + BATCH]
                facts = await read_facts(connection, map(TenantNames, batch))
                for name in batch:
                    said = with_line(facts.get(TenantNames(name).key, ""), marked.lines.get(name, ""))
                    found[name] = (found[name][0], _digest_of(name, said), ways[name])
        return found | looked

    def _is_apart(self, name: str) -> bool:
        """Whether the Tenant's last pass found it in a database of its own."""
        seen = self._remembered.get(name)
        return seen is not None and seen.isolation is Isolation.DATABASE

    def _is_quiet(self, name: str, mark: str) -> bool:
        """Whether the last pass saw what there is: the very same `Seen`, for an equal one may be of another moment.

        So is one that was looked at since it was moved.
        """
        if self._moving.is_noted(name, mark):
            return True
        quiet = self._quiet.get(name)
        return quiet is not None and quiet.mark == mark and quiet.seen is self._remembered.get(name)

    def _secrets(self) -> dict[str, list[SecretSeen]]:
        """Return the Secrets with a Tenant's label, by Tenant, as the watch has them."""
        held: dict[str, list[SecretSeen]] = {}
        for body in self._cache.all("Secret"):
            metadata = body["metadata"]
            owner = (metadata.get("labels") or {}).get(api.LABEL_TENANT)
            if owner is not None:
                one = (metadata["name"], metadata["namespace"], metadata["resourceVersion"])
                held.setdefault(owner, []).append(one)
        return held

    def _secrets_differ(self, seen: SecretSeen | None, labelled: list[SecretSeen]) -> bool:
        """Whether the Secret is another by now, or has company from an earlier name."""
        if seen is None:
            return bool(labelled)
        body = self._cache.get(Key("Secret", seen[0], seen[1])) or {"metadata": {}}
        others = [one for one in labelled if one[:2] != seen[:2]]
        return body["metadata"].get("resourceVersion") != seen[2] or bool(others)


def digest(facts: str, tables: Mapping[str, frozenset[Grant]]) -> bytes:
    """Return the digest of all facts, and that of those which no move of the services' schema explains.

    `tables` is what the services may do at each revision: nothing but a move makes, or ends, just that.
    """
    text, _, line = facts.partition("\n")
    granted = {grant for held in tables.values() for grant in held}
    rest = [(kind, fact) for kind, fact in json.loads(text or "[]") if not _is_of_a_move(kind, fact, granted)]
    return _digest(facts) + _digest(json.dumps([rest, line]))


def _digest_of(name: str, facts: str) -> bytes:
    return digest(facts, service_tables(TenantNames(name)))


def _is_of_a_move(kind: str, fact: list[Any], granted: Container[Grant]) -> bool:
    return kind == "table" or (kind == "owner" and fact[1] == OWNER) or (kind == "on table" and Grant(*fact) in granted)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST).digest()


def is_only_moved(seen: Seen, now: Seen) -> bool:
    """Whether nothing changed but what a move changes: tables of the services' schema, and the version."""
    if seen.row is None or now.row is None or seen.facts[DIGEST:] != now.facts[DIGEST:]:
        return False
    row = replace(seen.row, version=now.row.version)
    return replace(seen, row=row, facts=now.facts) == now


def _place(shared: Place, seen: Seen) -> Place:
    """Return where the Tenant would be looked for now; a database of its own is where it is by its name."""
    return replace(shared, database=seen.place.database) if seen.isolation is Isolation.DATABASE else shared
