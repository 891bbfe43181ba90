"""Keeps a server's pool whole: each pass over its DatabaseServer looks at every guard of it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from tenantry_crds.reasons import Reason
from tenantry_operator.apply.pool import Mended, mend
from tenantry_operator.clients.postgres import Connection
from tenantry_operator.metrics import Metrics
from tenantry_operator.observe.pool import observe_pool
from tenantry_operator.plan.pool import PoolAction, describe_pool, plan_pool
from tenantry_operator.plan.status import Problem
from tenantry_operator.reconcile.pool_desired import pool_shape
from tenantry_operator.reconcile.tenant_execution import failure_problem

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
    mended = await mend(connection, actions, version=found.version)
    if mended.moved:
        # The rest was for another revision: what is left to mend, the next pass sees.
        actions = mended.done
    for action in actions:
        metrics.drift_found.labels(type(action).__name__).inc()
        if action in mended.done:
            metrics.drift_repaired.labels(type(action).__name__).inc()
    if not actions:
        return PoolKept()
    said = tuple(describe_pool(action) for action in mended.done)
    logger.warning("the pool was changed by hand", extra={"server": server, "repaired": said})
    return PoolKept(said, _problem(actions, mended) if mended.failures and not mended.moved else None)


def _problem(actions: Sequence[PoolAction], mended: Mended) -> Problem:
    left = "; ".join(describe_pool(action) for action in actions if action not in mended.done)
    first = mended.failures[0]
    if first.transient:
        said = f"the pool is not as it should be: {left} ({first.message}). It is tried again"[:1000]
        return Problem(failure_problem(first).reason, said)
    said = f"the pool is open, and only an administrator can close it: {left} ({first.message})"[:1000]
    return Problem(Reason.PRIVILEGES_MISSING, said, lasting=True)
