"""Where a tenant's two schemas live, and what else bears its names, by how it is kept apart from others."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tenantry_operator.model.names import OWNER, TenantNames


class Isolation(StrEnum):
    """How a tenant is kept apart."""

    SCHEMA = "Schema"
    """Schemas and roles of its own, in the database that a server has for all of them."""


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
    def customers(self) -> Home:
        """The customer's schema."""
        return Home(self.server, self.database, self.names.schema, self.names.owner)

    @property
    def services(self) -> Home:
        """The services' schema."""
        return Home(self.server, self.database, self.names.service_schema, OWNER)

    @property
    def schemas(self) -> Mapping[str, str]:
        """The schemas that are this tenant's alone, and their owners: made, dropped and kept true with it."""
        return {home.schema: home.owner for home in (self.customers, self.services)}

    @property
    def group_roles(self) -> tuple[str, ...]:
        """The roles that nobody logs in as, owner first."""
        return self.names.group_roles

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role that the tenant may have."""
        return self.names.roles


def layout_of(names: TenantNames, isolation: Isolation, *, server: str, database: str) -> Layout:
    """Lay a tenant out on a server; `database` is the one that the server has for all tenants."""
    return Layout(names, isolation, server, database)
