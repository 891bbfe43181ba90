"""What the accounts service finds in production, made on a real Postgres without the operator.

Schemas, roles, marker, registry and mounted Secrets are those of the design; the tables come from the migrations.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from fastapi import FastAPI
from psycopg import sql
from pydantic import SecretStr

from tenantry_accounts.app import SERVICE, accounts_app
from tenantry_kit.components import Components, compose
from tenantry_kit.keys import EVERY_SCOPE, ApiKey, create_key
from tenantry_kit.scope import TenantScope
from tenantry_kit.settings import ServiceSettings
from tenantry_migrations import CUSTOMERS, OWNER, POOL_SCHEMA, REGISTRY, TENANT, make_pool, render, upgrade_registry
from tenantry_operator.model.tenant import Marker, MarkerState
from tenantry_testing.postgres import Login, PostgresServer

ENVIRONMENT = "test"
SERVER = "primary"
USERS = "/v1/users"
CURSOR_KEY = "cursor-key-of-the-tests-0123456789"


@dataclass(frozen=True)
class WorldTenant:
    """A tenant of the world, with one key that may do everything."""

    id: UUID
    name: str
    key: ApiKey
    pooled: bool = False
    apart: bool = False
    """Whether it has a database of its own."""

    @property
    def isolation(self) -> str:
        return "Pooled" if self.pooled else "Database" if self.apart else "Schema"

    @property
    def own_database(self) -> str:
        """The database, if it has one of its own."""
        return f"t_{self.name.replace('-', '_')}"

    @property
    def schema(self) -> str:
        """The services' schema."""
        return POOL_SCHEMA if self.pooled else f"s_{self.name.replace('-', '_')}"

    @property
    def owner(self) -> str:
        """The role that carries the marker."""
        return f"t_{self.name.replace('-', '_')}_owner"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request with the tenant's key."""
        return {"Authorization": f"Bearer {self.key.text}"}


@dataclass
class AccountsWorld:
    """Databases, a service login and its mounted Secret on a server that others may use too."""

    postgres: PostgresServer
    folder: Path
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))

    def __post_init__(self) -> None:
        self.app_database = f"app_{self.suffix}"
        self.registry_database = f"tenantry_{self.suffix}"
        self.pool_owner = f"pool_owner_{self.suffix}"
        self.login = Login(f"tenantry_svc_accounts_{self.suffix}", secrets.token_urlsafe(16))
        self._make_databases()
        self.mount(self.folder)

    def _make_databases(self) -> None:
        with self.postgres.connect() as admin:
            _run(admin, "CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}", self.login.user, sql.Literal(self.login.password))
            for name in (self.app_database, self.registry_database):
                _run(admin, "CREATE DATABASE {}", name)
                _run(admin, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
                _run(admin, "GRANT CONNECT ON DATABASE {} TO {}", name, self.login.user)
        asyncio.run(_upgrade(self.postgres.url(self.registry_database)))
        with self.registry() as registry:
            _run(registry, "GRANT USAGE ON SCHEMA tenantry TO {}", self.login.user)
            for held in REGISTRY.privileges(REGISTRY.head):
                words = ", ".join(sorted(held.privileges))
                _run(registry, f"GRANT {words} ON tenantry.{{}} TO {{}}", held.table, self.login.user)

    def mount(self, folder: Path, **changed: str) -> Path:
        """Write the login's Secret as the kubelet mounts it, for `DatabaseServer` primary; return its directory."""
        directory = folder / SERVER
        directory.mkdir(parents=True, exist_ok=True)
        content = {
            "host": self.postgres.host,
            "port": str(self.postgres.port),
            "username": self.login.user,
            "password": self.login.password,
            "database": self.app_database,
            "sslmode": "verify-full",
            "ca.crt": self.postgres.ca_file.read_text(),
            "registry-database": self.registry_database,
        }
        for name, text in (content | changed).items():
            (directory / name).write_text(text)
        return directory

    @contextmanager
    def app(self) -> Iterator[psycopg.Connection[Any]]:
        """Give the superuser's session in the tenants' database."""
        with self.postgres.connect(self.app_database) as connection:
            yield connection

    def database_of(self, tenant: WorldTenant) -> str:
        """Return the database with the tenant's rows."""
        return tenant.own_database if tenant.apart else self.app_database

    @contextmanager
    def home(self, tenant: WorldTenant) -> Iterator[psycopg.Connection[Any]]:
        """Give the superuser's session where the tenant's rows are."""
        with self.postgres.connect(self.database_of(tenant)) as connection:
            yield connection

    @contextmanager
    def registry(self) -> Iterator[psycopg.Connection[Any]]:
        """Give the superuser's session in the registry."""
        with self.postgres.connect(self.registry_database) as connection:
            yield connection

    def add_tenant(
        self, name: str | None = None, *, state: str = "active", pooled: bool = False, apart: bool = False
    ) -> WorldTenant:
        """Provision a tenant; without a name, under one that nobody has."""
        key = create_key(ENVIRONMENT)
        tenant = WorldTenant(uuid4(), name or f"acme-{secrets.token_hex(4)}", key, pooled=pooled, apart=apart)
        if apart:
            self._make_database(tenant)
        with self.home(tenant) as database:
            if pooled:
                self._enter_pool(database, tenant)
            else:
                self._make_schema(database, tenant)
        self.register(tenant, state=state)
        self.store_key(tenant, tenant.key)
        return tenant

    def _make_database(self, tenant: WorldTenant) -> None:
        """Make the database into which the service's login is let, and no other."""
        with self.postgres.connect() as admin:
            _run(admin, "CREATE DATABASE {} TEMPLATE template0", tenant.own_database)
            _run(admin, "REVOKE ALL ON DATABASE {} FROM PUBLIC", tenant.own_database)
            _run(admin, "GRANT CONNECT ON DATABASE {} TO {}", tenant.own_database, self.login.user)

    def _make_schema(self, database: psycopg.Connection[Any], tenant: WorldTenant) -> None:
        role = f"{tenant.schema}_{SERVICE}"
        roles = {service: f"{tenant.schema}_{service}" for service in (SERVICE, "auth", "relay")}
        for made in (tenant.owner, *roles.values()):
            _run(database, "CREATE ROLE {} NOLOGIN", made)
        self.mark(tenant)
        _run(database, "CREATE SCHEMA {}", tenant.schema)
        _run(database, "GRANT USAGE ON SCHEMA {} TO {}", tenant.schema, role)
        _run(database, "GRANT {} TO {}", role, self.login.user)
        with database.transaction():
            _run(database, "SET LOCAL search_path TO {}", tenant.schema)
            for step in TENANT.steps(None, TENANT.head):
                database.execute(render(step, roles=roles, schema=tenant.schema))

    def _enter_pool(self, database: psycopg.Connection[Any], tenant: WorldTenant) -> None:
        """Put the tenant into the directory of the pool, which is made if there is none."""
        roles = {SERVICE: f"{POOL_SCHEMA}_{SERVICE}", CUSTOMERS: f"{POOL_SCHEMA}_customers", OWNER: self.pool_owner}
        there = {row[0] for row in database.execute("SELECT rolname FROM pg_roles")}
        for made in ({*roles.values(), tenant.owner}) - there:
            _run(database, "CREATE ROLE {} NOLOGIN", made)
        self.mark(tenant)
        _run(database, "GRANT {} TO {}", roles[SERVICE], self.login.user)
        with ThreadPoolExecutor(1) as thread:  # for a test may run in a loop of its own
            thread.submit(asyncio.run, _make_pool(self.postgres.url(self.app_database), roles)).result()
        key = tenant.name.replace("-", "_")
        database.execute(
            "INSERT INTO tenantry.pooled VALUES (%s, %s, %s, %s, true)",
            (tenant.id, tenant.name, f"t_{key}_login_a", f"t_{key}_login_b"),
        )

    def mark(self, tenant: WorldTenant, state: MarkerState = MarkerState.LIVE) -> None:
        """Write the tenant's marker as the operator does."""
        self.write_marker(tenant, Marker(str(tenant.id), str(uuid4()), "world", state).text())

    def write_marker(self, tenant: WorldTenant, text: str | None) -> None:
        """Write any text in the marker's place; None removes it."""
        with self.app() as database:
            comment = sql.SQL("NULL") if text is None else sql.Literal(text)
            _run(database, "COMMENT ON ROLE {} IS {}", tenant.owner, comment)

    def register(self, tenant: WorldTenant, *, state: str = "active") -> None:
        """Write the tenant's row in the registry."""
        with self.registry() as registry:
            registry.execute(
                "INSERT INTO tenantry.tenants"
                " (id, name, uid, server, database, schema, isolation, service_login, state)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    tenant.id,
                    tenant.name,
                    uuid4(),
                    SERVER,
                    self.database_of(tenant),
                    tenant.schema,
                    tenant.isolation,
                    self.login.user,
                    state,
                ),
            )

    def set_state(self, tenant: WorldTenant, state: str) -> None:
        """Change the tenant's state in the registry."""
        with self.registry() as registry:
            registry.execute("UPDATE tenantry.tenants SET state = %s WHERE id = %s", (state, tenant.id))

    def store_key(
        self,
        tenant: WorldTenant,
        key: ApiKey,
        *,
        scopes: Iterable[str] = (EVERY_SCOPE,),
        expires_at: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> None:
        """Store a key of the tenant."""
        with self.registry() as registry:
            registry.execute(
                "INSERT INTO tenantry.api_keys"
                " (public_id, tenant_id, kind, secret_hash, scopes, expires_at, revoked_at)"
                " VALUES (%s, %s, 'tenant', %s, %s, %s, %s)",
                (key.public_id, tenant.id, key.secret_hash, list(scopes), expires_at, revoked_at),
            )

    def drop_tenant(self, tenant: WorldTenant) -> None:
        """Drop the tenant's schema and roles, as deletion does, and leave its key to whoever remembers it."""
        if tenant.apart:
            with self.app() as database:
                _run(database, "DROP DATABASE {} WITH (FORCE)", tenant.own_database)
        with self.app() as database:
            _run(database, "DROP SCHEMA IF EXISTS {} CASCADE", tenant.schema)
            for service in (SERVICE, "auth", "relay"):
                _run(database, "DROP ROLE {}", f"{tenant.schema}_{service}")
            _run(database, "DROP ROLE {}", tenant.owner)
        with self.registry() as registry:
            registry.execute("UPDATE tenantry.api_keys SET revoked_at = now() WHERE tenant_id = %s", (tenant.id,))
        self.set_state(tenant, "deleted")

    def close_in_pool(self, tenant: WorldTenant) -> None:
        """Let nobody reach the tenant's rows, as the operator does when it suspends one."""
        with self.app() as database:
            database.execute("UPDATE tenantry.pooled SET open = false WHERE tenant_id = %s", (tenant.id,))

    def users_of(self, tenant: WorldTenant) -> list[dict[str, Any]]:
        """Return the rows of the tenant's users, whoever wrote them."""
        with self.home(tenant) as database, database.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            query = sql.SQL("SELECT * FROM {} WHERE tenant_id = {} OR NOT {} ORDER BY id").format(
                sql.Identifier(tenant.schema, "users"), sql.Literal(tenant.id), sql.Literal(tenant.pooled)
            )
            return cursor.execute(query).fetchall()

    def scope_of(self, tenant: WorldTenant) -> TenantScope:
        """Return the scope that the service works in for a tenant."""
        return TenantScope(tenant.id, tenant.name, SERVER, self.database_of(tenant), tenant.schema, SERVICE)

    def settings(self, **changed: Any) -> ServiceSettings:
        """Return the service's settings for this world."""
        values: dict[str, Any] = {
            "environment": ENVIRONMENT,
            "databases_dir": self.folder,
            "registry_server": SERVER,
            "cursor_key": SecretStr(CURSOR_KEY),
            "pool_size": 4,
        }
        return ServiceSettings(**values | changed)

    @asynccontextmanager
    async def service(self, **changed: Any) -> AsyncIterator["RunningService"]:
        """Give the application, composed as in production and called in this process, and close it."""
        lines = StringIO()
        components = compose(SERVICE, self.settings(log_level="debug", **changed), log_to=lines)
        app = accounts_app(components)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://accounts") as client:
                yield RunningService(app, components, client, lines)
        finally:
            await components.databases.close()


@dataclass(frozen=True)
class RunningService:
    """A composed application, a client of it, and what it logs."""

    app: FastAPI
    components: Components
    client: httpx.AsyncClient
    lines: StringIO

    async def make_user(self, tenant: WorldTenant, email: str = "ada@example.com") -> str:
        """Make a user with the tenant's key; return its id."""
        made = await self.client.post(USERS, json={"email": email}, headers=tenant.headers)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def logged(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the log lines, or those of one event."""
        lines = [json.loads(line) for line in self.lines.getvalue().splitlines()]
        return [line for line in lines if event in {None, line["event"]}]


async def _upgrade(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await upgrade_registry(connection)


async def _make_pool(url: str, roles: dict[str, str]) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await make_pool(connection, TENANT.head, roles=roles)


def _run(connection: psycopg.Connection[Any], statement: str, *parts: str | sql.Composable) -> None:
    """Run a statement of ours; each `{}` is a part: text is an identifier."""
    template = sql.SQL(statement)
    connection.execute(template.format(*(sql.Identifier(part) if isinstance(part, str) else part for part in parts)))
