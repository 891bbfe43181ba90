"""Other ways to a server than the one that the operator takes: a pooler before it, replicas of it."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from tenantry_crds.base import Part, Port, Rule

# A host name or an address, one only: a list with commas or a socket's folder is not a host here.
HOST = r"^[A-Za-z0-9:]([A-Za-z0-9.:_-]*[A-Za-z0-9.:])?$"

Host = Annotated[str, Field(min_length=1, max_length=253, pattern=HOST)]


class PoolerMode(StrEnum):
    """How long a pooler lends a connection of the server."""

    TRANSACTION = "Transaction"
    SESSION = "Session"


class Endpoint(Part):
    """A host and a port."""

    host: Annotated[Host, Field(description="Host name or address.")]
    port: Annotated[Port | None, Field(description="Port. Absent: 5432.")] = None


class Pooler(Part):
    """A connection pooler, as PgBouncer, before the server."""

    host: Annotated[Host, Field(description="Host name or address.")]
    port: Annotated[Port | None, Field(description="Port. Absent: 5432.")] = None
    mode: Annotated[
        PoolerMode | None,
        Field(
            description="How long a connection of the server is lent: for a Transaction, or for the client's whole "
            "Session. Tenants' Secrets say it as pooler_mode. Absent: Transaction."
        ),
    ] = None


_SAME = "{}.host == {}.host && (has({}.port) ? {}.port : 5432) == (has({}.port) ? {}.port : 5432)"


def _same(one: str, other: str) -> str:
    """Write the CEL that says that two endpoints are one."""
    return _SAME.format(one, other, one, one, other, other)


class Endpoints(Part):
    """Where tenants reach the server. The operator and the services take spec.host and spec.port."""

    primary: Annotated[
        Endpoint | None,
        Field(description="The server itself, as host and port of tenants' Secrets. Absent: spec.host and spec.port."),
    ] = None
    pooler: Annotated[
        Pooler | None,
        Field(
            description="A pooler before the server, as pooler_host, pooler_port, pooler_mode and pooler_uri of "
            "tenants' Secrets. It lets tenants' logins through by their own passwords, with the server's TLS mode and "
            "authority."
        ),
    ] = None
    replicas: Annotated[
        tuple[Endpoint, ...] | None,
        Field(
            min_length=1,
            max_length=8,
            description="Replicas that can only be read, as readonly_host, readonly_port and readonly_uri of tenants' "
            "Secrets: lists with commas if there are several, as libpq reads them.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="server-replicas-differ",
            rule=f"!has(self.replicas) || self.replicas.all(a, self.replicas.exists_one(b, {_same('a', 'b')}))",
            message="no replica is there twice",
            field_path=".replicas",
        ),
        Rule(
            name="server-replica-is-not-the-primary",
            rule=f"!has(self.replicas) || !has(self.primary) || !self.replicas.exists(a, {_same('a', 'self.primary')})",
            message="a replica is another endpoint than the primary",
            field_path=".replicas",
        ),
        Rule(
            name="server-pooler-is-not-the-primary",
            rule=f"!has(self.pooler) || !has(self.primary) || !({_same('self.pooler', 'self.primary')})",
            message="the pooler is another endpoint than the primary",
            field_path=".pooler",
        ),
    )
