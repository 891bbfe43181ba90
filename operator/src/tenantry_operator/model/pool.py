"""The schema that pooled tenants of a server share, and what one of them has in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tenantry_operator.model.names import OWNER, SERVICES, TenantNames

POOL_SCHEMA: Final = "tenantry_pool"
DIRECTORY_SCHEMA: Final = "tenantry"
DIRECTORY_TABLE: Final = "pooled"

POOL_CUSTOMERS: Final = "tenantry_pool_customers"
"""The group of the pooled customers' logins: it reads, and row security says what."""

OWNERS_PART: Final = "owner"
CUSTOMERS_PART: Final = "customers"


def pool_role(service: str) -> str:
    """Return the role by which a service reaches the pool; it chooses a tenant of it."""
    return f"{POOL_SCHEMA}_{service}"


POOL_ROLES: Final[Mapping[str, str]] = {
    OWNERS_PART: OWNER,
    CUSTOMERS_PART: POOL_CUSTOMERS,
    **{service: pool_role(service) for service in SERVICES},
}
"""Who plays which part in the revisions' statements."""


@dataclass(frozen=True)
class PoolEntry:
    """A tenant in the directory of the pool: who reads its rows, and whether anybody does."""

    id: str
    name: str
    logins: tuple[str, str]
    open: bool


def pool_entry(names: TenantNames, identity: str, *, is_open: bool) -> PoolEntry:
    return PoolEntry(identity, names.name, names.logins, is_open)


@dataclass(frozen=True)
class PoolPart:
    """What one tenant's pass sees of the pool."""

    version: str | None = None
    """None: there is no pool yet."""
    tables: frozenset[str] = frozenset()
    entry: PoolEntry | None = None
