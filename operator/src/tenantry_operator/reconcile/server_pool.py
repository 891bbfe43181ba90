"""Keeps a server's pool whole: each pass over its DatabaseServer looks at every guard of it."""

import logging
from dataclasses import dataclass

from tenantry_crds.reasons import Reason
from tenantry_operator.apply.pool import mend
from tenantry_operator.clients.postgres import Connection
from tenantry_operator.metrics import Metrics
from tenantry_operator.observe.pool import observe_pool
from tenantry_operator.plan.pool import describe_pool, plan_pool
from tenantry_operator.plan.status import Problem
from tenantry_operator.reconcile.pool_desired import pool_shape

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolKept:
    """What was put right, in words, and what could not be."""

    repaired: tuple[str, ...] = ()
    problem: Problem | None = None


async def keep_pool(connection: Connection, server: str, metrics: Metrics) -> PoolKept:
    """Look at the pool, if there is one, and mend it. Raises psycopg.Error if it cannot be looked at."""
    found = await observe_pool(connection)
    if found is None:
        return PoolKept()
    actions = plan_pool(pool_shape(found.version), found)
    if not actions:
        return PoolKept()
    mended = await mend(connection, actions)
    for action in actions:
        metrics.drift_found.labels(type(action).__name__).inc()
        if action in mended.done:
            metrics.drift_repaired.labels(type(action).__name__).inc()
    said = tuple(describe_pool(action) for action in mended.done)
    logger.warning("the pool was changed by hand", extra={"server": server, "repaired": said})
    if not mended.failures:
        return PoolKept(said)
    left = "; ".join(describe_pool(action) for action in actions if action not in mended.done)
    why = mended.failures[0].message
    message = f"the pool is open, and only an administrator can close it: {left} ({why})"[:1000]
    return PoolKept(said, Problem(Reason.PRIVILEGES_MISSING, message, lasting=not mended.failures[0].transient))
