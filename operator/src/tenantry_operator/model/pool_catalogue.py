"""The pool of a server as a whole: what should guard it, and what was seen of that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tenantry_operator.model.names import SERVICES, login_number, service_login
from tenantry_operator.model.pool import pool_role
from tenantry_operator.model.tenant import Grant, Membership, Role


def pool_members(logins: Iterable[str]) -> frozenset[Membership]:
    """Return the only ones who may choose a tenant: the services' logins, of which these are there."""
    there = frozenset(logins)
    return frozenset(
        Membership(pool_role(service), login) for service in SERVICES for login in there if is_login_of(login, service)
    )


def is_login_of(login: str, service: str) -> bool:
    number = login_number(login)
    return number is not None and login == service_login(service, number)


@dataclass(frozen=True)
class PoolTable:
    name: str
    owner: str
    secured: bool = True
    forced: bool = True


@dataclass(frozen=True, order=True)
class PoolPolicy:
    """A policy as the catalogue has it."""

    table: str
    name: str
    permissive: bool
    command: str
    roles: tuple[str, ...]
    using: str
    check: str


@dataclass(frozen=True, order=True)
class PoolFunction:
    """A function of the directory as the catalogue has it."""

    name: str
    owner: str
    definer: bool
    settings: tuple[str, ...]
    source: str
    """The digest of its text."""


@dataclass(frozen=True)
class PoolCatalogue:
    """All there is of a pool, but rows and columns."""

    version: str
    directory_version: str | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    memberships: frozenset[Membership] = frozenset()
    """In the pool's roles; of the customers' group those that are no customer's login."""
    service_logins: frozenset[str] = frozenset()
    """All that are on the server."""
    schemas: Mapping[str, str] = field(default_factory=dict)
    schema_grants: frozenset[Grant] = frozenset()
    tables: Mapping[str, PoolTable] = field(default_factory=dict)
    table_grants: frozenset[Grant] = frozenset()
    policies: frozenset[PoolPolicy] = frozenset()
    functions: frozenset[PoolFunction] = frozenset()
    function_grants: frozenset[Grant] = frozenset()


@dataclass(frozen=True)
class PoolShape:
    """What there should be at a revision."""

    revision: str
    tables: tuple[str, ...]
    policies: frozenset[PoolPolicy]
    table_grants: frozenset[Grant]
    directory_version: str
    functions: frozenset[PoolFunction]
    function_grants: frozenset[Grant]
