"""An API server, a Postgres server and the operator on loopback, with shipped defaults, for one figure."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from tenantry_cluster import ControlPlane, Layout
from tenantry_testing.demo.programs import Programs
from tenantry_testing.manifests import apply_crds
from tenantry_testing.operator_process import OperatorProcess
from tenantry_testing.postgres import Login, PostgresServer

SYSTEM = "tenantry-system"
SERVER = "primary"
# What the operator ships with.
SWEEP_SECONDS = 10.0
OPERATOR_CONNECTIONS = 8


@dataclass(frozen=True)
class BenchWorld:
    """Servers that are up; the operator is started for each measurement that needs one."""

    layout: Layout
    folder: Path
    plane: ControlPlane
    postgres: PostgresServer
    login: Login

    @classmethod
    @contextmanager
    def open(cls, layout: Layout) -> Iterator["BenchWorld"]:
        """Bring both servers up, with CRDs and a default DatabaseServer; all goes away again."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenantry-bench-")))
            postgres = stack.enter_context(PostgresServer())
            plane = stack.enter_context(ControlPlane.start(layout.bin, audit=True))
            world = cls(layout, folder, plane=plane, postgres=postgres, login=postgres.make_operator())
            apply_crds(layout.bin / "kubectl", plane.kubeconfig, layout.root / "crds/manifests")
            for body in world._objects():
                Programs(plane.kubeconfig, layout.bin).apply(json.dumps(body))
            yield world

    @contextmanager
    def operator(
        self,
        *,
        sweep_seconds: float = SWEEP_SECONDS,
        env: Mapping[str, str] | None = None,
        module: str = "tenantry_operator",
    ) -> Iterator[OperatorProcess]:
        """An operator that leads and whose DatabaseServer is Ready; it is stopped at the end."""
        settings = {
            "TENANTRY_REGISTRY_SERVER": SERVER,
            "TENANTRY_SWEEP_INTERVAL": str(sweep_seconds),
            "TENANTRY_STUCK_AFTER": str(200 + sweep_seconds),
            "TENANTRY_LOG_LEVEL": "info",
            # A fleet is deleted at once after each measurement.
            "TENANTRY_BREAKER_DROPS": "1000000",
            **(env or {}),
        }
        operator = OperatorProcess(self.plane.kubeconfig, self.folder / "operator.log", env=settings, module=module)
        try:
            operator.start()
            operator.wait_working()
            ready = ["wait", f"databaseserver/{SERVER}", "--for=condition=Ready", "--timeout=60s"]
            Programs(self.plane.kubeconfig, self.layout.bin).kubectl(*ready)
            yield operator
        except BaseException:
            print(operator.tail())
            raise
        finally:
            if operator.alive():
                operator.stop()

    @property
    def operator_connections(self) -> int:
        return OPERATOR_CONNECTIONS

    def operator_url(self, database: str) -> str:
        """The operator's own log-in, with verified TLS."""
        return self.postgres.url(database, self.login)

    def expect_tenants(self, prefix: str, count: int) -> None:
        """Make sure that so many Tenants are whole: both schemas and an active row. Raises AssertionError."""
        with self.postgres.connect("app") as connection:
            schemas = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname ~ %s", [f"^[ts]_{prefix}"])
            assert schemas.fetchone() == (2 * count,)
        with self.postgres.connect("tenantry") as registry:
            rows = registry.execute(
                "SELECT count(*) FROM tenantry.tenants WHERE name ^@ %s AND state = 'active'",
                [prefix.replace("_", "-")],
            )
            assert rows.fetchone() == (count,)

    def drop_tenants(self, prefix: str) -> None:
        """Drop the schemas, roles and registry rows of the Tenants whose names in Postgres start with `prefix`."""
        pattern = f"^[ts]_{prefix}"
        with self.postgres.connect("app") as connection:
            for (schema,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ %s", [pattern]):
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
            for (role,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ %s", [pattern]).fetchall():
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        with self.postgres.connect("tenantry") as registry:
            registry.execute("DELETE FROM tenantry.tenants WHERE name ^@ %s", [prefix.replace("_", "-")])

    def server_spec(self) -> dict[str, Any]:
        """What a DatabaseServer says that is this Postgres."""
        return {
            "host": self.postgres.host,
            "port": self.postgres.port,
            "database": "app",
            "default": True,
            "tls": {"mode": "verify-full", "caSecretRef": {"name": "primary-ca"}},
            "credentialsSecretRef": {"name": "primary-credentials"},
        }

    def _objects(self) -> list[dict[str, Any]]:
        secret = {"apiVersion": "v1", "kind": "Secret"}
        place = {"namespace": SYSTEM}
        credentials = {"username": self.login.user, "password": self.login.password}
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}},
            secret | {"metadata": {"name": "primary-credentials", **place}, "stringData": credentials},
            secret | {"metadata": {"name": "primary-ca", **place}, "stringData": self._authority()},
            {
                "apiVersion": "tenantry.dev/v1alpha1",
                "kind": "DatabaseServer",
                "metadata": {"name": SERVER},
                "spec": self.server_spec(),
            },
        ]

    def _authority(self) -> dict[str, str]:
        return {"ca.crt": self.postgres.ca_file.read_text()}
