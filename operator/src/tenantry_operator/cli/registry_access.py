"""Ways from a user's machine to the registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.cli.operator_view import RegistryChoice, cached_servers, registry_place
from tenantry_operator.clients.kube import ApiError, ConfigurationError, Kube, load_configuration
from tenantry_operator.clients.postgres import Connection, Servers
from tenantry_operator.clients.sqlstate import DatabaseError, classify, connect_error
from tenantry_operator.engine.clock import SystemClock
from tenantry_operator.reconcile.addresses import Addresses, NoAddress

APPLICATION_NAME = "tenantry-cli"


@dataclass(frozen=True)
class RegistryPlace:
    """Where the registry is, as far as the user said."""

    namespace: str
    server: str | None = None
    database: str | None = None
    kubeconfig: Path | None = None
    postgres_url: str | None = None
    """Reaches the registry's database itself; then no cluster is asked."""
    context: str | None = None


@asynccontextmanager
async def registry(place: RegistryPlace) -> AsyncIterator[Connection]:
    """Connect to the registry's database. Raises CommandFailed with what a user can do."""
    opened = _by_url(place.postgres_url) if place.postgres_url else _by_cluster(place)
    try:
        async with opened as connection:
            yield connection
    except DatabaseError as error:
        hint = "" if place.postgres_url else "; if it is reachable only inside the cluster, give --postgres-url"
        raise CommandFailed(f"{error}{hint}") from error
    except psycopg.Error as error:
        raise CommandFailed(f"the registry refused: {classify(error).message}") from error
    except (ApiError, ConfigurationError, NoAddress) as error:
        raise CommandFailed(str(error)) from error


@asynccontextmanager
async def _by_url(url: str) -> AsyncIterator[Connection]:
    try:
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, application_name=APPLICATION_NAME, connect_timeout=10
        )
    except psycopg.Error as error:
        raise connect_error(error, where="the registry") from error
    async with connection:
        yield connection


@asynccontextmanager
async def _by_cluster(place: RegistryPlace) -> AsyncIterator[Connection]:
    servers, choice = Servers(APPLICATION_NAME), RegistryChoice(place.server, place.database)
    async with Kube(await load_configuration(place.kubeconfig, place.context), instance=APPLICATION_NAME) as kube:
        cache = await cached_servers(kube)
        server, database = await registry_place(kube, cache, namespace=place.namespace, choice=choice)
        addresses = Addresses(kube, cache, namespace=place.namespace, clock=SystemClock())
        address = await addresses.registry(server, database)
    try:
        async with servers.connection(address) as connection:
            yield connection
    finally:
        await servers.close()
