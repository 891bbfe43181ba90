"""Does the actions of a Tenant's plan, each where it belongs: registry, server, cluster."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import psycopg

from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.apply.namespace import apply_on_namespace
from tenantry_operator.apply.passwords import new_password, scram_verifier
from tenantry_operator.apply.registry import PlaceTaken, record
from tenantry_operator.apply.secrets import WantedSecret, delete_secret, write_secret
from tenantry_operator.apply.tenant import Applied, Failed, apply_on_server
from tenantry_operator.apply.tenant_sql import Context
from tenantry_operator.clients.kube import ApiError, Kube
from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.clients.sqlstate import Failure, FailureKind, classify
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.credentials import applied_mark
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant
from tenantry_operator.observe.tenant import parse_facts, read_facts
from tenantry_operator.plan.actions import (
    BackupAction,
    CreateObject,
    DeleteObject,
    DeleteSecret,
    LeaveDatabase,
    Migrate,
    NamespaceAction,
    RecordTenant,
    ReplaceObject,
    RevokeForeign,
    ServerAction,
    SetPassword,
    TenantAction,
    WriteMarker,
    WriteSecret,
)
from tenantry_operator.plan.database_actions import AlterDatabase, DatabaseAction, DropDatabase, MakeDatabase
from tenantry_operator.plan.extension_actions import CreateExtension, DropExtension
from tenantry_operator.plan.pool_actions import MakePool
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant_extensions import refused
from tenantry_operator.plan.tenant_rotation import remembered
from tenantry_operator.plan.tenant_secret import tenant_binding, usable_password
from tenantry_operator.reconcile.tenant_backup import apply_on_backup
from tenantry_operator.reconcile.tenant_blockers import Watched, blockers_watched, locked
from tenantry_operator.reconcile.tenant_namespace import ChildVersions, is_namespace_itself, namespace_refused

LOCK_TIMEOUT = "LockTimeout"
logger = logging.getLogger(__name__)

REASONS = {
    "AuthenticationFailed": Reason.AUTHENTICATION_FAILED,
    "TlsFailed": Reason.TLS_FAILED,
    "DatabaseMissing": Reason.DATABASE_MISSING,
    "ConnectionsInUse": Reason.CONNECTIONS_IN_USE,
    "TransactionOpen": Reason.LOCKED,
    "TooManyConnections": Reason.TOO_MANY_CONNECTIONS,
    "NameNotResolved": Reason.NAME_NOT_RESOLVED,
    "PrivilegesMissing": Reason.PRIVILEGES_MISSING,
    "ObjectsLeft": Reason.OBJECTS_LEFT,
}


@dataclass
class Executed:
    """What became of a plan."""

    done: list[TenantAction] = field(default_factory=list)
    problem: Problem | None = None
    """Why it was not done to the end, or what of it was left out."""
    namespace_problem: Problem | None = None
    """Why the namespace is not as wanted; it stops nothing else."""


def database_problem(error: BaseException, *, server: str) -> Problem:
    """Say for a person what a failed conversation with a server means for its Tenants."""
    failure = classify(error)
    if failure.kind is FailureKind.UNREACHABLE:
        said = f"DatabaseServer {server} does not answer: {failure.message}. It is tried again until it does"
        return Problem(Reason.SERVER_UNREACHABLE, said)
    return failure_problem(failure)


def registry_problem(error: BaseException, server: str) -> Problem:
    """Say that it is the registry, unless its server does not answer at all."""
    problem = database_problem(error, server=server)
    if problem.reason is Reason.SERVER_UNREACHABLE:
        return problem
    return Problem(Reason.REGISTRY_UNAVAILABLE, f"the registry: {problem.message}", lasting=problem.lasting)


def failure_problem(failure: Failure) -> Problem:
    """Say what a failure means: what waiting cures is passing, a refused log-in is somebody's to mend."""
    reason = REASONS.get(failure.reason, Reason.DATABASE_ERROR)
    lasting = not failure.transient and failure.kind is not FailureKind.MISSING
    return Problem(reason, failure.message, lasting=lasting)


def kubernetes_problem(error: ApiError) -> Problem:
    return Problem(Reason.KUBERNETES_ERROR, str(error), lasting=not error.transient)


NEW_RIGHTS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between tries to write where the right to was given just now: the API server learns of it by a watch."""

PASSED_OVER: Final = frozenset({Reason.PRIVILEGES_MISSING, Reason.EXTENSION_UNAVAILABLE})
"""What is left to an administrator keeps nothing else from being done."""


class TenantExecution:
    """One plan's way through the world. It stops at the first failure: the next pass begins from what is there."""

    def __init__(
        self,
        *,
        kube: Kube,
        servers: Servers,
        cache: ObjectCache,
        metrics: Metrics,
        registry: ServerAddress,
        address: ServerAddress,
    ) -> None:
        self._kube = kube
        self._servers = servers
        self._cache = cache
        self._metrics = metrics
        self._registry = registry
        self._address = address
        self._password = ""
        self._oids: dict[str, int] = {}
        self._owed: set[str] = set()
        self._inside: str | None = None
        self._marker: str | None = None
        self.secret_version: str | None = None
        """The resourceVersion of the Secret, if it was written."""
        self.children = ChildVersions()
        """What was made, changed and removed of the namespace."""

    async def run(self, desired: DesiredTenant, observed: ObservedTenant, actions: Sequence[TenantAction]) -> Executed:
        """Do the actions in order. Raises nothing that is expected."""
        executed = Executed()
        self._oids = {name: role.oid for name, role in observed.catalogue.roles.items()}
        self._owed = {action.role for action in actions if isinstance(action, SetPassword)}
        self._inside, self._marker = _way_in(desired, observed), observed.catalogue.marker_text
        for where, group in groupby(actions, _where):
            members = tuple(group)
            if where == "namespace":
                found = await self._on_namespace(members, executed)
                executed.namespace_problem = executed.namespace_problem or found
                continue
            problem = await self._group(where, members, desired=desired, observed=observed, executed=executed)
            if problem is not None:
                executed.problem = problem
                # What follows would not find its database, or would leave it behind.
                if where == "database" or problem.reason not in PASSED_OVER or not problem.lasting:
                    break
        return executed

    async def _group(
        self,
        where: str,
        actions: tuple[TenantAction, ...],
        *,
        desired: DesiredTenant,
        observed: ObservedTenant,
        executed: Executed,
    ) -> Problem | None:
        try:
            if where in {"server", "database"}:
                return await self._on_server(actions, desired=desired, observed=observed, executed=executed)
            for action in actions:
                if isinstance(action, LeaveDatabase):
                    problem = await self._leave(action, desired)
                    if problem is not None:
                        return problem
                elif isinstance(action, RecordTenant):
                    async with self._servers.connection(self._registry) as connection:
                        await record(connection, action, desired)
                elif isinstance(action, WriteSecret) and action.login in self._owed:
                    continue  # its login has not got the password; why is known already
                elif isinstance(action, BackupAction):
                    await apply_on_backup(self._kube, action)
                else:
                    await self._on_secret(action, desired, observed)
                self._done(executed, action)
        except (DatabaseError, psycopg.Error) as error:
            what = "of the registry" if where == "registry" else self._address.name
            return database_problem(error, server=what)
        except PlaceTaken as error:
            return Problem(Reason.PROVISIONING, f"{error}; the next try finds another, or says that there is none")
        except ApiError as error:
            return kubernetes_problem(error)
        return None

    async def _on_namespace(self, actions: Sequence[TenantAction], executed: Executed) -> Problem | None:
        """Do what can be done: an object that is refused keeps none of the others from being made."""
        first = None
        for action in actions:
            if not isinstance(action, NamespaceAction):
                continue
            try:
                written = await apply_on_namespace(self._kube, action)
            except ApiError as error:
                self._metrics.actions.labels("Tenant", type(action).__name__, "failed").inc()
                first = first or namespace_refused(action, error)
                if is_namespace_itself(action):
                    break
                continue
            self.children.note(action, written, self._cache)
            self._done(executed, action)
        return first

    async def _on_server(
        self,
        actions: tuple[TenantAction, ...],
        *,
        desired: DesiredTenant,
        observed: ObservedTenant,
        executed: Executed,
    ) -> Problem | None:
        here = [action for action in actions if isinstance(action, ServerAction)]
        context = Context(desired.names, desired.place.database, await self._verifier(here, desired, observed))
        database = None if isinstance(here[0], DatabaseAction) else self._inside
        async with (
            self._servers.connection(self._address, database=database) as connection,
            blockers_watched(self._servers, self._address, connection) as watched,
        ):
            applied = await apply_on_server(connection, here, context=context, marker_text=self._marker)
        for action in applied.done:
            self._done(executed, action)
            self._follow(action)
            if isinstance(action, SetPassword) and applied.login_oid is not None:
                self._oids[action.role] = applied.login_oid
                self._owed.discard(action.role)
        return self._failed(applied, watched)

    async def _leave(self, action: LeaveDatabase, desired: DesiredTenant) -> Problem | None:
        try:
            return await self._elsewhere(action, desired)
        except DatabaseError as error:
            if error.failure.transient:
                raise
            roles = ", ".join(action.roles)
            said = f"{roles} own something, or hold privileges, in database {action.database}: {error.failure.message}"
            return Problem(Reason.OBJECTS_LEFT, said, lasting=True)

    def _follow(self, action: ServerAction) -> None:
        """Take note of what the next actions find changed: the marker, and the database that they are done in."""
        if isinstance(action, WriteMarker):
            self._marker = action.marker.text()
        elif isinstance(action, AlterDatabase):
            self._inside = action.database
        elif isinstance(action, DropDatabase):
            self._inside = None

    async def _elsewhere(self, action: LeaveDatabase, desired: DesiredTenant) -> Problem | None:
        """Free the roles in another database of the server, also of what others gave them there."""
        context = Context(desired.names, action.database)
        async with (
            self._servers.connection(self._address, database=action.database) as connection,
            blockers_watched(self._servers, self._address, connection) as watched,
        ):
            there = parse_facts((await read_facts(connection, (desired.names,))).get(desired.names.key, ""))
            given = [grant for grant in sorted(there.foreign) if grant.grantee in action.roles]
            revokes = [RevokeForeign(grant=one, reason=action.reason) for one in given if one.kind != "policy"]
            applied = await apply_on_server(connection, [*revokes, action], context=context, marker_text=self._marker)
        return self._failed(applied, watched)

    def _failed(self, applied: Applied, watched: Watched) -> Problem | None:
        for failed in applied.failed:
            for action in failed.actions:
                self._metrics.actions.labels("Tenant", type(action).__name__, "failed").inc()
            logger.warning("a unit of a plan failed", extra={"error": failed.failure.message})
        if applied.failed and applied.failed[-1].failure.reason == LOCK_TIMEOUT:
            return locked(watched.blockers)
        return _problem_of(applied.failed[-1]) if applied.failed else None

    async def _verifier(self, actions: Sequence[ServerAction], desired: DesiredTenant, observed: ObservedTenant) -> str:
        asked = [action for action in actions if isinstance(action, SetPassword)]
        if not asked:
            return ""
        return await scram_verifier(self._choose_password(desired, observed, fresh=asked[0].fresh))

    def _choose_password(self, desired: DesiredTenant, observed: ObservedTenant, *, fresh: bool = False) -> str:
        """Keep the Secret's password if it can be used, unless a fresh one is asked for; one for the whole plan."""
        if not self._password:
            memory = None if fresh else remembered(desired, observed)
            self._password = (memory and usable_password(memory.data)) or new_password()
        return self._password

    async def _on_secret(self, action: TenantAction, desired: DesiredTenant, observed: ObservedTenant) -> None:
        if isinstance(action, WriteSecret):
            wanted = self._wanted_secret(action, desired, observed)
            again = NEW_RIGHTS if self.children.gave_rights else ()
            written = await write_secret(self._kube, wanted, observed=action.observed, again=again)
            # The event that follows tells the cache nothing new, and so starts no pass.
            self._cache.put("Secret", written)
            self.secret_version = written["metadata"]["resourceVersion"]
        elif isinstance(action, DeleteSecret):
            await delete_secret(self._kube, action.observed)
            self._cache.remove(Key("Secret", action.observed.name, action.observed.namespace))

    def _wanted_secret(self, action: WriteSecret, desired: DesiredTenant, observed: ObservedTenant) -> WantedSecret:
        if action.login not in self._oids:
            raise LookupError("the login has no oid: it was neither observed nor made")
        password = self._choose_password(desired, observed)
        return WantedSecret(
            name=action.name,
            namespace=action.namespace,
            owner_label=api.LABEL_TENANT,
            owner=desired.names.name,
            owner_uid=desired.uid,
            data=tenant_binding(desired, action.login, password),
            applied=applied_mark(self._oids[action.login], password),
            rotation=action.notes,
        )

    def _done(self, executed: Executed, action: TenantAction) -> None:
        executed.done.append(action)
        self._metrics.actions.labels("Tenant", type(action).__name__, "done").inc()


def _way_in(desired: DesiredTenant, observed: ObservedTenant) -> str | None:
    """Name the database in which the tenant's actions are done, if it is not the server's and lets us in."""
    there = observed.catalogue.database
    return desired.layout.own_database if there is not None and there.entered else None


def _where(action: TenantAction) -> str:
    if isinstance(action, DatabaseAction):
        return "database"
    if isinstance(action, RecordTenant):
        return "registry"
    if isinstance(action, LeaveDatabase):
        return "elsewhere"
    if isinstance(action, CreateObject | ReplaceObject | DeleteObject):
        return "namespace"
    return "cluster" if isinstance(action, WriteSecret | DeleteSecret | BackupAction) else "server"


def _problem_of(failed: Failed) -> Problem:
    problem = failure_problem(failed.failure)
    if problem.lasting and isinstance(failed.actions[0], CreateExtension | DropExtension):
        return Problem(Reason.EXTENSION_UNAVAILABLE, refused(failed.actions[0], failed.failure.message), lasting=True)
    if problem.reason is Reason.PRIVILEGES_MISSING and isinstance(failed.actions[0], MakeDatabase):
        said = "the operator's login may not make databases; an administrator runs ALTER ROLE <that login> CREATEDB"
        return Problem(Reason.PRIVILEGES_MISSING, said, lasting=True)
    if problem.reason is Reason.PRIVILEGES_MISSING:
        said = f"only an administrator can undo this: {failed.failure.message} ({_objects(failed)})"
        return Problem(Reason.PRIVILEGES_MISSING, said, lasting=True)
    if problem.lasting and any(isinstance(action, Migrate | MakePool) for action in failed.actions):
        return Problem(Reason.MIGRATION_FAILED, failed.failure.message, lasting=True)
    return problem


def _objects(failed: Failed) -> str:
    return "; ".join(str(action) for action in failed.actions)[:500]
