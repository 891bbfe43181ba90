"""One pass over one MigrationRun: look at all schemas, move some of them, say how far it is."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from pydantic import ValidationError

from tenantry_crds import ConditionType, MigrationRun, MigrationRunPhase, absent
from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.apply.migration import copy_versions, release
from tenantry_operator.clients.kube import MIGRATIONRUNS, ApiError, Invalid, Kube, NotFound, RawObject
from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.errors import error_word
from tenantry_operator.engine.fence import Fence, FenceError
from tenantry_operator.engine.moving import Moving
from tenantry_operator.engine.queue import Key, Result
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.migration import Member, ObservedFleet
from tenantry_operator.plan.migration import (
    FinishRun,
    MoveTenants,
    Progress,
    RefuseRun,
    ReleaseRevision,
    ShowPlan,
    StopRun,
    plan_run,
    progress_of,
)
from tenantry_operator.plan.migration_status import (
    ENDED,
    RunVerdict,
    budget_exceeded,
    ended_before,
    planned,
    run_status,
    told,
)
from tenantry_operator.plan.status import (
    Problem,
    reason_shown,
    status_of_unreadable,
    unreadable,
    without_unreadable_status,
)
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.reconcile.migration_desired import desired_run, plan_hash, runs_before
from tenantry_operator.reconcile.migration_fleet import Fleet, FleetView
from tenantry_operator.reconcile.migration_moving import Memory, Moved, Mover, Outcome, Times
from tenantry_operator.reconcile.tenant_execution import database_problem
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

KIND: Final = "MigrationRun"
TURN: Final = "MigrationRun/"
"""The lock of the one run that goes; no Tenant can have this name."""
AGAIN: Final = 1.0
"""Seconds until a run that waits for something looks again."""
PASSES_END_WITHIN: Final = 2.0
"""Seconds to wait for the passes over Tenants that are under way; then the run looks again later."""
TOLD_EVERY: Final = 1.0
"""Seconds between two words on the progress of a run."""
SHARE_OF_SLICE, SHARE_OF_TENANT = 1 / 6, 0.7
"""Of a pass' time: how long tenants are begun, and how long the last one may take."""

RUNNING = MigrationRunPhase.RUNNING
PENDING = MigrationRunPhase.PENDING


@dataclass
class _Telling:
    """The object as it was last written, and when."""

    body: RawObject
    last: float


class MigrationRunReconciler:
    """Moves the tenants' schemas, one run at a time."""

    kind = KIND

    def __init__(
        self,
        *,
        kube: Kube,
        servers: Servers,
        addresses: Addresses,
        cache: ObjectCache,
        fence: Fence,
        settings: OperatorSettings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._kube = kube
        self._servers = servers
        self._addresses = addresses
        self._cache = cache
        self._fence = fence
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._memories: dict[str, Memory] = {}
        self._look = FleetView(servers, addresses, cache).look
        self.moving = Moving(clock)

    async def sweep(self) -> AsyncIterator[Key]:
        """Yield the runs that are not at their end: what they wait for tells nobody."""
        for body in self._cache.all(KIND):
            if not _is_over(body):
                yield Key(KIND, body["metadata"]["name"])

    async def reconcile(self, key: Key) -> Result:
        """Run one pass: move tenants for a while, and ask for another."""
        body = self._cache.get(key)
        if body is None or body["metadata"].get("deletionTimestamp") or _is_over(body):
            self._forget_all_but_live()
            return Result()
        try:
            return await self._read_and_reconcile(body)
        except (ApiError, FenceError) as error:
            if not isinstance(error, NotFound | Invalid):
                logger.warning("the pass did not come to its end", extra={"run": key.name, "error": str(error)})
            return Result(failed=self._cache.get(key) is not None, error=error_word(error))

    async def _read_and_reconcile(self, body: RawObject) -> Result:
        run = _readable(body)
        if isinstance(run, Problem):
            await self._write(body, status_of_unreadable(body, run, now=self._clock.now()), run)
            return Result(error=run.reason.value)
        busy = self._runs_already(run)
        if busy is not None:
            # Who goes looks at all schemas; who waits need not.
            return await self._say(body, run, RunVerdict(PENDING, plan_hash=plan_hash(run.spec.to), waits_for=busy))
        try:
            registry = await self._addresses.registry(self._settings.registry_server, self._settings.registry_database)
            fleet = await self._look(registry, self._memories.setdefault(run.metadata.uid, Memory()))
            return await self._turn(body, run, fleet, registry=registry)
        except NoAddress as error:
            problem = Problem(Reason.REGISTRY_UNAVAILABLE, f"the registry is not to be had: {error}")
        except (DatabaseError, psycopg.Error) as error:
            said = database_problem(error, server=self._settings.registry_server)
            problem = Problem(Reason.REGISTRY_UNAVAILABLE, f"the registry: {said.message}")
        return await self._say(body, run, RunVerdict(PENDING, problem=problem))

    async def _turn(self, body: RawObject, run: MigrationRun, fleet: Fleet, *, registry: ServerAddress) -> Result:
        desired = desired_run(run)
        ended = run.metadata.annotations.get(api.ANNOTATION_ENDED)
        if ended is not None:
            return await self._say(
                body, run, ended_before(run, ended, progress_of(desired, fleet.now()), digest=plan_hash(run.spec.to))
            )
        plan = plan_run(desired, fleet.now())
        if isinstance(plan, RefuseRun):
            problem = Problem(plan.reason, plan.message, lasting=True)
            return await self._say(body, run, self._verdict(run, PENDING, plan.progress, problem=problem))
        if isinstance(plan, ShowPlan):
            return await self._end(body, run, MigrationRunPhase.PLANNED, plan.progress)
        first = self._goes_first(run, fleet.now())
        if first is not None:
            verdict = replace(self._verdict(run, PENDING, progress_of(desired, fleet.now())), waits_for=first)
            return await self._say(body, run, verdict)
        try:
            async with self._fence.hold(TURN):
                return await self._go(body, run, fleet, registry=registry)
        except DatabaseError as error:
            problem = database_problem(error, server=self._settings.registry_server)
            return await self._say(body, run, self._verdict(run, PENDING, None, problem=problem))

    def _runs_already(self, run: MigrationRun) -> str | None:
        """Name an older run that is at work, unless this one has ended or changes nothing."""
        if api.ANNOTATION_ENDED in run.metadata.annotations or absent.is_dry_run(run.spec):
            return None
        return next((one.metadata.name for one in self._older(run) if one.status.phase is RUNNING), None)

    def _goes_first(self, run: MigrationRun, fleet: ObservedFleet) -> str | None:
        """Name the run before this one; one that is refused lets others by, which may be what it waits for."""
        for one in self._older(run):
            if not isinstance(plan_run(desired_run(one), replace(fleet, failures={})), RefuseRun):
                return one.metadata.name
        return None

    def _older(self, run: MigrationRun) -> tuple[MigrationRun, ...]:
        bodies = [one for one in self._cache.all(KIND) if not one["metadata"].get("deletionTimestamp")]
        others = [_readable(one) for one in bodies if not _has_ended(one)]
        return runs_before(run, (other for other in others if isinstance(other, MigrationRun)))

    async def _go(self, body: RawObject, run: MigrationRun, fleet: Fleet, *, registry: ServerAddress) -> Result:
        """Do what the plan says, until the time of this pass is over or there is nothing to do now."""
        desired, began = desired_run(run), self._clock.monotonic()
        mover = self._mover(registry)
        wrong = {one.id: one.version for one in fleet.observed.members if one.copy not in {None, one.version}}
        async with self._servers.connection(registry) as connection:
            await copy_versions(connection, wrong)
        is_last = False
        while True:
            plan = plan_run(desired, fleet.now())
            match plan:
                case MoveTenants():
                    body = await self._announce_start(body, run, plan.progress)
                    body, done = await self._move(body, run, fleet, mover=mover, plan=plan, began=began)
                    if not done:
                        return await self._pause(body, run, fleet)
                case ReleaseRevision(before=before, to=to):
                    async with self._servers.connection(registry) as connection:
                        await release(connection, before=before, to=to)
                    logger.info("a revision was released", extra={"run": run.metadata.name, "revision": to})
                    fleet, is_last = replace(fleet, observed=replace(fleet.observed, released=to)), False
                case FinishRun() if not is_last:
                    # A pass that began before the release makes its Tenant at the old revision: it is moved as well.
                    if not await self._fence.passes_end(but=TURN, within=PASSES_END_WITHIN):
                        return await self._pause(body, run, fleet)
                    memory = self._memories.setdefault(run.metadata.uid, Memory())
                    fleet = await self._look(registry, memory, moved=fleet.moved)
                    is_last = True
                case FinishRun():
                    return await self._end(body, run, MigrationRunPhase.SUCCEEDED, plan.progress)
                case StopRun():
                    return await self._end(body, run, MigrationRunPhase.FAILED, plan.progress)
                case _:
                    return Result(requeue_after=AGAIN)

    async def _move(
        self, body: RawObject, run: MigrationRun, fleet: Fleet, *, mover: Mover, plan: MoveTenants, began: float
    ) -> tuple[RawObject, bool]:
        """Move whom the plan names; say whether all of them came to an end, and return the object as it is then."""
        desired = desired_run(run)
        times, key = self._times(), Key(KIND, run.metadata.name)
        telling = _Telling(body, self._clock.monotonic())

        def may_begin() -> bool:
            held = self._cache.get(key)
            there = held is not None and held["metadata"].get("deletionTimestamp") is None
            return there and self._clock.monotonic() - began < times.slice

        async def ended(one: Member, moved: Moved) -> None:
            if moved.outcome is Outcome.DONE:
                fleet.moved[one.id] = moved.version
            elif moved.outcome is Outcome.UNREACHABLE:
                fleet.unreachable[one.server] = moved.message
            elif moved.outcome is Outcome.FAILED:
                await self._tell_tenant(one, run, moved.message)
            if self._clock.monotonic() - telling.last >= TOLD_EVERY:
                telling.last = self._clock.monotonic()
                verdict = self._verdict(run, RUNNING, progress_of(desired, fleet.now()))
                telling.body = await self._write_run(telling.body, verdict)

        results = await mover.move(
            plan, desired, fleet.observed.line, memory=fleet.memory, may_begin=may_begin, ended=ended
        )
        over = {Outcome.DONE, Outcome.FAILED}
        enough = len(fleet.memory.failures) > desired.failure_budget
        everybody = len(results) == len(plan.members) and all(one.outcome in over for one in results.values())
        return telling.body, enough or everybody

    async def _pause(self, body: RawObject, run: MigrationRun, fleet: Fleet) -> Result:
        progress = progress_of(desired_run(run), fleet.now())
        verdict = self._verdict(run, RUNNING, progress)
        if fleet.unreachable:
            name, said = sorted(fleet.unreachable.items())[0]
            problem = Problem(Reason.SERVER_UNREACHABLE, f"DatabaseServer {name}: {said}. {told(progress)}")
            return await self._say(body, run, replace(verdict, problem=problem))
        return await self._say(body, run, verdict)

    def _mover(self, registry: ServerAddress) -> Mover:
        return Mover(
            servers=self._servers,
            addresses=self._addresses,
            fence=self._fence,
            registry=registry,
            metrics=self._metrics,
            installation=self._settings.installation_id,
            times=self._times(),
            moving=self.moving,
        )

    def _times(self) -> Times:
        limit = self._settings.pass_timeout
        return Times(slice=limit * SHARE_OF_SLICE, tenant=limit * SHARE_OF_TENANT)

    def _verdict(
        self, run: MigrationRun, phase: MigrationRunPhase, progress: Progress | None, *, problem: Problem | None = None
    ) -> RunVerdict:
        if progress is not None:
            for state in ("done", "failed", "held", "waiting"):
                self._metrics.run_tenants.labels(state).set(getattr(progress, state))
        return RunVerdict(phase, progress, plan_hash(run.spec.to), problem)

    async def _announce_start(self, body: RawObject, run: MigrationRun, progress: Progress) -> RawObject:
        if (body.get("status") or {}).get("phase") == RUNNING.value:
            return body
        written = await self._write_run(body, self._verdict(run, RUNNING, progress))
        said = f"to {run.spec.to}: {told(progress)}"
        await self._kube.event(about=body, type="Normal", reason=Reason.MIGRATING, message=said, action="Migrate")
        return written

    async def _tell_tenant(self, one: Member, run: MigrationRun, message: str) -> None:
        body = self._cache.get(Key("Tenant", one.name))
        if body is not None:
            said = f"MigrationRun {run.metadata.name} could not move it to {run.spec.to}: {message}"
            await self._kube.event(
                about=body, type="Warning", reason=Reason.MIGRATION_FAILED, message=said, action="Migrate"
            )

    async def _end(self, body: RawObject, run: MigrationRun, phase: MigrationRunPhase, progress: Progress) -> Result:
        """Write that the run is over where it lasts, and then tell: a process that dies between them tells later."""
        self.moving.end()
        noted = {"metadata": {"annotations": {api.ANNOTATION_ENDED: phase.value}}}
        body = await self._kube.merge_patch(MIGRATIONRUNS, run.metadata.name, noted)
        self._cache.put(KIND, body)
        problem = budget_exceeded(run, progress) if phase is MigrationRunPhase.FAILED else None
        await self._write_run(body, self._verdict(run, phase, progress, problem=problem))
        said = {
            MigrationRunPhase.SUCCEEDED: (Reason.MIGRATED, f"{run.spec.to} is released; {told(progress)}"),
            MigrationRunPhase.PLANNED: (Reason.PLANNED, planned(progress)),
        }.get(phase)
        if said is not None:
            await self._kube.event(about=body, type="Normal", reason=said[0], message=said[1], action="Migrate")
        elif problem is not None:
            await self._kube.event(
                about=body, type="Warning", reason=problem.reason, message=problem.message, action="Migrate"
            )
        logger.info("a MigrationRun ended", extra={"run": run.metadata.name, "phase": phase.value})
        self._memories.pop(run.metadata.uid, None)
        return Result(error=problem.reason.value if problem is not None else "")

    async def _say(self, body: RawObject, run: MigrationRun, verdict: RunVerdict) -> Result:
        """Write the status, and an Event for what stands newly in the way."""
        raw = run_status(run, verdict, now=self._clock.now()).model_dump(by_alias=True, exclude_none=True, mode="json")
        await self._write(body, raw, verdict.problem)
        if verdict.phase in ENDED:
            return Result()
        if verdict.problem is not None:
            # What somebody has to cure is looked at by the sweep, what passes is tried again soon.
            return Result(failed=not verdict.problem.lasting, error=verdict.problem.reason.value)
        return Result(requeue_after=AGAIN)

    async def _write_run(self, body: RawObject, verdict: RunVerdict) -> RawObject:
        run = _readable(body)
        if isinstance(run, Problem):
            return body
        status = run_status(run, verdict, now=self._clock.now())
        return await self._write(body, status.model_dump(by_alias=True, exclude_none=True, mode="json"), None)

    async def _write(self, body: RawObject, raw: dict[str, Any], problem: Problem | None) -> RawObject:
        shown = body.get("status") or {}
        if raw == shown:
            return body
        operations = [{"op": "add", "path": "/status", "value": raw}]
        name = body["metadata"]["name"]
        written = await self._kube.json_patch(MIGRATIONRUNS, name, operations, subresource="status")
        self._cache.put(KIND, written)
        if problem is not None and reason_shown(shown, ConditionType.READY) != problem.reason:
            await self._kube.event(
                about=body, type="Warning", reason=problem.reason, message=problem.message, action="Migrate"
            )
        return written

    def _forget_all_but_live(self) -> None:
        live = {body["metadata"]["uid"] for body in self._cache.all(KIND)}
        for uid in self._memories.keys() - live:
            del self._memories[uid]


def _readable(body: RawObject) -> MigrationRun | Problem:
    try:
        return MigrationRun.model_validate(body)
    except ValidationError as error:
        readable = without_unreadable_status(body, error)
        return unreadable(error) if readable is None else MigrationRun.model_validate(readable)


def _has_ended(body: RawObject) -> bool:
    return api.ANNOTATION_ENDED in (body["metadata"].get("annotations") or {})


def _is_over(body: RawObject) -> bool:
    """Whether the run has ended and its status says so."""
    ended = (body["metadata"].get("annotations") or {}).get(api.ANNOTATION_ENDED)
    return ended is not None and (body.get("status") or {}).get("phase") == ended
