"""The DatabaseServer: one Postgres that holds tenants."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from tenantry_crds.base import DnsSubdomain, KubeObject, ObservedGeneration, Part, Port, Rule
from tenantry_crds.conditions import Conditions
from tenantry_crds.endpoints import HOST, Endpoints

DATABASE = r"^[A-Za-z_][A-Za-z0-9_-]*$"


class TlsMode(StrEnum):
    VERIFY_FULL = "verify-full"
    REQUIRE = "require"
    DISABLE = "disable"


class CaSecretRef(Part):
    """A certificate authority in a Secret of tenantry-system."""

    name: Annotated[DnsSubdomain, Field(description="Name of the Secret, in tenantry-system.")]
    key: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^[-._a-zA-Z0-9]+$",
            description="Key with the certificates in PEM. Absent: ca.crt.",
        ),
    ] = None


class CredentialsSecretRef(Part):
    """A log-in in a Secret of tenantry-system."""

    name: Annotated[
        DnsSubdomain, Field(description="Name of the Secret, in tenantry-system, with the keys username and password.")
    ]


class Tls(Part):
    """How connections are encrypted and whom they trust."""

    mode: Annotated[
        TlsMode | None,
        Field(
            description="verify-full: encrypted, and the certificate must be for the host. require: encrypted, whoever "
            "answers. disable: not encrypted. Absent: verify-full."
        ),
    ] = None
    ca_secret_ref: Annotated[
        CaSecretRef | None,
        Field(description="The authority that signed the server's certificate. Absent: those that the system trusts."),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="server-ca-is-checked",
            rule="!has(self.caSecretRef) || !has(self.mode) || self.mode == 'verify-full'",
            message="caSecretRef is checked only by mode verify-full",
            field_path=".caSecretRef",
        ),
    )


class ServerLimits(Part):
    """What the operator and tenants may take of the server."""

    operator_connections: Annotated[
        int | None, Field(ge=2, le=50, description="Connections that the operator holds at most. Absent: 8.")
    ] = None
    tenants: Annotated[
        int | None,
        Field(
            ge=0,
            le=100_000,
            description="Tenants that are placed on the server at most; those that are there already stay. Absent: "
            "100000 below Postgres 16; 1000 from then on, since each tenant more makes changes slower there.",
        ),
    ] = None


class DatabaseServerSpec(Part):
    """What is wanted."""

    host: Annotated[
        str, Field(min_length=1, max_length=253, pattern=HOST, description="Host name or address of the server.")
    ]
    port: Annotated[Port | None, Field(description="Port of the server. Absent: 5432.")] = None
    database: Annotated[
        str,
        Field(
            min_length=1,
            max_length=63,
            pattern=DATABASE,
            description="The database that holds the tenants' schemas. It must exist and belong to the log-in.",
        ),
    ]
    tls: Annotated[Tls | None, Field(description="How connections are encrypted and whom they trust.")] = None
    credentials_secret_ref: Annotated[
        CredentialsSecretRef,
        Field(
            description="The operator's log-in: it owns the database, has CREATEROLE and is in pg_signal_backend; "
            "never a superuser."
        ),
    ]
    endpoints: Annotated[Endpoints | None, Field(description="Where tenants reach the server, and what else.")] = None
    default: Annotated[
        bool | None,
        Field(
            description="Whether Tenants that name no server may be placed here; of several servers, on the one with "
            "most room. Absent: false."
        ),
    ] = None
    limits: Annotated[
        ServerLimits | None, Field(description="What the operator and tenants may take of the server.")
    ] = None


class ServerCapacity(Part):
    """What bounds the tenants of the server."""

    tenants: Annotated[int, Field(ge=0, le=10**6, description="Tenants that are placed on the server at most.")]
    tenants_per_login: Annotated[
        int, Field(ge=1, le=10**6, description="Tenants that one login of a service reaches at most.")
    ]
    service_logins: Annotated[int, Field(ge=1, le=10**4, description="Logins that each service has on the server.")]


class DatabaseServerStatus(Part):
    """What is observed."""

    observed_generation: Annotated[
        ObservedGeneration, Field(description="The metadata.generation that this status is of; -1 before the first.")
    ] = -1
    version: Annotated[str | None, Field(max_length=64, description="The server's version, as in 15.14.")] = None
    tenants: Annotated[int | None, Field(ge=0, le=10**6, description="Tenants that are placed on the server.")] = None
    capacity: Annotated[
        ServerCapacity | None, Field(description="What bounds the tenants of the server; absent until it was reached.")
    ] = None
    conditions: Conditions = ()


class DatabaseServer(KubeObject):
    """A Postgres server that holds tenants, and the log-in by which the operator works on it."""

    spec: Annotated[DatabaseServerSpec, Field(description="What is wanted.")]
    status: Annotated[DatabaseServerStatus, Field(description="What is observed.")] = DatabaseServerStatus()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="server-name",
            rule="self.metadata.name.matches('^[a-z][a-z0-9-]{0,38}$')",
            message="a DatabaseServer's name starts with a letter, has only a-z, 0-9 and -, and at most 39 characters",
            field_path=".metadata.name",
        ),
    )
