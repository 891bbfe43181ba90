"""Where a tenant's two schemas live, and what else bears its names, by how it is kept apart from others."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tenantry_operator.model.names import OWNER, TENANTS, TenantNames
from tenantry_operator.model.pool import POOL_CUSTOMERS, POOL_SCHEMA


class Isolation(StrEnum):
    """How a tenant is kept apart."""

    SCHEMA = "Schema"
    """Schemas and roles of its own, in the database that a server has for all of them."""
    DATABASE = "Database"
    """A database of its own with both schemas; its logins connect to no other."""
    POOLED = "Pooled"
    """No schema of its own: rows in the one that a server's pooled tenants share."""


@dataclass(frozen=True)
class Home:
    """Where a schema is, and whose."""

    server: str
    database: str
    schema: str
    owner: str


@dataclass(frozen=True)
class Layout:
    """What of a tenant is where. `database` is the one that its logins connect to, and its services."""

    names: TenantNames
    isolation: Isolation
    server: str
    database: str

    @property
    def is_pooled(self) -> bool:
        return self.isolation is Isolation.POOLED

    @property
    def own_database(self) -> str | None:
        """The database that is this tenant's alone, if it has one: made and dropped with it."""
        return self.database if self.isolation is Isolation.DATABASE else None

    @property
    def groups(self) -> tuple[str, ...]:
        """The roles that the logins are members of: through them they connect, too."""
        if self.is_pooled:
            return (TENANTS, POOL_CUSTOMERS)
        own = (self.names.migrator, self.names.app)
        return own if self.own_database else (*own, TENANTS)

    @property
    def customers(self) -> Home:
        """The customer's schema."""
        if self.is_pooled:
            return self.services
        return Home(self.server, self.database, self.names.schema, self.names.owner)

    @property
    def services(self) -> Home:
        """The services' schema."""
        schema = POOL_SCHEMA if self.is_pooled else self.names.service_schema
        return Home(self.server, self.database, schema, OWNER)

    @property
    def schemas(self) -> Mapping[str, str]:
        """The schemas that are this tenant's alone, and their owners: made, dropped and kept true with it."""
        homes = () if self.is_pooled else (self.customers, self.services)
        return {home.schema: home.owner for home in homes}

    @property
    def holds(self) -> str:
        """Say for a person what of the server is this tenant's, besides its roles."""
        return f"rows in schema {POOL_SCHEMA}" if self.is_pooled else f"schemas {', '.join(self.schemas)}"

    @property
    def group_roles(self) -> tuple[str, ...]:
        """The roles that nobody logs in as, owner first; of a pooled tenant the one that bears the marker."""
        return (self.names.owner,) if self.is_pooled else self.names.group_roles

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role that the tenant may have."""
        return (*self.group_roles, *self.names.logins)


def layout_of(names: TenantNames, isolation: Isolation, *, server: str, database: str) -> Layout:
    """Lay a tenant out on a server; `database` is the one that the server has for all tenants."""
    own = isolation is Isolation.DATABASE
    return Layout(names, isolation, server, names.database if own else database)
