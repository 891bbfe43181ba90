"""Says which of what is wrong with a pool opens a way between its tenants, or to what is none of theirs."""

from collections.abc import Iterable
from typing import Final

from tenantry_operator.model.exposure import Exposure, Way
from tenantry_operator.model.pool import POOL_CUSTOMERS
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.pool import (
    DropPolicy,
    GuardTable,
    PoolAction,
    RestoreDirectory,
    RevokeOnFunction,
    describe_pool,
)

OPENING: Final = (
    do.AlterRole,  # who logs in as a role of the pool chooses any tenant
    do.StripRole,
    do.RevokeMembership,
    do.OwnSchema,
    do.OwnTable,
    do.RevokeOnSchema,
    do.RevokeOnTable,
    RevokeOnFunction,
    GuardTable,
    DropPolicy,
    RestoreDirectory,
)
"""What else a plan does gives back what is missing: that shuts somebody out, and lets nobody in."""


def pool_ways(actions: Iterable[PoolAction]) -> frozenset[Exposure]:
    """Name what would close the pool and is not done yet; it is as open to one of its tenants as to all."""
    return frozenset(
        Exposure(Way.POOL_GUARD, describe_pool(action), who=POOL_CUSTOMERS)
        for action in actions
        if isinstance(action, OPENING)
    )
