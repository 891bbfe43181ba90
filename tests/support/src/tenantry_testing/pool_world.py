"""What a test puts into the pool of a TenantWorld, and what of it somebody sees."""

from typing import Any, Final

import psycopg
from psycopg import sql

from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

POOL_ROLE: Final = "tenantry_pool_accounts"


async def pooled(world: TenantWorld, *names: str, **spec: Any) -> dict[str, str]:
    """Provision pooled tenants, each with one user, ada@<name>; return their ids by name."""
    ids: dict[str, str] = {}
    for name in names:
        tenant = await world.provision(name, isolation="Pooled", **spec)
        ids[name] = tenant["status"]["id"]
        add_user(world, ids[name], f"ada@{name}")
    return ids


def add_user(world: TenantWorld, tenant_id: str, email: str) -> None:
    world.execute(
        f"INSERT INTO tenantry_pool.users (id, tenant_id, email) VALUES (gen_random_uuid(), '{tenant_id}', '{email}')"
    )


async def seen_by(world: TenantWorld, name: str) -> list[str]:
    """Return the addresses that the tenant's login reads, in the table as it finds it by its search path."""
    with world.login(await world.secret(f"{name}-database")) as connection:
        return [str(row[0]) for row in connection.execute("SELECT email FROM users ORDER BY email")]


async def service_login(world: TenantWorld) -> psycopg.Connection[Any]:
    """Log in as the accounts service does."""
    secret = await world.secret("tenantry-accounts-database-primary")
    return world.postgres.connect("app", Login(secret["username"], secret["password"]))


async def seen_by_service(world: TenantWorld, tenant_id: str) -> list[str]:
    """Return the addresses that the service reads once it has chosen a tenant."""
    with await service_login(world) as connection, connection.transaction():
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(POOL_ROLE)))
        connection.execute("SELECT set_config('app.tenant', %s, true)", (tenant_id,))
        return [str(row[0]) for row in connection.execute("SELECT email FROM tenantry_pool.users ORDER BY email")]


def all_emails(world: TenantWorld) -> list[str]:
    return [str(row[0]) for row in world.fetch("SELECT email FROM tenantry_pool.users ORDER BY email")]


def entries(world: TenantWorld) -> list[tuple[str, bool]]:
    """Return name and state of each entry of the directory."""
    return world.fetch("SELECT name, open FROM tenantry.pooled ORDER BY name")
