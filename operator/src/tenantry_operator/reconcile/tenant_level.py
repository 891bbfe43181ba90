"""What level Tenants were left as: written down by the sweep, and compared when the process starts."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

import psycopg

import tenantry_crds
import tenantry_migrations
import tenantry_operator
from tenantry_operator.apply.levels import write_levels
from tenantry_operator.clients.kube import ApiError, RawObject
from tenantry_operator.clients.postgres import ONE_MOMENT, DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.level import Level
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.server import claim
from tenantry_operator.model.tenant import Place, RegistryRow
from tenantry_operator.observe.levels import read_levels
from tenantry_operator.observe.migration import read_versions
from tenantry_operator.observe.registry import read_rows
from tenantry_operator.observe.tenant import observe_claim
from tenantry_operator.plan.tenant_level import is_level
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.reconcile.migration_desired import plan_hash, tenant_line
from tenantry_operator.reconcile.tenant_desired import place_of
from tenantry_operator.reconcile.tenant_lines import read_marked
from tenantry_operator.reconcile.tenant_namespace import Children, versions_now
from tenantry_operator.reconcile.tenant_secrets import noted
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

KIND: Final = "Tenant"
LOOK_LIMIT: Final = 10.0
"""Seconds that a server, or the registry, may take; then each of its Tenants has its pass."""

NOT_DECIDING: Final = {"pod_name", "kubeconfig", "http_host", "http_port", "log_level", "log_format"}
"""Settings that are no reason to look at a Tenant."""

TOLD: Final = ("uid", "generation", "labels", "annotations", "finalizers", "deletionTimestamp")
"""Of an object's metadata."""

FAILURES: Final = (NoAddress, ApiError, DatabaseError, psycopg.Error, TimeoutError)


@dataclass(frozen=True)
class Resumed:
    """A Tenant that is level, and what its last pass concluded that from."""

    level: Level
    place: Place
    row: RegistryRow
    released: str | None


class LevelBook:
    """The registry's notes on level Tenants."""

    def __init__(
        self, servers: Servers, cache: ObjectCache, addresses: Addresses, *, settings: OperatorSettings
    ) -> None:
        self._servers = servers
        self._cache = cache
        self._addresses = addresses
        self._settings = settings

    @cached_property
    def maker(self) -> str:
        """Identify what decides about Tenants: another code, history or setting may come to something else."""
        history = plan_hash(tenant_line().revisions[-1])
        return _digest(f"{_code()} {history} {self._settings.model_dump_json(exclude=NOT_DECIDING)}")

    def level(
        self,
        body: RawObject,
        secret: tuple[str, str, str | None],
        children: Children,
        *,
        place: Place,
        row: tuple[RegistryRow, str | None],
    ) -> Level:
        """Say what a Tenant is level as, or would be, but for the mark; `row` is with the released revision."""
        held = sorted((key.kind, key.name, key.namespace, version) for key, version in children)
        # A Secret in a Tenant's namespace is not followed; it is looked at in its turn.
        followed = [("Secret", *secret[:2])] if secret[1] == self._settings.namespace else []
        others = [self._cache.get(Key(*one)) for one in (*followed, *(child[:3] for child in held))]
        return Level(
            made_by=self.maker,
            tenant=(body["metadata"]["uid"], body["metadata"]["resourceVersion"]),
            secret=secret,
            children=tuple(held),
            told=_digest(json.dumps([body["spec"], *map(_told, (body, *others))], sort_keys=True)),
            place=_place_digest(place),
            row=_digest(repr(row)),
            mark="",
        )

    async def write(self, levels: Mapping[str, Level]) -> bool:
        """Write down what Tenants are level as, by their ids; say whether it could be. Nothing is lost otherwise."""
        if not levels:
            return True
        try:
            async with self._servers.connection(await self._registry()) as connection:
                await write_levels(connection, {one: level.text() for one, level in levels.items()})
        except FAILURES as error:
            logger.warning("what Tenants are level as was not written down", extra={"error": str(error)})
            return False
        return True

    async def resumed(self) -> dict[str, Resumed]:
        """Name the Tenants that are as their last pass left them, in bulk; about the others nothing is said."""
        bodies = [body for body in self._cache.all(KIND) if self._settings.own.owns(body)]
        if not bodies:
            return {}
        try:
            async with asyncio.timeout(LOOK_LIMIT), self._servers.connection(await self._registry()) as connection:
                released, rows = await read_rows(connection)
                told = await read_levels(connection)
        except FAILURES as error:
            logger.warning("each Tenant is looked at", extra={"error": str(error)})
            return {}
        parsed = {name: level for name, said in told.items() if (level := Level.parse(said)) is not None}
        left = {name: level for name, level in parsed.items() if level.made_by == self.maker}
        by_server: dict[str, list[RawObject]] = {}
        for body in bodies:
            row = rows.get(body["metadata"]["name"])
            if row is not None and body["metadata"]["name"] in left and row.isolation != Isolation.DATABASE:
                by_server.setdefault(row.server, []).append(body)
        looks = [self._on_server(*one, left, rows, released) for one in by_server.items()]
        resumed = {name: one for found in await asyncio.gather(*looks) for name, one in found}
        for name, one in resumed.items():
            secret, place, version = one.level.secret
            if place != self._settings.namespace and version is not None:
                self._cache.put("Secret", noted((secret, place), version, tenant=name))
        return resumed

    async def _on_server(
        self,
        server: str,
        bodies: Sequence[RawObject],
        left: Mapping[str, Level],
        rows: Mapping[str, RegistryRow],
        released: str | None,
    ) -> list[tuple[str, Resumed]]:
        names = [body["metadata"]["name"] for body in bodies]
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                address = await self._addresses.address(server)
                marks = await self._marks(address, names)
        except FAILURES as error:
            logger.warning("each Tenant of a server is looked at", extra={"server": server, "error": str(error)})
            return []
        place = place_of(address)
        found = {
            name: self.level(
                body,
                self._secret_now(left[name]),
                versions_now(self._cache, children_of(left[name])),
                place=place,
                row=(rows[name], released),
            )
            for name, body in zip(names, bodies, strict=True)
        }
        return [
            (name, Resumed(left[name], place, rows[name], released))
            for name in names
            if name in marks and is_level(left[name], replace(found[name], mark=marks[name]))
        ]

    def _secret_now(self, level: Level) -> tuple[str, str, str | None]:
        """Return the version that the Secret has which the last pass saw, or did not find.

        Nothing is known yet of one in a Tenant's namespace: it is believed until its turn.
        """
        name, namespace, _ = level.secret
        if namespace != self._settings.namespace:
            return level.secret
        body = self._cache.get(Key("Secret", name, namespace))
        return name, namespace, body["metadata"]["resourceVersion"] if body else None

    async def _marks(self, address: ServerAddress, names: Sequence[str]) -> dict[str, str]:
        """Return the mark of each; none when the server is not ours, or not prepared."""
        async with self._servers.connection(address) as connection, connection.transaction():
            await connection.execute(ONE_MOMENT)
            if await observe_claim(connection) != claim(self._settings.installation_id, address.name):
                return {}
            return (await read_marked(connection, names, self._cache)).marks

    async def versions(self, address: ServerAddress, names: Sequence[str]) -> dict[str, str | None]:
        """Return what the schemas say that they are at; nothing if they cannot be asked."""
        schemas = {name: TenantNames(name).service_schema for name in names}
        if not schemas:
            return {}
        try:
            # Its memory grows with each table that it looks into.
            async with self._servers.dedicated(address) as connection:
                found = await read_versions(connection, schemas.values())
        except (DatabaseError, psycopg.Error) as error:
            logger.warning("versions cannot be read", extra={"server": address.name, "error": str(error)})
            return {}
        return {name: found.get(schema) for name, schema in schemas.items()}

    async def _registry(self) -> ServerAddress:
        return await self._addresses.registry(self._settings.registry_server, self._settings.registry_database)


def _told(body: RawObject | None) -> list[object]:
    return [body["metadata"].get(part) for part in TOLD] if body else []


def children_of(level: Level) -> Children:
    return frozenset((Key(kind, name, namespace), version) for kind, name, namespace, version in level.children)


@lru_cache(maxsize=64)
def _place_digest(place: Place) -> str:
    return _digest(repr(place))


@cache
def _code() -> str:
    digest = blake2b(digest_size=16)
    for package in (tenantry_crds, tenantry_migrations, tenantry_operator):
        for root in package.__path__:
            # The histories are JSON.
            for file in sorted(one for one in Path(root).rglob("*") if one.suffix in {".py", ".json"}):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
