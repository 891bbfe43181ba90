"""Puts the parts of the operator together. The only module that knows all of them."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tenantry_crds import names
from tenantry_operator.clients.kube import (
    DATABASESERVERS,
    DEPLOYMENTS,
    HTTPROUTES,
    JOBS,
    MIGRATIONRUNS,
    NAMESPACES,
    SECRETS,
    SERVICEDEPLOYMENTS,
    TENANTS,
    Configuration,
    Kube,
    RawObject,
    Resource,
)
from tenantry_operator.clients.postgres import Servers
from tenantry_operator.clients.resources import NAMESPACE_CHILDREN
from tenantry_operator.engine.cache import ObjectCache, key_of
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.election import Election
from tenantry_operator.engine.fence import Fence, application_name, end_earlier_sessions
from tenantry_operator.engine.queue import Key, KeyedQueue, Lane
from tenantry_operator.engine.reconciler import Reconciler
from tenantry_operator.engine.recovery import Recovery
from tenantry_operator.engine.sweep import Sweep
from tenantry_operator.engine.workers import Limits, Workers
from tenantry_operator.handlers.feed import Feed, Watched, itself
from tenantry_operator.handlers.watch import WatchThread
from tenantry_operator.metrics import Metrics
from tenantry_operator.reconcile.addresses import Addresses, waiting_for_a_server
from tenantry_operator.reconcile.migration import MigrationRunReconciler
from tenantry_operator.reconcile.server import DatabaseServerReconciler
from tenantry_operator.reconcile.service import ServiceDeploymentReconciler
from tenantry_operator.reconcile.tenant import TenantReconciler
from tenantry_operator.reconcile.tenant_backup import tenant_of_job
from tenantry_operator.reconcile.tenant_namespace import tenant_of
from tenantry_operator.running import HealthLimits, Operator
from tenantry_operator.settings import OperatorSettings

CLUSTER_NAMESPACE = "kube-system"
"""Its UID is what a cluster is known by."""


@dataclass(frozen=True)
class Parts:
    """What every reconciler is made of."""

    kube: Kube
    servers: Servers
    addresses: Addresses
    cache: ObjectCache
    fence: Fence
    settings: OperatorSettings
    clock: Clock
    metrics: Metrics


async def build(
    settings: OperatorSettings, configuration: Configuration, *, election: Election, clock: Clock, metrics: Metrics
) -> Operator:
    """Make the parts of one leadership. Raises ApiError when the cluster cannot be asked for its identity."""
    kube = Kube(
        configuration,
        instance=settings.pod_name,
        timeout=settings.request_timeout,
        guard=election.check,
        answered=lambda method, status: metrics.requests.labels(method, str(status)).inc(),
    )
    settings = await with_installation(settings, kube)
    parts = _parts(settings, kube, election=election, clock=clock, metrics=metrics)
    return _operator(parts, configuration, reconcilers(parts))


async def with_installation(settings: OperatorSettings, kube: Kube) -> OperatorSettings:
    """Fill in the installation's id, which is the same after every restart of the same cluster."""
    if settings.installation_id:
        return settings
    namespace = await kube.get(NAMESPACES, CLUSTER_NAMESPACE)
    cluster = namespace["metadata"]["uid"] if namespace else str(uuid.NAMESPACE_DNS)
    derived = uuid.uuid5(uuid.UUID(cluster), settings.namespace)
    return settings.model_copy(update={"installation_id": str(derived)})


def reconcilers(parts: Parts) -> Mapping[str, Reconciler]:
    """Make the reconciler of each kind that the shard has."""
    tenants = TenantReconciler(**vars(parts))
    if not parts.settings.own.is_default:
        return {tenants.kind: tenants}
    runs = MigrationRunReconciler(**vars(parts))
    runs.moving = tenants.moving
    made: tuple[Reconciler, ...] = (
        DatabaseServerReconciler(**vars(parts)),
        tenants,
        runs,
        ServiceDeploymentReconciler(kube=parts.kube, cache=parts.cache, clock=parts.clock),
    )
    return {one.kind: one for one in made}


def watched_resources(settings: OperatorSettings, cache: ObjectCache) -> Sequence[Watched]:
    """Say what is followed, and whose business it is. The default shard follows all Tenants: runs move all of them."""
    of_the_default = (
        Watched(MIGRATIONRUNS, itself("MigrationRun")),
        Watched(SERVICEDEPLOYMENTS, itself("ServiceDeployment")),
        Watched(DEPLOYMENTS, service_of, labels=names.LABEL_SERVICE_DEPLOYMENT),
        Watched(HTTPROUTES, service_of, labels=names.LABEL_SERVICE_DEPLOYMENT),
    )
    return (
        Watched(TENANTS, itself("Tenant"), labels=settings.own.selector),
        Watched(DATABASESERVERS, itself("DatabaseServer")),
        *(of_the_default if settings.own.is_default else ()),
        *(_of_tenants(resource, cache) for resource in (NAMESPACES, *NAMESPACE_CHILDREN)),
        Watched(JOBS, tenant_of_job, labels=names.LABEL_TENANT, namespace=settings.namespace, metadata_only=True),
        Watched(SECRETS, lambda obj: users_of(obj, cache), namespace=settings.namespace, metadata_only=True),
    )


def _of_tenants(resource: Resource, cache: ObjectCache) -> Watched:
    return Watched(
        resource,
        lambda obj: tenant_of(resource.kind, obj, cache),
        labels=names.LABEL_TENANT,
        metadata_only=True,
    )


def service_of(obj: RawObject) -> Sequence[Key]:
    """Name the ServiceDeployment that an object was made for."""
    metadata = obj["metadata"]
    name = (metadata.get("labels") or {}).get(names.LABEL_SERVICE_DEPLOYMENT)
    return (Key("ServiceDeployment", name, metadata.get("namespace", "")),) if name else ()


def users_of(secret: RawObject, cache: ObjectCache) -> Sequence[Key]:
    """Name whom a Secret of the operator's namespace concerns: by its labels, or because a DatabaseServer names it."""
    metadata = secret["metadata"]
    labels = metadata.get("labels") or {}
    if names.LABEL_TENANT in labels:
        return (Key("Tenant", labels[names.LABEL_TENANT]),)
    if names.LABEL_DATABASE_SERVER in labels:
        return (Key("DatabaseServer", labels[names.LABEL_DATABASE_SERVER]),)
    return tuple(
        key_of("DatabaseServer", server)
        for server in cache.all("DatabaseServer")
        if metadata["name"] in _secrets_named(server)
    )


def _secrets_named(server: RawObject) -> set[str]:
    spec = server.get("spec", {})
    references = (spec.get("credentialsSecretRef"), (spec.get("tls") or {}).get("caSecretRef"))
    return {reference["name"] for reference in references if reference and "name" in reference}


def _parts(settings: OperatorSettings, kube: Kube, *, election: Election, clock: Clock, metrics: Metrics) -> Parts:
    cache = ObjectCache()
    transitions = election.transitions
    servers = Servers(
        application_name(settings.pod_name, transitions, settings.shard),
        guard=election.check,
        greet=lambda connection: end_earlier_sessions(connection, transitions, settings.shard),
    )
    addresses = Addresses(
        kube, cache, namespace=settings.namespace, registry_server=settings.registry_server, clock=clock
    )
    fence = Fence(servers, lambda: addresses.registry(settings.registry_server, settings.registry_database))
    return Parts(kube, servers, addresses, cache, fence, settings, clock, metrics)


def _operator(parts: Parts, configuration: Configuration, made: Mapping[str, Reconciler]) -> Operator:
    settings, metrics, clock = parts.settings, parts.metrics, parts.clock
    queue = KeyedQueue(clock, failing_limit=max(1, settings.workers // 2))
    limits = Limits(settings.workers, settings.pass_timeout)
    workers = Workers(queue, made, limits=limits, clock=clock, metrics=metrics)

    def enqueue(key: Key, lane: Lane) -> None:
        if key.kind in made:
            workers.add(key, lane=lane)

    parts.cache.slipped_in = lambda key: enqueue(key, Lane.NEWS)
    recovery = Recovery(parts.servers, enqueue, waiting=lambda: waiting_for_a_server(parts.cache))
    parts.servers.lost = recovery.lost
    watched = watched_resources(settings, parts.cache)
    feed = Feed(parts.kube, parts.cache, enqueue, forget=queue.forget, watched=watched, clock=clock, metrics=metrics)
    return Operator(
        kube=parts.kube,
        servers=parts.servers,
        fence=parts.fence,
        cache=parts.cache,
        queue=queue,
        workers=workers,
        sweeps=[_sweep(one, enqueue, parts=parts) for one in made.values()],
        feed=feed,
        recovery=recovery,
        watches=_watches(configuration, feed, metrics=metrics),
        check_interval=settings.sweep_interval,
        health=HealthLimits(settings.stuck_after, behind_after=settings.behind_after),
        metrics=metrics,
        shard=settings.own,
    )


def _sweep(reconciler: Reconciler, enqueue: Callable[[Key, Lane], None], *, parts: Parts) -> Sweep:
    return Sweep(
        reconciler,
        enqueue,
        interval=parts.settings.sweep_interval,
        timeout=parts.settings.pass_timeout,
        clock=parts.clock,
        metrics=parts.metrics,
    )


def _watches(configuration: Configuration, feed: Feed, *, metrics: Metrics) -> Sequence[WatchThread]:
    """One thread for the cluster, and one for each namespace that is followed by itself."""
    scopes = dict.fromkeys(one.namespace for one in feed.watched)
    return [
        WatchThread(
            configuration,
            [one for one in feed.watched if one.namespace == scope],
            feed,
            namespace=scope,
            restarted=metrics.watch_restarts.inc,
        )
        for scope in scopes
    ]
