"""An API server, a Postgres server, and an operator that reaches both only through fault proxies."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from tenantry_cluster import ControlPlane, Layout
from tenantry_operator.model.names import TenantNames
from tenantry_testing.faults.administrator import DATABASESERVERS, TENANTS, Administrator
from tenantry_testing.faults.api_proxy import ApiProxy
from tenantry_testing.faults.effects import Effects
from tenantry_testing.faults.loop import LoopThread
from tenantry_testing.faults.postgres_proxy import PostgresProxy
from tenantry_testing.histories import write_history
from tenantry_testing.later_operator import HISTORY, MODULE
from tenantry_testing.manifests import apply_crds
from tenantry_testing.operator_process import OperatorProcess
from tenantry_testing.postgres import Login, PostgresServer
from tenantry_testing.warm_starts import WarmStarts

SYSTEM: Final = "tenantry-system"
SERVER: Final = "primary"
SECRETS: Final = f"/api/v1/namespaces/{SYSTEM}/secrets"
CONFIGMAPS: Final = f"/api/v1/namespaces/{SYSTEM}/configmaps"
IN_NAMESPACE: Final = {
    "resourcequotas": "/api/v1/resourcequotas",
    "limitranges": "/api/v1/limitranges",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1/rolebindings",
}
"""What a Tenant's namespace holds."""
POOLED_TABLES: Final = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace('tenantry_pool') ORDER BY 1
"""
SWEEP_SECONDS: Final = 0.25
QUICK: Final = {
    "TENANTRY_REGISTRY_SERVER": SERVER,
    "TENANTRY_SWEEP_INTERVAL": str(SWEEP_SECONDS),
    "TENANTRY_LEASE_DURATION": "20",
    "TENANTRY_LEASE_RENEW_DEADLINE": "15",
    "TENANTRY_LEASE_RENEW_INTERVAL": "1",
    "TENANTRY_REQUEST_TIMEOUT": "5",
    # A campaign deletes Tenants all the time; the breaker writes down each of them, and holds none.
    "TENANTRY_BREAKER_DROPS": "1000000",
    "TENANTRY_JOB_POD": '{"image": "tenantry.example/operator:1"}',
}
KEPT: Final = frozenset({"postgres", "app", "tenantry"})
CONNECTIONS: Final = 40
"""Few, so that a test can take all of them."""


@dataclass(frozen=True)
class FaultWorld:
    """The servers, the proxies before them, and an administrator who goes past the proxies."""

    layout: Layout
    folder: Path
    plane: ControlPlane
    postgres: PostgresServer
    login: Login
    effects: Effects
    api: ApiProxy
    database: PostgresProxy
    administrator: Administrator
    loop: LoopThread
    starts: WarmStarts
    kept: dict[str, psycopg.Connection[Any]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(cls, layout: Layout) -> Iterator["FaultWorld"]:
        """Bring all up but the operator; all goes away again."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenantry-faults-")))
            postgres = stack.enter_context(PostgresServer(settings=[f"max_connections={CONNECTIONS}"]))
            plane = stack.enter_context(ControlPlane.start(layout.bin))
            apply_crds(layout.bin / "kubectl", plane.kubeconfig, layout.root / "crds/manifests")
            effects, loop = Effects(), stack.enter_context(LoopThread())
            world = cls(
                layout=layout,
                folder=folder,
                plane=plane,
                postgres=postgres,
                login=postgres.make_operator(),
                effects=effects,
                api=stack.enter_context(ApiProxy(plane, effects, loop, folder=folder)),
                database=stack.enter_context(PostgresProxy(postgres, effects, loop)),
                administrator=stack.enter_context(Administrator(plane)),
                loop=loop,
                starts=stack.enter_context(WarmStarts()),
            )
            stack.callback(world._end_sessions)
            world._prepare()
            yield world

    @contextmanager
    def session(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A session of the superuser for looking; one in a database that stays is kept until the next look."""
        if database not in KEPT:
            with self.postgres.connect(database) as connection:
                yield connection
            return
        if database not in self.kept or self.kept[database].closed:
            self.kept[database] = self.postgres.connect(database)
        try:
            yield self.kept[database]
        except psycopg.OperationalError:
            self.kept.pop(database).close()
            raise

    def _end_sessions(self) -> None:
        for connection in self.kept.values():
            connection.close()

    def versions(self) -> dict[str, str]:
        """What the servers say they are."""
        version = self.administrator.get("/version") or {}
        return {"kubernetes": str(version.get("gitVersion", "")), "postgres": self.postgres.version()}

    @staticmethod
    def wait(condition: Callable[[], bool], what: str, *, limit: float = 60.0) -> None:
        """Wait until it is so. Raises AssertionError."""
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {limit:.0f} s"
            time.sleep(0.05)

    @contextmanager
    def another_api(self, effects: Effects) -> Iterator[ApiProxy]:
        """A proxy of its own for one more operator, which counts its writes apart."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        with ApiProxy(self.plane, effects, self.loop, folder=folder) as made:
            yield made

    def operator(
        self,
        log: Path | None = None,
        *,
        pod: str = "operator-0",
        api: ApiProxy | None = None,
        later: bool = False,
        **env: str,
    ) -> OperatorProcess:
        """An operator that is not started yet. With an `api` of its own its requests are told from others'.

        One of a `later` version knows a revision more.
        """
        place = log or self.folder / f"{pod}.log"
        kubeconfig, settings = (api or self.api).kubeconfig, {**QUICK, **env}
        if not later:
            return OperatorProcess(kubeconfig, place, pod_name=pod, env=settings, starts=self.starts)
        history = self.folder / "history"
        if not history.exists():
            write_history(history)
        settings[HISTORY] = str(history)
        return OperatorProcess(kubeconfig, place, pod_name=pod, env=settings, module=MODULE, starts=self.starts)

    def tenant(self, name: str) -> dict[str, Any] | None:
        return self.administrator.get(f"{TENANTS}/{name}")

    def is_gone(self, name: str) -> bool:
        """Do for a namespace what its controller would, which does not run here; say whether the Tenant is gone."""
        path = f"/api/v1/namespaces/{name}"
        namespace = self.administrator.get(path) or {"metadata": {}}
        if "deletionTimestamp" in namespace["metadata"]:
            for kind in (*IN_NAMESPACE.values(), "/api/v1/secrets"):
                self.administrator.delete(kind.replace("/v1/", f"/v1/namespaces/{name}/"))
            self.administrator.finalize(namespace)
        return self.tenant(name) is None

    def is_ready(self, name: str) -> bool:
        """Say whether Ready is True for the newest spec."""
        body = self.tenant(name)
        if body is None:
            return False
        status = body.get("status", {})
        current = status.get("observedGeneration") == body["metadata"]["generation"]
        return current and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))

    def server_is_ready(self) -> bool:
        body = self.administrator.get(f"{DATABASESERVERS}/{SERVER}") or {}
        conditions = body.get("status", {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def apply(self, name: str, *, labels: Mapping[str, str] | None = None, **spec: Any) -> None:
        """Make a Tenant that may be deleted with its data."""
        whole = {
            "displayName": name,
            "isolation": "Schema",
            "deletionPolicy": "Delete",
            "deletionProtection": "Disabled",
            **spec,
        }
        metadata = {"name": name, "labels": {**(labels or {})}}
        body = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": whole}
        self.administrator.create(TENANTS, body)

    def change(self, name: str, **spec: Any) -> None:
        self.administrator.patch(f"{TENANTS}/{name}", {"spec": spec})

    def delete(self, name: str) -> None:
        self.administrator.delete(f"{TENANTS}/{name}")

    def execute(self, *statements: sql.SQL | sql.Composed | str, database: str = "app") -> None:
        """Run statements as the superuser, past the proxy, all in one transaction."""
        with self.postgres.connect(database) as connection, connection.transaction():
            for statement in statements:
                connection.execute(sql.SQL(statement) if isinstance(statement, str) else statement)

    def remove(self, name: str) -> None:
        """Remove all there is of a Tenant: through the operator, which must run, then what it left behind by force.

        To take the finalizer away from under a running operator would be another story: it may make anew what is gone.
        """
        path = f"{TENANTS}/{name}"
        self.administrator.patch(path, {"spec": {"deletionPolicy": "Delete", "deletionProtection": "Disabled"}})
        self.administrator.delete(path)
        self.wait(lambda: self.is_gone(name), f"{name} is gone")
        for secret in self.administrator.list(SECRETS):
            if secret["metadata"].get("labels", {}).get("tenantry.dev/tenant") == name:
                self.administrator.delete(f"{SECRETS}/{secret['metadata']['name']}")
        names = TenantNames(name)
        with self.postgres.connect("app") as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(names.database)))
            for schema in names.schemas:
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
            found = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname ^@ %s OR rolname ^@ %s",
                [f"t_{names.key}", f"s_{names.key}"],
            ).fetchall()
            for (role,) in found:
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
            self._remove_from_pool(connection, name)
        with self.postgres.connect("tenantry") as registry:
            registry.execute("DELETE FROM tenantry.tenants WHERE name = %s", [name])

    @staticmethod
    def _remove_from_pool(connection: psycopg.Connection[Any], name: str) -> None:
        if connection.execute("SELECT to_regclass('tenantry.pooled') IS NULL").fetchone() == (True,):
            return
        # Rows go in any order, whatever refers to them.
        connection.execute("SET session_replication_role TO replica")
        for (table,) in connection.execute(POOLED_TABLES).fetchall():
            delete = "DELETE FROM {} WHERE tenant_id = (SELECT tenant_id FROM tenantry.pooled WHERE name = {})"
            connection.execute(sql.SQL(delete).format(sql.Identifier("tenantry_pool", table), sql.Literal(name)))
        connection.execute("DELETE FROM tenantry.pooled WHERE name = %s", [name])

    def _prepare(self) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret"}
        spec = {
            "host": self.postgres.host,
            "port": self.database.port,
            "database": "app",
            "default": True,
            "tls": {"mode": "verify-full", "caSecretRef": {"name": "primary-ca"}},
            "credentialsSecretRef": {"name": "primary-credentials"},
        }
        credentials = {"username": self.login.user, "password": self.login.password}
        authority = {"ca.crt": self.postgres.ca_file.read_text()}
        api = self.administrator
        api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        api.create(SECRETS, secret | {"metadata": {"name": "primary-credentials"}, "stringData": credentials})
        api.create(SECRETS, secret | {"metadata": {"name": "primary-ca"}, "stringData": authority})
        server = {"kind": "DatabaseServer", "apiVersion": "tenantry.dev/v1alpha1", "metadata": {"name": SERVER}}
        api.create(DATABASESERVERS, server | {"spec": spec})
