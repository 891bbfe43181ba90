"""What a pass and the sweep do about isolation: look at the server, log in now and then, remember, count."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import TYPE_CHECKING, Final

import psycopg

from tenantry_crds import ConditionType, Lifecycle, Tenant
from tenantry_operator.clients.postgres import ONE_MOMENT, Connection, DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.clock import Clock
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.exposure import Exposure, Trial
from tenantry_operator.model.isolation import Layout
from tenantry_operator.model.names import TENANTS, TenantNames
from tenantry_operator.model.pool import POOL_CUSTOMERS
from tenantry_operator.model.tenant import PUBLIC, ObservedSecret
from tenantry_operator.observe.isolation import read_shared_ways, read_ways
from tenantry_operator.observe.pool import observe_pool
from tenantry_operator.observe.trial import try_log_in
from tenantry_operator.plan.actions import ResetPassword, TenantAction, WriteSecret
from tenantry_operator.plan.pool import plan_pool
from tenantry_operator.plan.pool_isolation import pool_ways
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant import Plan
from tenantry_operator.plan.tenant_database import seen_later
from tenantry_operator.plan.tenant_isolation import (
    RETRY,
    Hole,
    IsolationVerdict,
    Tried,
    find_holes,
    is_trial_due,
    next_trial,
    outdated,
    tried_now,
    untried,
)
from tenantry_operator.reconcile.pool_desired import pool_shape
from tenantry_operator.settings import OperatorSettings

if TYPE_CHECKING:
    # The sweep knows this module, and what a look leaves for the sweep knows that one.
    from tenantry_operator.reconcile.tenant_look import Look

AT_ONCE: Final = 3
"""Log-ins that one sweep asks for though nothing changed. With many tenants a round takes longer than the interval."""


NOT_OURS: Final = "the Secret does not say what it should, so that nobody logs in with it"


@dataclass(frozen=True)
class _Shared:
    """What is open to all tenants of a database, and when it was read."""

    ways: frozenset[Exposure]
    pooled: frozenset[Exposure] | None
    """What is open to those in the pool besides; None: nobody asked."""
    at: float

    def of(self, name: str, pooled: Container[str]) -> frozenset[Exposure]:
        return self.ways | (self.pooled or frozenset()) if name in pooled else self.ways


class IsolationWatch:
    """Knows what was seen and tried. What it forgets with the process is found out again, a little at a time."""

    def __init__(self, servers: Servers, *, settings: OperatorSettings, clock: Clock, metrics: Metrics) -> None:
        self._servers = servers
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._started = clock.now()
        self._shared: dict[ServerAddress, _Shared] = {}
        self._tried: dict[str, Tried] = {}
        self._asked: dict[str, datetime] = {}
        self._refused: dict[str, tuple[str, str]] = {}
        self._reset: dict[str, datetime] = {}
        self._wanted: set[str] = set()
        self._holes: dict[str, frozenset[Hole]] = {}

    def forget(self, name: str) -> None:
        """Forget a Tenant that is gone."""
        self._tried.pop(name, None)
        self._asked.pop(name, None)
        self._refused.pop(name, None)
        self._reset.pop(name, None)
        self._holes.pop(name, None)
        self._wanted.discard(name)

    async def seen_by_pass(self, connection: Connection, address: ServerAddress, layout: Layout) -> frozenset[Exposure]:
        """Return what one tenant is exposed to. What all of them are is read by the sweep, and seldom by a pass."""
        names = layout.names
        if layout.own_database is not None:
            return await self.seen_apart(connection, address, names)
        shared = self._shared.get(address)
        if (
            shared is None
            or (layout.is_pooled and shared.pooled is None)
            or self._clock.monotonic() - shared.at > self._settings.sweep_interval
        ):
            async with connection.transaction():
                await connection.execute(ONE_MOMENT)
                shared = await self._read_shared(connection, address, pooled=layout.is_pooled)
        pooled = frozenset({names.name}) if layout.is_pooled else frozenset()
        found = await read_ways(connection, (names,), pooled=pooled)
        return shared.of(names.name, pooled) | found.get(names.key, frozenset())

    async def seen_by_sweep(
        self, connection: Connection, address: ServerAddress, tenants: Sequence[TenantNames], *, pooled: frozenset[str]
    ) -> dict[str, frozenset[Exposure]]:
        """Return, by name, what each tenant is exposed to; `pooled` are the names of those in the pool."""
        shared = await self._read_shared(connection, address, pooled=bool(pooled))
        own = await read_ways(connection, tenants, pooled=pooled)
        self._metrics.isolation_checked.labels("catalogue").set(self._clock.now().timestamp())
        return {names.name: shared.of(names.name, pooled) | own.get(names.key, frozenset()) for names in tenants}

    async def seen_apart(
        self, connection: Connection, address: ServerAddress, names: TenantNames
    ) -> frozenset[Exposure]:
        """Return what a tenant is exposed to that has a database of its own; nothing is seen of it from another."""
        if connection.info.dbname != names.database:
            return frozenset()
        closed = (*self._registry_at(address), address.database)
        shared = await read_shared_ways(connection, who=PUBLIC, closed=closed)
        return shared | (await read_ways(connection, (names,))).get(names.key, frozenset())

    def _registry_at(self, address: ServerAddress) -> tuple[str, ...]:
        here = address.name == self._settings.registry_server
        return (self._settings.registry_database,) if here else ()

    async def _read_shared(self, connection: Connection, address: ServerAddress, *, pooled: bool) -> _Shared:
        closed = self._registry_at(address)
        ways = await read_shared_ways(connection, closed=closed)
        of_pool = await self._read_pool(connection, closed, ways) if pooled else None
        read = _Shared(ways, of_pool, self._clock.monotonic())
        self._shared = {known: one for known, one in self._shared.items() if known.name != address.name}
        self._shared[address] = read
        return read

    async def _read_pool(
        self, connection: Connection, closed: Iterable[str], known: frozenset[Exposure]
    ) -> frozenset[Exposure]:
        """Return what is open to all tenants of the pool besides what is open to all that share the database."""
        found = await read_shared_ways(connection, who=POOL_CUSTOMERS, closed=closed)
        more = frozenset(one for one in found if replace(one, who=TENANTS) not in known)
        pool = await observe_pool(connection)
        return more if pool is None else more | pool_ways(plan_pool(pool_shape(pool.version), pool))

    def due(self, names: Iterable[str]) -> list[str]:
        """Return the Tenants whose turn it is to be tried though nothing changed; the most overdue first."""
        now = self._clock.now()
        turns = ((self._turn(name), name) for name in names)
        chosen = [name for _, name in nsmallest(AT_ONCE, (turn for turn in turns if turn[0] <= now))]
        for name in chosen:
            self._asked[name] = now
            self._wanted.add(name)
        return chosen

    def _turn(self, name: str) -> datetime:
        tried, asked = self._tried.get(name), self._asked.get(name)
        interval = timedelta(seconds=self._settings.verify_interval)
        if tried is not None and (tried.trial.problem or tried.trial.reached):
            interval = min(interval, RETRY)
        last = max((one for one in (asked, tried.at if tried else None) if one is not None), default=None)
        return next_trial(name, last, started=self._started, interval=interval)

    async def judge(
        self, tenant: Tenant, looked: "Look", *, plan: Plan, done: Sequence[TenantAction], problem: Problem | None
    ) -> IsolationVerdict | None:
        """Say how it stands after a pass; None: what it made cannot be looked at. Raises nothing that is expected."""
        names, is_active = looked.desired.names, looked.desired.lifecycle is Lifecycle.ACTIVE
        if done or not is_active:
            # What the pass changed is tried by the next one: the last trial is of another state.
            left = outdated(self._tried.pop(names.name, None))
            if left is not None and is_active:
                self._tried[names.name] = left
        if done:
            self._wanted.add(names.name)
            if any(isinstance(action, ResetPassword) for action in done):
                self._refused.pop(names.name, None)
                self._reset[names.name] = self._clock.now()
        elif is_active and (problem is None or problem.lasting):
            await self._try(tenant, looked, plan)
        tried = self._tried.get(names.name)
        ways = await self._seen_after(looked) if done else looked.observed.ways
        undone = [action for action in (*plan.actions, *plan.held) if action not in done]
        known = looked.observed.ways if ways is None else ways
        holes = find_holes(names, known, undone, tried.trial if tried else None)
        later = seen_later(looked.observed.catalogue)
        if ways is None and not holes and not later:
            return None
        self._count(names.name, holes)
        return IsolationVerdict(holes, later or untried(tried, now=self._clock.now(), doubted=_is_doubted(tenant)))

    async def _seen_after(self, looked: "Look") -> frozenset[Exposure] | None:
        """Look at what the pass has made or changed; None: it cannot be looked at now."""
        address, layout = looked.address, looked.desired.layout
        try:
            async with self._servers.connection(address, database=layout.own_database) as connection:
                return await self.seen_by_pass(connection, address, layout)
        except (DatabaseError, psycopg.Error):
            return None

    def refused_login(self, name: str, secret: ObservedSecret | None) -> str | None:
        """Name the login of which the server does not take the password that this very Secret has.

        Once it was given that password, it is said again only when a log-in came through since, or a while later: a
        server that refuses it all the same is not to be asked for ever.
        """
        login, version = self._refused.get(name, ("", ""))
        if secret is None or secret.resource_version != version:
            return None
        last = self._reset.get(name)
        patience = timedelta(seconds=self._settings.verify_interval)
        return login if last is None or self._clock.now() - last >= patience else None

    def _note_password(self, name: str, secret: ObservedSecret, trial: Trial) -> None:
        if trial.wrong_password:
            self._refused[name] = (secret.data.get("username", ""), secret.resource_version)
            return
        self._refused.pop(name, None)
        if not trial.problem:
            self._reset.pop(name, None)

    async def _try(self, tenant: Tenant, looked: "Look", plan: Plan) -> None:
        names, secret, now = looked.desired.names, looked.observed.secret, self._clock.now()
        if secret is None or not secret.ours:
            return
        last = self._tried.get(names.name)
        asked = names.name in self._wanted or (last is None and _is_doubted(tenant))
        inputs = (looked.facts, looked.observed.ways, secret.resource_version)
        if not is_trial_due(last, inputs=inputs, now=now, asked=asked):
            return
        trial = Trial(problem=NOT_OURS)
        login = trusted_login(names, secret, plan)
        if login is not None:
            trial = await try_log_in(
                self._servers,
                looked.address,
                looked.desired.layout,
                login=login,
                password=secret.data.get("password", ""),
                registry=self._settings.registry_database,
            )
        self._wanted.discard(names.name)
        role = looked.observed.catalogue.roles.get(secret.data.get("username", ""))
        if role is None or role.expires:
            # Of a password that has expired the server says the same.
            trial = replace(trial, wrong_password=False)
        self._note_password(names.name, secret, trial)
        self._tried[names.name] = tried_now(last, trial, inputs=inputs, now=now)
        self._metrics.isolation_checks.labels("log-in", _outcome(trial)).inc()
        self._metrics.isolation_checked.labels("log-in").set(now.timestamp())

    def _count(self, name: str, holes: Sequence[Hole]) -> None:
        """Count each hole once, however many passes see it."""
        known, self._holes[name] = self._holes.get(name, frozenset()), frozenset(holes)
        for hole in self._holes[name] - known:
            self._metrics.isolation_holes.labels(hole.kind).inc()
        self._metrics.isolation_checks.labels("catalogue", "broken" if holes else "held").inc()


def trusted_login(names: TenantNames, secret: ObservedSecret, plan: Plan) -> str | None:
    """Name the login that may be tried with the Secret's password; None while the Secret is not as it should be.

    Where tenants may write it, a Secret could have us try anybody's password, past what keeps them from the server.
    """
    login = secret.data.get("username", "")
    active = plan.rotation.active if plan.rotation is not None else None
    if login not in names.logins or login != active:
        return None
    return None if any(isinstance(action, WriteSecret) for action in plan.actions) else login


def _outcome(trial: Trial) -> str:
    if trial.problem:
        return "failed"
    return "broken" if trial.reached else "held"


def _is_doubted(tenant: Tenant) -> bool:
    """Whether the last word was not that the tenant is isolated; a hint that says when to try."""
    said = [one.status for one in tenant.status.conditions if one.type == ConditionType.ISOLATION_VERIFIED]
    return bool(said) and said != ["True"]
