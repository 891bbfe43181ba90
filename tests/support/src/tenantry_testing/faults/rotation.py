"""Rotates a Tenant's credentials again and again while clients that follow its Secret query without a pause."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from tenantry_cluster import ControlPlane, Layout
from tenantry_crds import names as api
from tenantry_operator.clients.kube import TENANTS
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.names import TenantNames
from tenantry_testing.manifests import apply_crds
from tenantry_testing.postgres import Login, PostgresServer
from tenantry_testing.tenant_world import TenantWorld, tenant_world

CLIENTS: Final = 4
QUERIES_PER_CONNECTION: Final = 25
"""A pool, too, replaces its connections now and then."""

SECRET_READ_EVERY: Final = 0.2
"""Seconds; what a kubelet does for a mounted Secret, only sooner."""


@dataclass
class RotationRun:
    """What became of it."""

    rotations: int = 0
    queries: int = 0
    connections: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    usernames: list[str] = field(default_factory=list)
    """Those that the Secret named, in order."""

    @property
    def rate(self) -> float:
        """Queries in a second."""
        return self.queries / self.seconds if self.seconds else 0.0

    def total(self) -> str:
        """One line for a person."""
        return (
            f"rotations: {self.rotations}, {self.queries} queries at {self.rate:.0f} in a second over "
            f"{self.connections} connections, {len(self.failed)} failed"
        )

    def as_json(self) -> dict[str, object]:
        return {
            "rotations": self.rotations,
            "queries": self.queries,
            "connections": self.connections,
            "queries_in_a_second": round(self.rate),
            "failed": self.failed,
        }


def rotate_in_a_world(layout: Layout, rotations: int) -> tuple[str, RotationRun]:
    """Bring up servers, and rotate so many times under load; return the version of Postgres, too."""
    with PostgresServer() as postgres, ControlPlane.start(layout.bin) as plane:
        apply_crds(layout.bin / "kubectl", plane.kubeconfig, layout.root / "crds/manifests")
        operator = postgres.make_operator("operator_login", databases=("app",))
        return postgres.version(), asyncio.run(_rotate_in_a_world(plane, postgres, operator, rotations))


async def _rotate_in_a_world(
    plane: ControlPlane, postgres: PostgresServer, operator: Login, rotations: int
) -> RotationRun:
    async with tenant_world(plane, postgres, operator=operator, namespace="rotation") as world:
        await world.apply_server()
        return await rotate_under_load(world, "acme", rotations=rotations, overlap="3s")


async def rotate_under_load(
    world: TenantWorld, name: str, *, rotations: int, overlap: str = "5s", rate: float = 200.0
) -> RotationRun:
    """Provision the Tenant and rotate it so many times, each until the old login is gone.

    The clients read the Secret as pods do, and connect anew when it has changed. A query or a connection that fails is
    in `failed` of the answer; nothing is tried twice.
    """
    await world.provision(name, credentials={"rotation": {"interval": "0s", "overlap": overlap}})
    run = RotationRun()
    started = time.monotonic()
    async with _clients(world, name, run, rate=rate):
        for number in range(rotations):
            await _rotate(world, name, request=str(number))
            run.rotations += 1
        run.seconds = time.monotonic() - started
    return run


async def _rotate(world: TenantWorld, name: str, *, request: str) -> None:
    """Ask for a rotation and run the passes that it takes, when they are due."""
    before = (await world.secret(f"{name}-database"))["username"]
    await world.kube.merge_patch(TENANTS, name, {"metadata": {"annotations": {api.ANNOTATION_ROTATE: request}}})
    key = Key("Tenant", name)
    while True:
        await world.refresh()
        result = await world.tenants.reconcile(key)
        query = "SELECT count(*) FROM pg_roles WHERE rolname = ANY (%s)"
        left = await asyncio.to_thread(world.fetch, query, [*TenantNames(name).logins])
        if left == [(1,)] and (await world.secret(f"{name}-database"))["username"] != before:
            return
        await asyncio.sleep(min(result.requeue_after or 0.1, 0.5))


@asynccontextmanager
async def _clients(world: TenantWorld, name: str, run: RotationRun, *, rate: float) -> AsyncIterator[None]:
    held: dict[str, dict[str, str]] = {"secret": await world.secret(f"{name}-database")}
    run.usernames.append(held["secret"]["username"])
    tasks = [asyncio.create_task(_follow(world, name, held, run))]
    tasks += [asyncio.create_task(_query(world, held, run, every=CLIENTS / rate)) for _ in range(CLIENTS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        run.failed += [repr(one) for one in ended if not isinstance(one, asyncio.CancelledError)]


async def _follow(world: TenantWorld, name: str, held: dict[str, dict[str, str]], run: RotationRun) -> None:
    while True:
        await asyncio.sleep(SECRET_READ_EVERY)
        secret = await world.secret(f"{name}-database")
        if secret != held["secret"]:
            held["secret"] = secret
            run.usernames.append(secret["username"])


async def _query(world: TenantWorld, held: dict[str, dict[str, str]], run: RotationRun, *, every: float) -> None:
    """Query in step with the clock; who is late catches up."""
    due = time.monotonic()
    while True:
        secret = held["secret"]
        try:
            async with await _connect(world, secret) as connection:
                run.connections += 1
                for _ in range(QUERIES_PER_CONNECTION):
                    due += every
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    if held["secret"] is not secret:
                        break
                    await connection.execute("SELECT current_user")
                    run.queries += 1
        except psycopg.Error as error:
            run.failed.append(f"{secret['username']}: {error}")


async def _connect(world: TenantWorld, secret: dict[str, str]) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        host=secret["host"],
        port=int(secret["port"]),
        dbname=secret["database"],
        user=secret["username"],
        password=secret["password"],
        sslmode=secret["sslmode"],
        sslrootcert=str(world.postgres.ca_file),
        connect_timeout=30,
        autocommit=True,
    )
