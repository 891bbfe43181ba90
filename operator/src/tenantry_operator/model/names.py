"""Every name that is derived from a tenant's. No two tenants share one; a property test says so."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

OWNER: Final = "tenantry_owner"
"""Owns every services' schema; nobody logs in as it."""

TENANTS: Final = "tenantry_tenants"
"""The group through which tenants' logins may connect.

A GRANT on the database itself from two sessions at once fails ("tuple concurrently updated"); a membership does not.
"""

SERVICES: Final = ("accounts",)
"""The services that have a role in each tenant and a login on each server."""


_CUSTOMERS_ROLE: Final = re.compile(r"t_.+_(owner|app|ro|migrator|login_[ab])")
_SERVICES_ROLE: Final = re.compile(rf"s_.+_({'|'.join(SERVICES)})")


def is_customers_role(role: str) -> bool:
    """Whether a role is of the shape of some customer's: a tenant may do with what it owns as it likes."""
    return _CUSTOMERS_ROLE.fullmatch(role) is not None


def is_tenants_role(role: str) -> bool:
    """Whether a role is of the shape of some tenant's, be it the customer's or a service's, or of the system's own."""
    return is_customers_role(role) or _SERVICES_ROLE.fullmatch(role) is not None or role.startswith("tenantry_")


_SERVICE_LOGIN: Final = re.compile(r"tenantry_svc_[a-z]+_([1-9][0-9]{0,3})")


def service_login(service: str, number: int = 1) -> str:
    """Return a login by which a service reaches tenants of a server, each by SET ROLE; the first is on every server."""
    return f"tenantry_svc_{service}_{number}"


def login_number(login: str) -> int | None:
    """Return which of a service's logins this is; None when it is none of ours."""
    found = _SERVICE_LOGIN.fullmatch(login)
    return int(found[1]) if found else None


def service_secret(service: str, server: str) -> str:
    """Return the name of the Secret with the service's login, in the operator's namespace."""
    return f"tenantry-{service}-database-{server}"


@dataclass(frozen=True)
class TenantNames:
    """What is called how for the Tenant `name`, which the API server has checked."""

    name: str

    @cached_property
    def key(self) -> str:
        return self.name.replace("-", "_")

    @cached_property
    def schema(self) -> str:
        """The customer's schema."""
        return f"t_{self.key}"

    @cached_property
    def database(self) -> str:
        """The database of its own, of a tenant that has one."""
        return self.schema

    @cached_property
    def service_schema(self) -> str:
        """The services' schema, of which the customer's login sees nothing."""
        return f"s_{self.key}"

    @property
    def owner(self) -> str:
        """Owns the customer's schema and carries the marker."""
        return f"{self.schema}_owner"

    @property
    def app(self) -> str:
        """Reads and writes the customer's rows."""
        return f"{self.schema}_app"

    @property
    def readonly(self) -> str:
        """Reads the customer's rows, if the spec wants it; whoever is to read is lent it by an administrator."""
        return f"{self.schema}_ro"

    @property
    def migrator(self) -> str:
        """The only member of owner. It inherits nothing, so that a login is owner only after SET ROLE."""
        return f"{self.schema}_migrator"

    @cached_property
    def logins(self) -> tuple[str, str]:
        """The two slots, so that one works while the other takes its place."""
        return (f"{self.schema}_login_a", f"{self.schema}_login_b")

    def other_login(self, login: str) -> str:
        first, second = self.logins
        return first if login == second else second

    def service_role(self, service: str) -> str:
        """Return the role by which a service reaches this tenant's tables."""
        return f"{self.service_schema}_{service}"

    @cached_property
    def service_roles(self) -> dict[str, str]:
        """Service to role."""
        return {service: self.service_role(service) for service in SERVICES}

    @cached_property
    def group_roles(self) -> tuple[str, ...]:
        """The roles that nobody logs in as, owner first."""
        return (self.owner, self.app, self.readonly, self.migrator, *self.service_roles.values())

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Every role that the tenant may have."""
        return (*self.group_roles, *self.logins)

    @property
    def schemas(self) -> tuple[str, str]:
        return (self.schema, self.service_schema)
