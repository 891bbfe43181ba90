"""The actions of a pooled Tenant's plan that no other Tenant has."""

from dataclasses import dataclass

from tenantry_operator.model.pool import PoolEntry
from tenantry_operator.plan.action import Action


@dataclass(frozen=True, kw_only=True)
class MakePool(Action):
    """Make the server's pool at a revision; nothing if somebody else made it meanwhile."""

    to: str


@dataclass(frozen=True, kw_only=True)
class EnterPool(Action):
    """Write what the pool's directory says of the tenant."""

    entry: PoolEntry


@dataclass(frozen=True, kw_only=True)
class CloseEntry(Action):
    """Let nobody reach a row of the tenant any more, whatever else fails."""

    id: str


@dataclass(frozen=True, kw_only=True)
class LeavePool(Action):
    """Delete the tenant's rows, and then its entry."""

    id: str


PoolTenantAction = MakePool | EnterPool | CloseEntry | LeavePool
