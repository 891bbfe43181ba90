"""What the operator of a cluster knows, gathered by a caller: its settings, its DatabaseServers, its addresses."""

from dataclasses import dataclass
from typing import Any, Final

from tenantry_crds import names
from tenantry_operator.cli.cluster import CallersKube
from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.clients.kube import CONFIGMAPS, DATABASESERVERS, DEPLOYMENTS, ApiError, Kube, RawObject
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.settings import OperatorSettings

REGISTRY_CONFIG: Final = "tenantry-registry"
REGISTRY_DATABASE: Final = "tenantry"
INSTALLATION: Final = "TENANTRY_INSTALLATION_ID"


@dataclass(frozen=True)
class RegistryChoice:
    """Where the registry is, as far as the caller said; None asks the cluster."""

    server: str | None = None
    database: str | None = None


async def cached_servers(kube: Kube) -> ObjectCache:
    """Return a cache with all DatabaseServers."""
    cache = ObjectCache()
    for server in await kube.list(DATABASESERVERS):
        cache.put(DATABASESERVERS.kind, server)
    return cache


async def registry_place(kube: Kube, cache: ObjectCache, *, namespace: str, choice: RegistryChoice) -> tuple[str, str]:
    """Name the registry's server and database: the caller's word, the chart's, else the only server."""
    said = await _chart_says(kube, namespace) if choice.server is None or choice.database is None else {}
    server = choice.server or said.get("server") or _only_server(cache)
    return server, choice.database or said.get("database") or REGISTRY_DATABASE


async def operator_settings(
    kube: CallersKube, cache: ObjectCache, *, namespace: str, choice: RegistryChoice
) -> OperatorSettings:
    """Return the settings by which the operator of this cluster plans. Raises ApiError, CommandFailed."""
    # It brings kopf with it, which takes a while to load and which only a plan needs.
    from tenantry_operator.wiring import with_installation  # noqa: PLC0415

    server, database = await registry_place(kube, cache, namespace=namespace, choice=choice)
    installation = await _installation(kube, namespace)
    # Without validation, which would read the environment: that is the caller's, and not the operator's.
    settings = OperatorSettings.model_construct(
        namespace=namespace, registry_server=server, registry_database=database, installation_id=installation
    )
    return await with_installation(settings, kube)


async def _installation(kube: Kube, namespace: str) -> str:
    """Return the installation's id if the operator was given one."""
    try:
        deployment = await kube.get(DEPLOYMENTS, names.LEASE_NAME, namespace=namespace)
    except ApiError:
        return ""
    return environment(deployment).get(INSTALLATION, "")


def environment(deployment: RawObject | None) -> dict[str, str]:
    """Return the variables of the operator's container that have a value of their own."""
    containers: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"] if deployment else []
    return {one["name"]: one["value"] for each in containers for one in each.get("env") or () if "value" in one}


async def _chart_says(kube: Kube, namespace: str) -> dict[str, str]:
    try:
        found = await kube.get(CONFIGMAPS, REGISTRY_CONFIG, namespace=namespace)
    except ApiError:
        return {}
    return (found or {}).get("data") or {}


def _only_server(cache: ObjectCache) -> str:
    found = sorted(key.name for key in cache.keys(DATABASESERVERS.kind))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandFailed("there is no DatabaseServer in this cluster")
    raise CommandFailed(f"name the registry's server by --registry-server, one of: {', '.join(found)}")
