"""Finds out how to log in to a DatabaseServer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from tenantry_crds import ConditionType, DatabaseServer, absent
from tenantry_crds import endpoints as api
from tenantry_crds.reasons import Reason
from tenantry_operator.clients.kube import SECRETS, Kube, RawObject
from tenantry_operator.clients.postgres import ServerAddress
from tenantry_operator.engine.cache import ObjectCache, key_of
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.endpoints import Endpoint, Endpoints
from tenantry_operator.observe.secrets import decode
from tenantry_operator.plan.status import reason_shown, unreadable, without_unreadable_status

KIND: Final = "DatabaseServer"
REMEMBERED_SECONDS: Final = 5.0
"""How long credentials are taken from memory. A changed Secret is noticed at once by the watch, or after so long."""

AWAY: Final = frozenset({Reason.SERVER_UNREACHABLE, Reason.NO_SERVER_READY, Reason.REGISTRY_UNAVAILABLE})
"""What is said of what waits for Postgres."""


class NoAddress(Exception):
    """Nobody can log in there; `reason` is of the table of reasons, the message tells a person what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Addresses:
    """The addresses of all DatabaseServers, with the operator's credentials."""

    def __init__(
        self, kube: Kube, cache: ObjectCache, *, namespace: str, clock: Clock, registry_server: str = ""
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._namespace = namespace
        self._registry_server = registry_server
        self._clock = clock
        self._models: dict[str, tuple[RawObject, DatabaseServer]] = {}
        self._known: dict[str, tuple[object, float, ServerAddress]] = {}

    def server(self, name: str) -> DatabaseServer:
        """Return the DatabaseServer as last seen. Raises NoAddress."""
        body = self._cache.get(Key(KIND, name))
        if body is None:
            there = ", ".join(sorted(key.name for key in self._cache.keys(KIND))) or "none"
            said = f"there is no DatabaseServer {name}; there are: {there}"
            raise NoAddress(Reason.SERVER_NOT_FOUND, said)
        known = self._models.get(name)
        if known is None or known[0] is not body:
            # Every pass asks, and it seldom changes.
            known = self._models[name] = (body, _readable(name, body))
        return known[1]

    def default_server(self) -> str:
        """Return the name of the default server, the first by name when there are several. Raises NoAddress."""
        names = sorted(
            body["metadata"]["name"]
            for body in self._cache.all(KIND)
            if body["spec"].get("default") and not body["metadata"].get("deletionTimestamp")
        )
        if not names:
            said = "the Tenant names no server, and no DatabaseServer has spec.default: true"
            raise NoAddress(Reason.NO_DEFAULT_SERVER, said)
        return str(names[0])

    async def address(self, name: str) -> ServerAddress:
        """Return how the operator logs in to the server's database. Raises NoAddress, ApiError."""
        server = self.server(name)
        version = self._versions(server)
        known = self._known.get(name)
        now = self._clock.monotonic()
        if known is not None and known[0] == version and now - known[1] < REMEMBERED_SECONDS:
            return known[2]
        address = await self._read(server)
        self._known[name] = (version, now, address)
        return address

    async def registry(self, server: str, database: str) -> ServerAddress:
        """Return how the operator logs in to the registry. Raises NoAddress, ApiError.

        It has connections of its own, out of the server's: sharing them would close one database's to open another's
        all the time, and that costs more than the work itself.
        """
        address = await self.address(server)
        limit = absent.operator_connections(self.server(server).spec)
        return replace(address, name=registry_pool(server), database=database, max_connections=registry_share(limit))

    def forget(self, name: str) -> None:
        self._known.pop(name, None)

    def _versions(self, server: DatabaseServer) -> tuple[object, ...]:
        secrets = [server.spec.credentials_secret_ref.name]
        if server.spec.tls and server.spec.tls.ca_secret_ref:
            secrets.append(server.spec.tls.ca_secret_ref.name)
        seen = (self._cache.get(Key("Secret", secret, self._namespace)) or {} for secret in secrets)
        return server.spec, *(body.get("metadata", {}).get("resourceVersion") for body in seen)

    async def _read(self, server: DatabaseServer) -> ServerAddress:
        spec = server.spec
        credentials = await self._secret(spec.credentials_secret_ref.name, "username", "password")
        ca_pem = None
        if spec.tls and spec.tls.ca_secret_ref:
            key = absent.ca_key(spec)
            ca_pem = (await self._secret(spec.tls.ca_secret_ref.name, key))[key]
        return ServerAddress(
            name=server.metadata.name,
            host=spec.host,
            port=absent.port(spec),
            database=spec.database,
            user=credentials["username"],
            password=credentials["password"],
            sslmode=absent.tls_mode(spec).value,
            ca_pem=ca_pem,
            max_connections=self._share(server),
            endpoints=_endpoints(spec.endpoints),
        )

    def _share(self, server: DatabaseServer) -> int:
        limit = absent.operator_connections(server.spec)
        return max(1, limit - registry_share(limit)) if server.metadata.name == self._registry_server else limit

    async def _secret(self, name: str, *keys: str) -> dict[str, str]:
        body = await self._kube.get(SECRETS, name, namespace=self._namespace)
        if body is None:
            said = f"there is no Secret {self._namespace}/{name} (it needs {' and '.join(keys)})"
            raise NoAddress(Reason.CREDENTIALS_MISSING, said)
        data = decode(body)
        lacking = [key for key in keys if not data.get(key)]
        if lacking:
            said = f"Secret {self._namespace}/{name} lacks {' and '.join(lacking)}"
            raise NoAddress(Reason.CREDENTIALS_MISSING, said)
        return data


def _readable(name: str, body: RawObject) -> DatabaseServer:
    try:
        return DatabaseServer.model_validate(body)
    except ValidationError as error:
        readable = without_unreadable_status(body, error)
        if readable is None:
            problem = unreadable(error)
            raise NoAddress(problem.reason, f"DatabaseServer {name} cannot be read: {problem.message}") from error
        return DatabaseServer.model_validate(readable)


def registry_pool(server: str) -> str:
    """Name the connections to the registry; no DatabaseServer can have this name."""
    return f"{server}/registry"


def registry_share(limit: int) -> int:
    """Say how many of a server's connections are for the registry: the fence's, and a quarter for rows."""
    return 1 + max(1, limit // 4)


def waiting_for_a_server(cache: ObjectCache) -> Iterator[Key]:
    """Name what says of itself that Postgres does not answer. What it says is a hint to look, and no more."""
    for kind in (KIND, "Tenant"):
        for body in cache.all(kind):
            if reason_shown(body.get("status") or {}, ConditionType.READY) in AWAY:
                yield key_of(kind, body)


def _endpoints(given: api.Endpoints | None) -> Endpoints:
    """Say where tenants reach a server."""
    if given is None:
        return Endpoints()
    return Endpoints(
        _endpoint(given.primary) if given.primary else None,
        _endpoint(given.pooler) if given.pooler else None,
        absent.pooler_mode(given.pooler).lower() if given.pooler else "",
        tuple(map(_endpoint, given.replicas or ())),
    )


def _endpoint(given: api.Endpoint | api.Pooler) -> Endpoint:
    return Endpoint(given.host, absent.endpoint_port(given))
