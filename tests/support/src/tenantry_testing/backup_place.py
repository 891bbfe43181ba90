"""The program of backups in this process, on a Postgres with a registry and tenants, and without any API server."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection

from tenantry_migrations import TENANT, move_statements, upgrade_registry, whole_statements
from tenantry_operator.backup.dump import dump
from tenantry_operator.backup.laying import lay_schema
from tenantry_operator.backup.orders import DumpOrder, Manifest, RestoreOrder, Server
from tenantry_operator.backup.programs import find_client
from tenantry_operator.backup.restore import restore
from tenantry_operator.backup.servers import Login, Reach
from tenantry_operator.backup.store import VolumeStore
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import OWNER, TenantNames
from tenantry_operator.model.pool import POOL_ROLES, POOL_SCHEMA
from tenantry_operator.model.tenant import Marker, MarkerState
from tenantry_testing.postgres import PostgresServer

ACME: Final = TenantNames("acme")
INSTALLATION: Final = "0c6c1e0e-5d0e-4f43-9d5c-3f4f1b6a2d11"


@dataclass(frozen=True)
class BackupPlace:
    """A volume, and the hands of an administrator of the server."""

    postgres: PostgresServer
    folder: Path
    id: str
    user: str

    @classmethod
    def make(cls, postgres: PostgresServer, folder: Path) -> "BackupPlace":
        """Make the operator's login, the registry, an empty pool, and what all tenants need."""
        login = postgres.make_operator()
        secret = {"username": login.user, "password": login.password, "ca.crt": postgres.ca_file.read_text()}
        for name in ("login", "work"):
            (folder / name).mkdir()
        for name, content in secret.items():
            (folder / "login" / name).write_text(content)

        async def prepare() -> None:
            async with await AsyncConnection.connect(postgres.url("tenantry", login), autocommit=True) as connection:
                await upgrade_registry(connection)

        asyncio.run(prepare())
        place = cls(postgres, folder, str(uuid4()), login.user)
        with place.reach("app").session() as connection:
            for role in {OWNER, *POOL_ROLES.values()}:
                connection.execute(f"CREATE ROLE {role}")
            connection.execute(f"GRANT {OWNER} TO {login.user}")
            connection.execute(f"GRANT CREATE ON DATABASE app TO {OWNER}")
            with connection.transaction():
                for statement in whole_statements(TENANT.head, roles=POOL_ROLES):
                    connection.execute(statement)
        return place

    def reach(self, database: str) -> Reach:
        return Reach(self._server(database), Login(self.folder / "login"))

    @property
    def store(self) -> VolumeStore:
        return VolumeStore(self.folder / "volume", "volume://backups", self.folder / "work" / "backups")

    def _server(self, database: str) -> Server:
        port = self.postgres.port
        return Server(name="primary", host="127.0.0.1", port=port, database=database, sslmode="verify-full")

    def provision(self, isolation: Isolation, *, revision: str = TENANT.head) -> None:
        """Make acme as the operator does, and take its access as before a backup."""
        roles = (ACME.owner,) if isolation is Isolation.POOLED else ACME.group_roles
        with self.reach("app").session() as connection, connection.transaction():
            for role in roles:
                connection.execute(f"CREATE ROLE {role}")
            if isolation is Isolation.SCHEMA:
                connection.execute(f"GRANT {ACME.owner} TO {self.user}")
                connection.execute(f"CREATE SCHEMA {ACME.schema} AUTHORIZATION {ACME.owner}")
                connection.execute(f"REVOKE {ACME.owner} FROM {self.user}")
                like = {"tenant": "acme", "id": self.id, "uid": "u", "installation": INSTALLATION, "made_at": ""}
                more = {"isolation": isolation, "server": "primary", "server_version": 0, "client_version": ""}
                made = Manifest(**like, **more, revision=revision, owner=ACME.owner, roles=(), verified_on=0)
                lay_schema(connection, made)

    def move_pool(self, start: str, to: str) -> None:
        with self.reach("app").session() as connection, connection.transaction():
            for statement in move_statements(start, to, roles=POOL_ROLES):
                connection.execute(statement)

    def dump(self, isolation: Isolation) -> tuple[Manifest, str]:
        """Back acme up as a Tenant of a UID of its own; return the manifest and the path."""
        uid = str(uuid4())
        marker = Marker(self.id, uid, INSTALLATION, MarkerState.DROPPING).text()
        with self.reach("app").session() as connection:
            connection.execute(f"COMMENT ON ROLE {ACME.owner} IS '{marker}'")
        owners = {ACME.schema: ACME.owner, ACME.service_schema: OWNER} if isolation is Isolation.SCHEMA else {}
        order = DumpOrder.model_validate(
            {
                "tenant": "acme", "id": self.id, "uid": uid, "installation": INSTALLATION, "isolation": isolation,
                "marker": marker, "owner": ACME.owner, "server": self._server("app"), "roles": [ACME.owner],
                "registry": self._server("tenantry"),
                "parts": [{"schema": name, "database": "app", "role": role} for name, role in owners.items()],
            }
        )  # fmt: skip
        reach, registry = self.reach("app"), self.reach("tenantry")
        made = dump(order, reach=reach, registry=registry, store=self.store, client=find_client(),
                    work=self.folder / "work", unique=secrets.token_hex(3), say=lambda _: None)  # fmt: skip
        return made, f"acme/{uid}/{made.made_at}"

    def restore(self, path: str = "", *, unrecorded: bool = False) -> Manifest:
        order = RestoreOrder(tenant="acme", installation=INSTALLATION, path=path, server=self._server("app"),
                             registry=self._server("tenantry"), unrecorded=unrecorded, most_per_login=10)  # fmt: skip
        reach, registry = self.reach("app"), self.reach("tenantry")
        return restore(order, reach=reach, registry=registry, store=self.store, client=find_client(),
                       work=self.folder / "work", say=lambda _: None)  # fmt: skip

    def drop(self) -> None:
        """Drop all that is acme's, as the operator does once there is a backup; of the registry its row goes."""
        tables = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
        with self.postgres.connect("app") as connection:
            for (table,) in connection.execute(tables, (POOL_SCHEMA,)).fetchall():
                if table != "schema_version":
                    connection.execute(f"DELETE FROM {POOL_SCHEMA}.{table} WHERE tenant_id = %s", (self.id,))
            for schema in ACME.schemas:
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            for role in self.roles():
                connection.execute(f"DROP OWNED BY {role}")
            for role in self.roles():
                connection.execute(f"DROP ROLE {role}")
        self.fetch("DELETE FROM tenantry.tenants RETURNING id", database="tenantry")

    def roles(self) -> Sequence[str]:
        """Name acme's roles, and what somebody got or left beside them."""
        return [str(name) for (name,) in self.fetch("SELECT rolname FROM pg_roles WHERE rolname ~ '^([ts]_|climber)'")]

    def fetch(self, query: str, *parameters: object, database: str = "app") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url(database), autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def execute(self, *statements: str) -> None:
        with self.postgres.connect("app") as connection:
            for statement in statements:
                connection.execute(statement)
