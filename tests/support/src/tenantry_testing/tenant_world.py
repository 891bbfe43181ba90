"""The Tenant and DatabaseServer reconcilers in this process, on a real Postgres and a real API server.

There is no watch: `reconcile` lists what there is, runs passes until one has nothing left to do, and tells how many.
"""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql

from tenantry_cluster.controlplane import ControlPlane
from tenantry_crds import names as api
from tenantry_operator.clients.kube import (
    CONFIGMAPS,
    DATABASESERVERS,
    EVENTS,
    JOBS,
    MIGRATIONRUNS,
    NAMESPACES,
    PODS,
    SECRETS,
    TENANTS,
    AlreadyExists,
    ApiError,
    Kube,
    RawObject,
    Resource,
    load_configuration,
)
from tenantry_operator.clients.postgres import Servers
from tenantry_operator.engine.breaker import NAME as BREAKER
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.clock import SystemClock
from tenantry_operator.engine.fence import Fence
from tenantry_operator.engine.queue import Key, Result
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.names import TenantNames
from tenantry_operator.reconcile.addresses import Addresses
from tenantry_operator.reconcile.migration import MigrationRunReconciler
from tenantry_operator.reconcile.server import DatabaseServerReconciler
from tenantry_operator.reconcile.tenant import TenantReconciler
from tenantry_operator.settings import OperatorSettings
from tenantry_testing.namespace_hands import TENANT_OWNED, remove_namespaces
from tenantry_testing.postgres import Login, PostgresServer

SERVER: Final = "primary"
INSTALLATION: Final = "0c6c1e0e-5d0e-4f43-9d5c-3f4f1b6a2d11"
PASSES: Final = 8
"""More than enough for anything that converges."""

DATABASES: Final = ("app", "tenantry", "elsewhere")
SYSTEM_ROLES: Final = r"^(tenantry_|[ts]_)"


@dataclass
class TenantWorld:
    """One operator's reconcilers, and the hands of an administrator of all that they work on."""

    kube: Kube
    servers: Servers
    cache: ObjectCache
    postgres: PostgresServer
    operator: Login
    settings: OperatorSettings
    fence: Fence
    addresses: Addresses
    tenants: TenantReconciler
    databases: DatabaseServerReconciler
    runs: MigrationRunReconciler
    metrics: Metrics
    counted: list[tuple[str, int]] = field(default_factory=list)
    """Method and status of each request of `kube` since it was last cleared."""

    async def apply_server(self, name: str = SERVER, **spec: Any) -> None:
        """Make the Secrets and the DatabaseServer of the Postgres, with changes to the spec, and reconcile it."""
        await self._secret(f"{name}-operator", username=self.operator.user, password=self.operator.password)
        await self._secret(f"{name}-ca", **{"ca.crt": self.postgres.ca_file.read_text()})
        whole = {
            "host": "127.0.0.1",
            "port": self.postgres.port,
            "database": "app",
            "default": name == SERVER,
            "tls": {"mode": "verify-full", "caSecretRef": {"name": f"{name}-ca"}},
            "credentialsSecretRef": {"name": f"{name}-operator"},
            **spec,
        }
        await self._apply(DATABASESERVERS, name, whole)
        await self.reconcile_server(name)

    async def apply_tenant(self, name: str, **spec: Any) -> RawObject:
        """Apply the Tenant as a user would; nothing is reconciled yet."""
        return await self._apply(TENANTS, name, {"displayName": name.title(), "isolation": "Schema", **spec})

    async def provision(self, name: str, **spec: Any) -> RawObject:
        """Apply the Tenant and reconcile until it is Ready; return it."""
        await self.apply_tenant(name, **spec)
        await self.reconcile(name)
        tenant = await self.tenant(name)
        assert self.condition(tenant, "Ready") == ("True", "Provisioned"), tenant["status"]
        return tenant

    async def leave(self, name: str, policy: str, *, protection: str = "Disabled", passes: int = PASSES) -> None:
        """Delete the Tenant with a policy, and reconcile."""
        changes = {"spec": {"deletionPolicy": policy, "deletionProtection": protection}}
        await self.kube.merge_patch(TENANTS, name, changes)
        await self.kube.delete(TENANTS, name)
        await self.reconcile(name, passes=passes)

    async def apply_run(self, name: str, **spec: Any) -> RawObject:
        """Apply the MigrationRun as a user would; nothing is reconciled yet."""
        return await self._apply(MIGRATIONRUNS, name, spec)

    async def reconcile_run(self, name: str) -> Result:
        """Run one pass over the MigrationRun."""
        await self.refresh()
        return await self.runs.reconcile(Key("MigrationRun", name))

    async def migrate(self, name: str, *, passes: int = 40, **spec: Any) -> RawObject:
        """Apply the MigrationRun and run passes until it ends, or waits for somebody; return it."""
        await self.apply_run(name, **spec)
        for _ in range(passes):
            result = await self.reconcile_run(name)
            if not result.failed and result.requeue_after is None:
                break
        return await self.migration_run(name)

    async def migration_run(self, name: str) -> RawObject:
        found = await self.kube.get(MIGRATIONRUNS, name)
        assert found is not None, f"there is no MigrationRun {name}"
        return found

    async def tenant(self, name: str) -> RawObject:
        found = await self.kube.get(TENANTS, name)
        assert found is not None, f"there is no Tenant {name}"
        return found

    async def server(self, name: str = SERVER) -> RawObject:
        found = await self.kube.get(DATABASESERVERS, name)
        assert found is not None, f"there is no DatabaseServer {name}"
        return found

    async def secret(self, name: str, namespace: str | None = None) -> dict[str, str]:
        """Return the decoded data of a Secret, by default beside the operator; empty when there is none."""
        found = await self.kube.get(SECRETS, name, namespace=namespace or self.settings.namespace)
        return {key: base64.b64decode(value).decode() for key, value in (found or {}).get("data", {}).items()}

    async def events(self, about: str) -> list[tuple[str, str]]:
        """Return reason and note of the Events about an object, oldest first."""
        found = [
            event
            for event in await self.kube.list(EVENTS, namespace="default")
            if event["regarding"].get("name") == about and event["reportingController"] == "tenantry-operator"
        ]
        return [(event["reason"], event["note"]) for event in sorted(found, key=lambda one: one["eventTime"])]

    async def refresh(self) -> None:
        """Bring the cache to what the API server has, as the watch would."""
        for resource in (TENANTS, DATABASESERVERS, MIGRATIONRUNS, SECRETS, JOBS, *TENANT_OWNED):
            namespace = self.settings.namespace if resource in {SECRETS, JOBS} else None
            whole = resource in {TENANTS, DATABASESERVERS, MIGRATIONRUNS}
            labels = api.LABEL_TENANT if resource in TENANT_OWNED else None
            found = await self.kube.list(resource, namespace=namespace, labels=labels, metadata_only=not whole)
            there = set()
            for body in found:
                self.cache.observed(resource.kind, body)
                there.add(Key(resource.kind, body["metadata"]["name"], body["metadata"].get("namespace", "")))
            for key in set(self.cache.keys(resource.kind)) - there:
                if namespace in {None, key.namespace}:
                    self.cache.remove(key)

    async def reconcile(self, name: str, *, passes: int = PASSES) -> Result:
        """Run passes over the Tenant until one does not ask for another; return the last result."""
        return await self._reconcile(self.tenants, Key("Tenant", name), passes)

    async def reconcile_once(self, name: str) -> Result:
        """Run one pass, as the sweep would ask for it."""
        await self.refresh()
        self.tenants.forget(name)
        return await self.tenants.reconcile(Key("Tenant", name))

    async def reconcile_at_once(self, names: Sequence[str]) -> None:
        """Run passes over several Tenants side by side, as the workers do, until none asks for another."""
        await self.refresh()
        waiting = [Key("Tenant", name) for name in names]
        for _ in range(PASSES):
            results = await asyncio.gather(*map(self.tenants.reconcile, waiting))
            waiting = [key for key, result in zip(waiting, results, strict=True) if result.failed]
            if not waiting:
                return

    async def reconcile_server(self, name: str = SERVER, *, passes: int = PASSES) -> Result:
        return await self._reconcile(self.databases, Key("DatabaseServer", name), passes)

    async def swept(self) -> set[str]:
        """Return the names of the Tenants that a sweep finds."""
        await self.refresh()
        return {key.name async for key in self.tenants.sweep()}

    async def sweep(self) -> set[str]:
        """Sweep once and run the passes that it asks for; return the names."""
        found = await self.swept()
        for name in found:
            await self.reconcile(name)
        return found

    async def restart(self) -> None:
        """Forget all that a process knows, as one that is started anew; the sessions of the old one are ended."""
        await self.fence.close()
        await self.servers.close()
        place, counted = self.settings.namespace, self.counted
        fresh = build_world(self.kube, self.postgres, operator=self.operator, namespace=place, counted=counted)
        self.servers, self.cache, self.fence = fresh.servers, fresh.cache, fresh.fence
        self.tenants, self.databases, self.runs = fresh.tenants, fresh.databases, fresh.runs
        self.addresses, self.metrics = fresh.addresses, fresh.metrics

    async def settle(self) -> None:
        """Sweep until nothing is found any more."""
        for _ in range(PASSES):
            # The second one finds what the first one only took note of.
            if not await self.sweep() and not await self.sweep():
                return
        raise AssertionError(f"each sweep finds {await self.swept()}")

    def login(self, secret: dict[str, str]) -> psycopg.Connection[Any]:
        """Log in as the Secret says, over TLS; the caller closes it."""
        who = Login(secret["username"], secret["password"])
        return self.postgres.connect(secret["database"], who)

    def administrator(self, database: str = "app") -> psycopg.Connection[Any]:
        return self.postgres.connect(database)

    def execute(self, *statements: str, database: str = "app") -> None:
        """Run statements as the administrator, each by itself."""
        with self.administrator(database) as connection:
            for statement in statements:
                connection.execute(statement)

    def fetch(self, query: str, *parameters: object, database: str = "app") -> list[tuple[Any, ...]]:
        with self.administrator(database) as connection:
            return connection.execute(query, parameters).fetchall()

    def names_on_server(self, name: str) -> set[str]:
        """Return the roles, the database, and the schemas of the shared database that bear the Tenant's names."""
        names = TenantNames(name)
        roles = self.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [*names.roles])
        schemas = self.fetch("SELECT nspname FROM pg_namespace WHERE nspname = ANY (%s)", [*names.schemas])
        own = self.fetch("SELECT 'database ' || datname FROM pg_database WHERE datname = %s", names.database)
        return {str(row[0]) for row in (*roles, *schemas, *own)}

    @staticmethod
    def condition(body: RawObject, kind: str) -> tuple[str, str] | None:
        """Return status and reason of a condition."""
        for one in body.get("status", {}).get("conditions", []):
            if one["type"] == kind:
                return one["status"], one["reason"]
        return None

    @staticmethod
    def message(body: RawObject, kind: str = "Ready") -> str:
        return next((str(one["message"]) for one in body["status"]["conditions"] if one["type"] == kind), "")

    def writes(self) -> list[str]:
        """Return the methods of the requests that changed something since `counted` was cleared."""
        return [method for method, status in self.counted if method != "GET" and status < 300]

    async def _reconcile(
        self, reconciler: TenantReconciler | DatabaseServerReconciler, key: Key, passes: int
    ) -> Result:
        result = Result()
        for _ in range(passes):
            await self.refresh()
            result = await reconciler.reconcile(key)
            if not result.failed:
                break
        return result

    async def _apply(self, resource: Resource, name: str, spec: dict[str, Any]) -> RawObject:
        body = {"apiVersion": api.API_VERSION, "kind": resource.kind, "metadata": {"name": name}, "spec": spec}
        try:
            return await self.kube.create(resource, body)
        except AlreadyExists:
            return await self.kube.merge_patch(resource, name, {"spec": spec})

    async def _secret(self, name: str, **data: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.settings.namespace},
            "stringData": data,
        }
        with suppress(AlreadyExists):
            await self.kube.create(SECRETS, body)


@asynccontextmanager
async def tenant_world(
    control_plane: ControlPlane, postgres: PostgresServer, *, operator: Login, namespace: str
) -> AsyncIterator[TenantWorld]:
    """Build the reconcilers anew, as a process that starts; at the end remove what lies in the cluster and in Postgres.

    `operator` is the login of `PostgresServer.make_operator`.
    """
    counted: list[tuple[str, int]] = []
    configuration = await load_configuration(control_plane.kubeconfig)
    async with Kube(configuration, answered=lambda method, status: counted.append((method, status))) as kube:
        with suppress(AlreadyExists):
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        world = build_world(kube, postgres, operator=operator, namespace=namespace, counted=counted)
        try:
            yield world
        finally:
            await world.fence.close()
            await world.servers.close()
            await _clean(world)


def build_world(
    kube: Kube,
    postgres: PostgresServer,
    *,
    operator: Login,
    namespace: str,
    counted: list[tuple[str, int]],
    **more: Any,
) -> TenantWorld:
    """Put one process's parts together; `more` are settings."""
    known = {"namespace": namespace, "registry_server": SERVER, "installation_id": INSTALLATION}
    jobs = {"job_pod": {"image": "tenantry.example/operator:1"}}
    settings = OperatorSettings(**{**known, "pod_name": "operator-0", **jobs, **more})
    cache, clock, metrics = ObjectCache(), SystemClock(), Metrics()
    servers = Servers("tenantry:operator-0:1")
    addresses = Addresses(kube, cache, namespace=namespace, registry_server=SERVER, clock=clock)
    fence = Fence(servers, lambda: addresses.registry(SERVER, settings.registry_database))
    parts: dict[str, Any] = {
        "kube": kube,
        "servers": servers,
        "addresses": addresses,
        "cache": cache,
        "fence": fence,
        "settings": settings,
        "clock": clock,
        "metrics": metrics,
    }
    return TenantWorld(
        kube=kube,
        servers=servers,
        cache=cache,
        postgres=postgres,
        operator=operator,
        settings=settings,
        fence=fence,
        addresses=addresses,
        tenants=TenantReconciler(**parts),
        databases=DatabaseServerReconciler(**parts),
        runs=MigrationRunReconciler(**parts),
        metrics=metrics,
        counted=counted,
    )


async def _clean(world: TenantWorld) -> None:
    for resource in (MIGRATIONRUNS, TENANTS, DATABASESERVERS):
        for body in await world.kube.list(resource):
            name = body["metadata"]["name"]
            with suppress(ApiError):
                await world.kube.merge_patch(resource, name, {"metadata": {"finalizers": None}})
                await world.kube.delete(resource, name)
    await remove_namespaces(world.kube)
    for body in await world.kube.list(EVENTS, namespace="default"):
        if body.get("reportingController") == "tenantry-operator":
            await world.kube.delete(EVENTS, body["metadata"]["name"], namespace="default")
    for resource in (SECRETS, JOBS, PODS):
        for body in await world.kube.list(resource, namespace=world.settings.namespace):
            await world.kube.delete(resource, body["metadata"]["name"], namespace=world.settings.namespace)
    await world.kube.delete(CONFIGMAPS, BREAKER, namespace=world.settings.namespace)
    world.postgres.start()
    clean_postgres(world.postgres, operator=world.operator)


def clean_postgres(postgres: PostgresServer, *, operator: Login) -> None:
    """Drop every role, schema and database that the operator or a test made; the operator has what it began with."""
    me = sql.Identifier(operator.user)
    with postgres.connect() as connection:
        made = connection.execute("SELECT datname::text FROM pg_database WHERE datname ~ '^t_'").fetchall()
        for database in (*DATABASES, *(name for (name,) in made)):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        roles = [str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()]
        for role in (one for one in roles if re.match(SYSTEM_ROLES, one) and one != operator.user):
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        connection.execute(sql.SQL("CREATE DATABASE app OWNER {}").format(me))
        attributes = sql.SQL("ALTER ROLE {} PASSWORD {} LOGIN CREATEROLE CREATEDB NOSUPERUSER")
        connection.execute(attributes.format(me, sql.Literal(operator.password)))
        connection.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(me))
