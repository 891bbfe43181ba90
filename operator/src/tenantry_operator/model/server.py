"""What a database server should have for all of its tenants together, and what was seen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenantry_operator.model.tenant import ForeignGrant, Grant, Membership, ObservedSecret, Place, Role


def claim(installation: str, server: str) -> str:
    """Return the comment by which a DatabaseServer holds a server; without its name the server is free to hold.

    The shared roles are the whole server's: two DatabaseServers of one server would take turns at the passwords.
    """
    return f"{installation}/{server}"


@dataclass(frozen=True)
class ServerCatalogue:
    """One database of a server, and the roles that all tenants share."""

    version: int
    """As in server_version_num: 150013."""
    version_text: str
    me: str
    """The operator's login."""
    owns_database: bool
    may_create_roles: bool
    may_create_databases: bool
    may_end_sessions: bool
    superuser: bool = False
    databases: frozenset[str] = frozenset()
    """Those that were asked about and exist."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    memberships: frozenset[Membership] = frozenset()
    """Of the shared roles that the operator and the services belong to; not those of tenants' logins."""
    strays: frozenset[Membership] = frozenset()
    """What the group of tenants' logins belongs to, and who belongs to a service's login."""
    group_grants: frozenset[ForeignGrant] = frozenset()
    """What the group holds beside privileges on databases and schemas."""
    database_grants: frozenset[Grant] = frozenset()
    public_grants: frozenset[Grant] = frozenset()
    """What PUBLIC may do in the schema public."""
    max_connections: int = 100
    reserved_connections: int = 3
    """Kept back for administrators."""
    claim: str | None = None
    """Whose server it is: the comment on the shared owner role."""


@dataclass(frozen=True)
class ObservedServer:
    catalogue: ServerCatalogue
    secrets: Mapping[str, ObservedSecret | None] = field(default_factory=dict)
    """By service."""


@dataclass(frozen=True)
class DesiredServer:
    name: str
    uid: str
    installation: str
    place: Place
    namespace: str
    registry_database: str | None = None
    """The registry's database if it is on this server."""
    logins: int = 1
    """How many logins each service needs for the tenants that are there, and some to come."""
