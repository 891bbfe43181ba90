"""More Postgres servers for a world of tenants: each a DatabaseServer with a log-in of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tenantry_operator.clients.kube import DATABASESERVERS, SECRETS
from tenantry_testing.postgres import Login, PostgresServer
from tenantry_testing.tenant_world import TenantWorld, clean_postgres


@dataclass
class OtherServer:
    """A server that outlives a test, and is emptied after it."""

    name: str
    postgres: PostgresServer
    operator: Login

    async def join(self, world: TenantWorld, **spec: Any) -> None:
        """Make it known to the world as a DatabaseServer that is Ready; not the default unless the spec says so."""
        for name, data in (
            (f"{self.name}-operator", {"username": self.operator.user, "password": self.operator.password}),
            (f"{self.name}-ca", {"ca.crt": self.postgres.ca_file.read_text()}),
        ):
            metadata = {"name": name, "namespace": world.settings.namespace}
            await world.kube.create(
                SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
            )
        await world.apply_server(self.name, **{"port": self.postgres.port, "default": False, **spec})
        assert world.condition(await world.server(self.name), "Ready") == ("True", "Connected")

    def owners(self) -> list[str]:
        """Return the owner roles of the tenants that are on it."""
        return owners(self.postgres)

    async def clean(self, world: TenantWorld) -> None:
        """Leave the server as it was; the world has no connection to it any more."""
        await world.servers.close()
        self.postgres.start()
        clean_postgres(self.postgres, operator=self.operator)


@contextmanager
def other_server(name: str, *, major: int | None = None) -> Iterator[OtherServer]:
    """Start one, of another version of Postgres if that is said."""
    with PostgresServer(major=major) as postgres:
        yield OtherServer(name, postgres, postgres.make_operator(f"{name}_operator", databases=("app",)))


def owners(postgres: PostgresServer) -> list[str]:
    """Return the owner roles of the tenants that are on a server."""
    with postgres.connect() as connection:
        found = connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^t_.*_owner$' ORDER BY 1").fetchall()
    return [str(row[0]) for row in found]


async def change_server(world: TenantWorld, name: str, **spec: Any) -> None:
    """Change fields of a DatabaseServer's spec; None removes one."""
    await world.kube.merge_patch(DATABASESERVERS, name, {"spec": spec})
    await world.reconcile_server(name)
