"""The tenant that a piece of work belongs to. Nothing reaches a tenant's rows without one."""

import re
from dataclasses import dataclass
from uuid import UUID

POOL_SCHEMA = "tenantry_pool"
"""The schema that pooled tenants share. There a row is told to be a tenant's by row security, and not by its schema."""

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class TenantScope:
    """One tenant, and where one service finds its rows.

    Raises ValueError for a schema that could not be one of ours, so that a wrong registry row is no injection.
    """

    tenant_id: UUID
    name: str
    server: str
    database: str
    schema: str
    service: str
    login: int = 1
    """Which of the service's logins is a member of the tenant's role."""

    def __post_init__(self) -> None:
        for identifier in (self.schema, self.role, self.owner_role):
            if not _IDENTIFIER.fullmatch(identifier):
                raise ValueError(f"{identifier!r} is no identifier of a tenant")

    @property
    def is_pooled(self) -> bool:
        return self.schema == POOL_SCHEMA

    @property
    def role(self) -> str:
        """The role that may do with the tenant's rows what this service may; a pool's with those of the chosen one."""
        return f"{self.schema}_{self.service}"

    @property
    def owner_role(self) -> str:
        """The role whose comment is the tenant's marker."""
        return f"t_{self.name.replace('-', '_')}_owner"
