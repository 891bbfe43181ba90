"""One pass over one Tenant: observe, plan, apply, status."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import psycopg
from pydantic import ValidationError

from tenantry_crds import Tenant, absent
from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.clients.kube import ApiError, Invalid, Kube, NotFound, RawObject
from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.breaker import Breaker
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.errors import error_word
from tenantry_operator.engine.fence import Fence, FenceError
from tenantry_operator.engine.moving import Moving
from tenantry_operator.engine.queue import Key, Result
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.placement import Choice
from tenantry_operator.model.server import claim
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant, RegistryRow
from tenantry_operator.observe.registry import Registered, RegistryBehind, read_registered
from tenantry_operator.observe.secrets import observe_secret
from tenantry_operator.plan.status import Problem, unreadable, without_unreadable_status
from tenantry_operator.plan.tenant import deletion_begun, plan_tenant
from tenantry_operator.plan.tenant_isolation import isolation_problem
from tenantry_operator.plan.tenant_lifecycle import is_taken
from tenantry_operator.plan.tenant_reporting import held_problem
from tenantry_operator.plan.tenant_secret_place import housed
from tenantry_operator.plan.tenant_status import NamespaceVerdict, TenantVerdict
from tenantry_operator.reconcile.addresses import Addresses, NoAddress
from tenantry_operator.reconcile.tenant_adoption import with_departed
from tenantry_operator.reconcile.tenant_applied import with_drift_rule
from tenantry_operator.reconcile.tenant_backup import backed_up, look_at_backup
from tenantry_operator.reconcile.tenant_blocked import Blocked, NeverPlaced, check_place
from tenantry_operator.reconcile.tenant_conclusion import KIND, Pass, TenantConclusion
from tenantry_operator.reconcile.tenant_credentials import Timers, count
from tenantry_operator.reconcile.tenant_desired import desired_tenant
from tenantry_operator.reconcile.tenant_drifted import TakenBack, count_drift, drift_left, drift_told, only_left_out
from tenantry_operator.reconcile.tenant_execution import TenantExecution, database_problem, registry_problem
from tenantry_operator.reconcile.tenant_force import TenantEscape
from tenantry_operator.reconcile.tenant_hold import TenantHold
from tenantry_operator.reconcile.tenant_home import look_at_home
from tenantry_operator.reconcile.tenant_isolation import IsolationWatch
from tenantry_operator.reconcile.tenant_look import Look
from tenantry_operator.reconcile.tenant_namespace import has_namespace, look_at_namespace
from tenantry_operator.reconcile.tenant_placing import NoPlace, TenantPlacing, seated
from tenantry_operator.reconcile.tenant_secrets import TenantSecrets
from tenantry_operator.reconcile.tenant_shard import TenantShards
from tenantry_operator.reconcile.tenant_sweep import TenantSweep
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)


class TenantReconciler:
    """Makes Tenants true."""

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
        self._cache = cache
        self._fence = fence
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._addresses = addresses
        self._placing = TenantPlacing(servers, addresses, cache)
        self._taken_back = TakenBack()
        self._timers = Timers(clock)
        self._shard = settings.own
        self._shards = TenantShards(self._shard, kube=kube, cache=cache, servers=servers)
        self._isolation = IsolationWatch(servers, settings=settings, clock=clock, metrics=metrics)
        self.moving = Moving(clock)
        """Told by MigrationRuns, which have their own until somebody puts this in its place."""
        self._sweep = TenantSweep(
            servers,
            cache,
            self._addresses,
            settings=settings,
            isolation=self._isolation,
            due=self._timers.due,
            moving=self.moving,
        )
        self._resuming, self._has_resumed = asyncio.Lock(), False
        escape = TenantEscape(kube, servers, addresses, fence, settings=settings)
        self._conclusion = TenantConclusion(
            kube=kube, cache=cache, clock=clock, sweep=self._sweep, timers=self._timers, escape=escape
        )
        self._secrets = TenantSecrets(kube, cache, namespace=settings.namespace)
        self._hold = TenantHold(kube, servers, Breaker(kube, settings=settings, clock=clock, metrics=metrics))

    async def sweep(self) -> AsyncIterator[Key]:
        """Yield the Tenants of which something changed since their last pass; bulk reads only."""
        try:
            for name in await self._hold.released():
                self._sweep.forget(name)
                yield Key(KIND, name)
        except ApiError as error:
            logger.warning("the breaker cannot be read", extra={"error": str(error)})
        await self._secrets.take_turns()
        async for key in self._sweep.run():
            yield key

    def forget(self, name: str) -> None:
        """Look at the Tenant with fresh eyes in its next pass, whoever asks for it."""
        self._sweep.forget(name)

    async def reconcile(self, key: Key) -> Result:
        """Run one pass; a Tenant that is gone, another shard's, or has let go of us is left alone."""
        body = self._cache.get(key)
        if body is None or not self._shard.owns(body):
            self._sweep.forget(key.name)
            self._timers.set(key.name, None)
            self._isolation.forget(key.name)
            return Result()
        if _has_let_go(body):
            return Result()
        await self._resume()
        if self._sweep.is_settled(key.name) and not self._timers.is_due(key.name):
            return Result(requeue_after=self._timers.left(key.name))
        try:
            return await self._read_and_reconcile(body)
        except (ApiError, FenceError, RegistryBehind) as error:
            # Invalid: the object changed under a patch with a test; the next look sees what it is now.
            passing = isinstance(error, NotFound | Invalid | FenceError | RegistryBehind)
            level = logging.INFO if passing else logging.WARNING
            logger.log(level, "the pass did not come to its end", extra={"tenant": key.name, "error": str(error)})
            return Result(failed=self._cache.get(key) is not None, error=error_word(error))

    async def _resume(self) -> None:
        """Before the first pass of this process, find out whom the process before left level."""
        if self._has_resumed:
            return
        async with self._resuming:
            if self._has_resumed:
                return
            try:
                resumed = await self._sweep.resume()
            except Exception:
                # It spares work, and nothing else: it must never keep a Tenant from its pass.
                logger.exception("each Tenant is looked at")
                resumed = {}
            for name, due in resumed.items():
                self._timers.set(name, due)
            self._has_resumed = True
            logger.info("looked for what changed since the last process", extra={"level": len(resumed)})

    async def _read_and_reconcile(self, body: RawObject) -> Result:
        try:
            tenant = Tenant.model_validate(body)
        except ValidationError as error:
            readable = without_unreadable_status(body, error)
            if readable is None:
                await self._conclusion.unreadable(body, unreadable(error))
                return Result(error=Reason.INVALID_SPEC.value)
            tenant = Tenant.model_validate(readable)
        return await self._reconcile(body, tenant)

    async def _reconcile(self, body: RawObject, tenant: Tenant) -> Result:
        self._sweep.forget(tenant.metadata.name)
        if not tenant.metadata.is_terminating and api.FINALIZER not in tenant.metadata.finalizers:
            body = await self._conclusion.patch_finalizers(body, [*tenant.metadata.finalizers, api.FINALIZER])
            tenant = Tenant.model_validate(body)
        try:
            done = await self._guarded_pass(tenant)
        except NeverPlaced:
            done = Pass(TenantVerdict())
        except Blocked as blocked:
            done = Pass(TenantVerdict(blocked.problem, desired=blocked.desired))
        return await self._conclusion.conclude(body, tenant, done)

    async def _guarded_pass(self, tenant: Tenant) -> Pass:
        if tenant.metadata.is_terminating and await self._was_never_placed(tenant):
            return Pass(TenantVerdict())
        registry = await self._registry()
        try:
            async with self._fence.hold(tenant.metadata.name):
                return await self._pass(tenant, registry)
        except DatabaseError as error:
            # Only the fence's own: the pass turns the others into problems.
            raise Blocked(registry_problem(error, self._settings.registry_server)) from error

    async def _was_never_placed(self, tenant: Tenant) -> bool:
        """Whether nothing can have been made for a Tenant, for there is no registry; else it would never go."""
        if self._cache.get(Key("DatabaseServer", self._settings.registry_server)) is not None:
            return False
        return await self._left_no_trace(tenant)

    async def _left_no_trace(self, tenant: Tenant) -> bool:
        name = absent.secret_name(tenant.spec, tenant.metadata.name)
        uid = tenant.metadata.uid
        beside = self._settings.namespace
        secret = await observe_secret(self._kube, name, beside, owner_uid=uid)
        made = (secret and secret.ours) or await has_namespace(self._kube, tenant, system=beside)
        return not (tenant.status.id or made)

    async def _registry(self) -> ServerAddress:
        try:
            return await self._addresses.registry(self._settings.registry_server, self._settings.registry_database)
        except NoAddress as error:
            said = f"the registry is not to be had: {error}"
            raise Blocked(Problem(Reason.REGISTRY_UNAVAILABLE, said)) from error

    async def look(self, tenant: Tenant, registry: ServerAddress) -> Look:
        """Gather all that a plan is made of. Raises Blocked, NeverPlaced, ApiError; writes nothing."""
        registered = await self._read_registry(registry, tenant.metadata.name)
        await self._shards.check(tenant, registered.row)
        choices = await self._choices(tenant, registered, registry)
        for choice in choices[:-1]:
            # A tenant that has no place yet is not kept by a server that cannot be used.
            with suppress(Blocked):
                return await self._look_at(tenant, registered, choice)
        return await self._look_at(tenant, registered, choices[-1])

    async def _choices(self, tenant: Tenant, registered: Registered, registry: ServerAddress) -> tuple[Choice, ...]:
        try:
            return await self._placing.choices(tenant, registered.row, registry)
        except NoPlace as error:
            raise Blocked(error.problem) from error
        except NoAddress as error:
            if tenant.metadata.is_terminating:
                raise NeverPlaced from error
            raise Blocked(Problem(error.reason, str(error), lasting=True)) from error
        except (DatabaseError, psycopg.Error) as error:
            raise Blocked(registry_problem(error, self._settings.registry_server)) from error

    async def _look_at(self, tenant: Tenant, registered: Registered, choice: Choice) -> Look:
        address, desired = await self._desired(tenant, registered, choice)
        desired = await self._hold.looked_at(desired)
        desired, observed, facts, prepared = await self._observe(tenant, desired, address, registered.row)
        desired = seated(desired, observed, choice)
        observed = await with_departed(self._kube, desired, observed)
        return Look(registered, address, desired, observed, facts, prepared)

    async def _pass(self, tenant: Tenant, registry: ServerAddress) -> Pass:
        looked = await self.look(tenant, registry)
        registered, address, desired, observed, _, prepared = looked
        await self._shards.claim(tenant, registered.row, registry)
        plan = plan_tenant(desired, observed)
        catalogue = observed.catalogue
        refused = Problem(plan.refusal.reason, plan.refusal.message, lasting=True) if plan.refusal else None
        held = await self._hold.from_dropping(desired, plan.actions, registry) or (None if plan.actions else refused)
        if held is not None:
            verdict = TenantVerdict(
                held,
                desired=desired,
                id=plan.id,
                version=catalogue.version,
                half_gone=deletion_begun(registered.row, desired.uid),
                finishes_drop=plan.finishes_drop,
                access_taken=is_taken(desired, observed, ()),
            )
            return Pass(verdict, seen=looked.seen() if held.lasting else None)
        if desired.deletion is None and not prepared:
            said = f"DatabaseServer {address.name} is not prepared yet; its conditions say why"
            raise Blocked(Problem(Reason.PROVISIONING, said), desired=desired)
        execution = TenantExecution(
            kube=self._kube,
            servers=self._servers,
            cache=self._cache,
            metrics=self._metrics,
            registry=registry,
            address=address,
        )
        executed = await execution.run(desired, observed, plan.actions)
        problem = executed.problem or self._taken_back.again(desired.names.name, executed.done)
        problem = problem or refused or plan.waits_for or held_problem(plan.held, desired, observed) or plan.unfinished
        count_drift(self._metrics, tenant, plan, done=executed.done)
        count(self._metrics, plan.actions, executed.done)
        complete = problem is None
        isolation = None
        if desired.deletion is None:
            isolation = await self._isolation.judge(tenant, looked, plan=plan, done=executed.done, problem=problem)
        about_namespace = executed.namespace_problem or plan.namespace_problem
        beside = about_namespace or plan.credentials_problem or plan.extension_problem
        verdict = TenantVerdict(
            problem or isolation_problem(isolation) or beside,
            desired=desired,
            id=plan.id,
            version=catalogue.version or (desired.released if complete else None),
            database_in_place=complete,
            credentials_in_place=(complete or only_left_out(problem)) and plan.credentials_problem is None,
            credentials_problem=plan.credentials_problem,
            finishes_drop=plan.finishes_drop,
            drift=drift_left(plan, executed.done),
            access_taken=is_taken(desired, observed, executed.done),
            rotation=plan.rotation,
            namespace=NamespaceVerdict(about_namespace),
            isolation=isolation,
        )
        # Whether the server takes the Secret's password is known from the trial, which comes after the plan.
        refused_login = self._isolation.refused_login(desired.names.name, observed.secret)
        seen = looked.seen() if plan.is_empty and refused_login == observed.refused_login else None
        version = execution.secret_version or (observed.secret.resource_version if observed.secret else None)
        return Pass(
            verdict,
            tuple(executed.done),
            fresh=catalogue.marker is None,
            was=registered.row.state if registered.row else None,
            seen=seen,
            secret_version=version,
            drift=drift_told(tenant, desired, plan),
            children=execution.children.after(observed.namespace),
            backed_up=backed_up(observed, executed.done),
        )

    async def _read_registry(self, registry: ServerAddress, name: str) -> Registered:
        try:
            async with self._servers.connection(registry) as connection:
                return await read_registered(connection, name)
        except psycopg.errors.UndefinedTable as error:
            said = f"the registry is not prepared yet; see DatabaseServer {self._settings.registry_server}"
            raise Blocked(Problem(Reason.REGISTRY_UNAVAILABLE, said)) from error
        except (DatabaseError, psycopg.Error) as error:
            raise Blocked(registry_problem(error, self._settings.registry_server)) from error

    async def _desired(
        self, tenant: Tenant, registered: Registered, choice: Choice
    ) -> tuple[ServerAddress, DesiredTenant]:
        row = registered.row
        try:
            check_place(tenant, row)
            address = await self._addresses.address(choice.server)
        except NoAddress as error:
            if row is None and tenant.metadata.is_terminating:
                raise NeverPlaced from error
            raise Blocked(Problem(error.reason, str(error), lasting=True)) from error
        if registered.released is None:
            raise Blocked(Problem(Reason.REGISTRY_UNAVAILABLE, "the registry has no released revision yet"))
        now, settings = self._clock.now(), self._settings
        server = self._addresses.server(choice.server)
        keeper = self._addresses.server(settings.registry_server)
        build = partial(desired_tenant, address=address, settings=settings, released=registered.released, now=now,
                        server=server, registry=keeper)  # fmt: skip
        return address, with_drift_rule(build(tenant), tenant, row.applied if row else None, build=build)

    async def _observe(
        self, tenant: Tenant, desired: DesiredTenant, address: ServerAddress, row: RegistryRow | None
    ) -> tuple[DesiredTenant, ObservedTenant, str, bool]:
        """Return what is wanted where, what there is, the text of the facts, and if the server is prepared by us."""
        try:
            catalogue, facts, sessions, held_by, ways = await look_at_home(
                self._servers, address, desired, isolation=self._isolation
            )
        except (DatabaseError, psycopg.Error) as error:
            if desired.deletion and row is None and await self._left_no_trace(tenant):
                # Its row is written before anything is made.
                raise NeverPlaced from error
            raise Blocked(database_problem(error, server=address.name), desired=desired) from error
        prepared = held_by == claim(desired.installation, address.name)
        namespace = await look_at_namespace(self._kube, desired.namespace)
        backup = await look_at_backup(
            self._kube, self._cache, tenant, namespace=self._settings.namespace, desired=desired, now=self._clock.now()
        )
        observed = ObservedTenant(catalogue, row, sessions=sessions, namespace=namespace, backup=backup, ways=ways)
        desired = housed(desired, namespace)
        if row is None and not facts and not desired.deletion and not tenant.status.conditions:
            # Never seen before: if somebody has a Secret of that name, the attempt to make it will tell.
            return desired, observed, facts, prepared
        hints = self._sweep.other_secrets(tenant.metadata.name)
        observed = await self._secrets.look(tenant, desired, observed, hints=hints)
        refused = self._isolation.refused_login(tenant.metadata.name, observed.secret)
        return desired, replace(observed, refused_login=refused), facts, prepared


def _has_let_go(body: RawObject) -> bool:
    metadata = body["metadata"]
    return bool(metadata.get("deletionTimestamp")) and api.FINALIZER not in metadata.get("finalizers", ())
