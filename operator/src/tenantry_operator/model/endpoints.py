"""Other ways to a server than the direct one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int


@dataclass(frozen=True)
class Endpoints:
    """Where tenants reach a server; what is None or empty is not there."""

    primary: Endpoint | None = None
    """In the place of the server's own host and port."""
    pooler: Endpoint | None = None
    pooler_mode: str = ""
    replicas: tuple[Endpoint, ...] = ()
