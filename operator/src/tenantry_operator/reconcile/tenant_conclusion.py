"""The end of a pass over a Tenant: its status, its Events, and whether it may go."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tenantry_crds import ConditionType, Tenant, TenantPhase, absent
from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.clients.kube import TENANTS, Kube, RawObject
from tenantry_operator.engine.cache import ObjectCache, asked_for
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.queue import Result
from tenantry_operator.model.tenant import RowState
from tenantry_operator.plan.status import Problem, reason_shown, status_of_unreadable
from tenantry_operator.plan.tenant_status import TenantVerdict, tenant_status
from tenantry_operator.reconcile.tenant_credentials import Timers
from tenantry_operator.reconcile.tenant_events import NOTHING_TOLD, DriftTold, events_of, moved_to
from tenantry_operator.reconcile.tenant_force import TenantEscape
from tenantry_operator.reconcile.tenant_namespace import Children
from tenantry_operator.reconcile.tenant_sweep import Seen, TenantSweep

logger = logging.getLogger(__name__)

KIND: Final = "Tenant"


@dataclass(frozen=True)
class Pass:
    """What a pass came to, beyond the verdict."""

    verdict: TenantVerdict
    done: tuple[object, ...] = ()
    fresh: bool = False
    """Whether the tenant was not there before."""
    secret_version: str | None = None
    """The resourceVersion of the Secret that the pass saw or wrote last."""
    was: RowState | None = None
    """What the registry said of the tenant before the pass."""
    seen: Seen | None = None
    """What all this was concluded from; None when it is not known any more."""
    drift: DriftTold = NOTHING_TOLD
    children: Children = frozenset()
    backed_up: str | None = None
    """Where the backup is, said by the pass that dropped what is in it."""


class TenantConclusion:
    """Writes down what a pass came to, and lets the sweep know what the next one need not look at."""

    def __init__(
        self,
        *,
        kube: Kube,
        cache: ObjectCache,
        clock: Clock,
        sweep: TenantSweep,
        timers: Timers,
        escape: TenantEscape,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._clock = clock
        self._sweep = sweep
        self._timers = timers
        self._escape = escape

    async def conclude(self, body: RawObject, tenant: Tenant, done: Pass) -> Result:
        """Write the status if it changed, say what was done, and let the object go when nothing of it is left."""
        problem = done.verdict.problem
        if tenant.metadata.is_terminating:
            if problem is None:
                await self._announce(body, tenant, done)
            else:
                others = self._sweep.other_secrets(tenant.metadata.name)
                problem = await self._escape.answer(body, tenant, problem, secrets=others)
            if problem is None:
                await self.patch_finalizers(body, [one for one in tenant.metadata.finalizers if one != api.FINALIZER])
                return Result()
            done = replace(done, verdict=replace(done.verdict, problem=problem))
        status = tenant_status(tenant, done.verdict, now=self._clock.now())
        raw = status.model_dump(by_alias=True, exclude_none=True, mode="json")
        shown = body.get("status") or {}
        left = body
        if raw != shown:
            operations = [{"op": "add", "path": "/status", "value": raw}]
            left = await self._kube.json_patch(TENANTS, tenant.metadata.name, operations, subresource="status")
            self._cache.put(KIND, left)
        await self._announce(body, tenant, done)
        desired = done.verdict.desired
        # What somebody asked for meanwhile, this pass did not see, though the answer to its own write may hold it.
        if problem is None and desired is not None and asked_for(left) == asked_for(body):
            secret = (desired.secret_name, desired.secret_namespace)
            versions = (left["metadata"]["resourceVersion"], done.secret_version)
            self._sweep.settle(tenant.metadata.name, secret, versions=versions, children=done.children)
        if problem is None or problem.lasting:
            if done.seen is not None:
                self._sweep.remember(tenant.metadata.name, done.seen)
            # What has a problem is looked at by each sweep anyway, and not at once again and again.
            rotation = done.verdict.rotation if problem is None else None
            self._timers.set(tenant.metadata.name, rotation.due if rotation else None)
            error = problem.reason.value if problem is not None else ""
            return Result(requeue_after=self._timers.left(tenant.metadata.name), error=error)
        return Result(failed=True, error=problem.reason.value)

    async def unreadable(self, body: RawObject, problem: Problem) -> None:
        """Leave a Tenant alone that a newer API has let in and this version cannot read, and say so once."""
        shown = body.get("status") or {}
        raw = {**status_of_unreadable(body, problem, now=self._clock.now()), "phase": TenantPhase.FAILED.value}
        if raw == shown:
            return
        name = body["metadata"]["name"]
        logger.error("a Tenant cannot be read", extra={"tenant": name, "error": problem.message})
        operations = [{"op": "add", "path": "/status", "value": raw}]
        self._cache.put(KIND, await self._kube.json_patch(TENANTS, name, operations, subresource="status"))
        if reason_shown(shown, ConditionType.READY) != problem.reason:
            await self._kube.event(
                about=body, type="Warning", reason=problem.reason, message=problem.message, action="Reconcile"
            )

    async def patch_finalizers(self, body: RawObject, finalizers: list[str]) -> RawObject:
        """Set the finalizers. Raises Invalid when the object is another one by now."""
        metadata = body["metadata"]
        operations: list[Mapping[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        written = await self._kube.json_patch(TENANTS, metadata["name"], operations)
        self._cache.put(KIND, written)
        return written

    async def _announce(self, body: RawObject, tenant: Tenant, done: Pass) -> None:
        before = reason_shown(body.get("status") or {}, ConditionType.READY)
        leaving = reason_shown(body.get("status") or {}, ConditionType.DELETING)
        closed = reason_shown(body.get("status") or {}, ConditionType.SUSPENDED)
        moved = moved_to(absent.lifecycle(tenant.spec), done.done, was=done.was, shown=closed)
        shown, problem = {before, leaving}, done.verdict.problem
        told = events_of(tenant, problem, done.done, fresh=done.fresh, shown=shown, told=done.drift, moved=moved)
        for event in told:
            await self._kube.event(
                about=body, type=event.type, reason=event.reason, message=event.message, action=event.action
            )
        if done.backed_up:
            logger.info("Tenant backed up", extra={"tenant": tenant.metadata.name, "backup": done.backed_up})
            await self._kube.event(
                about=body, type="Normal", reason=Reason.BACKED_UP, message=done.backed_up, action="Delete"
            )
        if done.done:
            said = dict(Counter(type(action).__name__ for action in done.done))
            logger.info("Tenant reconciled", extra={"tenant": tenant.metadata.name, "actions": said})
