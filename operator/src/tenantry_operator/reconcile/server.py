"""One pass over one DatabaseServer: reach it, see what the log-in may do, make it ready for tenants."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import psycopg
from pydantic import ValidationError

from tenantry_crds import ConditionType, DatabaseServer, absent
from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_migrations import MigrationError
from tenantry_operator.apply.passwords import new_password, scram_verifier
from tenantry_operator.apply.secrets import WantedSecret, delete_secret, write_secret
from tenantry_operator.apply.server import (
    ServerContext,
    apply_on_server,
    let_go,
    login_oids,
    prepare_registry,
    registry_is_ready,
)
from tenantry_operator.apply.tenant import apply_on_server as take_back
from tenantry_operator.apply.tenant_sql import Context
from tenantry_operator.clients.kube import DATABASESERVERS, ApiError, Invalid, Kube, NotFound, RawObject
from tenantry_operator.clients.postgres import Connection, DatabaseError, ServerAddress, Servers
from tenantry_operator.clients.sqlstate import FailureKind, classify
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.errors import error_word
from tenantry_operator.engine.fence import Fence
from tenantry_operator.engine.queue import Key, Result
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.credentials import applied_mark
from tenantry_operator.model.names import SERVICES, TenantNames, login_number, service_login, service_secret
from tenantry_operator.model.placement import Taken
from tenantry_operator.model.server import DesiredServer, ObservedServer, ServerCatalogue, claim
from tenantry_operator.model.tenant import ObservedSecret
from tenantry_operator.observe.registry import read_taken
from tenantry_operator.observe.secrets import observe_secret
from tenantry_operator.observe.server import observe_server
from tenantry_operator.plan.actions import SetPassword, WriteSecret
from tenantry_operator.plan.capacity import Limits, capacity_of, capacity_said, logins_needed
from tenantry_operator.plan.server import ServerPlanAction, numbers, password_of, plan_server, service_binding
from tenantry_operator.plan.server_status import ServerVerdict, server_status
from tenantry_operator.plan.server_strays import stray_actions
from tenantry_operator.plan.status import (
    Problem,
    reason_shown,
    status_of_unreadable,
    unreadable,
    without_unreadable_status,
)
from tenantry_operator.reconcile.addresses import Addresses, NoAddress, registry_pool
from tenantry_operator.reconcile.server_leftovers import clear_trials
from tenantry_operator.reconcile.server_pool import keep_pool
from tenantry_operator.reconcile.tenant_desired import place_of
from tenantry_operator.reconcile.tenant_execution import failure_problem
from tenantry_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

KIND: Final = "DatabaseServer"
NOTE_LIMIT: Final = 1000


@dataclass
class _Credentials:
    """The passwords of the services' logins in one pass: kept from the Secrets where they can be used."""

    passwords: dict[str, str] = field(default_factory=dict, repr=False)


class DatabaseServerReconciler:
    """Makes DatabaseServers ready for tenants."""

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
        # The fence stands in the registry, which a first pass has yet to make: servers do without it.
        del fence
        self._kube = kube
        self._servers = servers
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._addresses = addresses

    async def sweep(self) -> AsyncIterator[Key]:
        """Yield all: they are few, and a pass over one that is well writes nothing."""
        for key in self._cache.keys(KIND):
            yield key

    async def reconcile(self, key: Key) -> Result:
        """Run one pass."""
        body = self._cache.get(key)
        if body is None:
            await self._forget(key.name)
            return Result()
        metadata = body["metadata"]
        if metadata.get("deletionTimestamp") and api.FINALIZER not in metadata.get("finalizers", ()):
            return Result()
        try:
            return await self._read_and_reconcile(body)
        except (NotFound, Invalid) as error:
            logger.info("the DatabaseServer changed meanwhile", extra={"server": key.name, "error": str(error)})
            return Result(failed=self._cache.get(key) is not None, error=error_word(error))
        except ApiError as error:
            logger.warning("the API server failed us", extra={"server": key.name, "error": str(error)})
            return Result(failed=True, error=error_word(error))

    async def _read_and_reconcile(self, body: RawObject) -> Result:
        try:
            server = DatabaseServer.model_validate(body)
        except ValidationError as error:
            readable = without_unreadable_status(body, error)
            if readable is None:
                problem = unreadable(error)
                return await self._write_status(
                    body, status_of_unreadable(body, problem, now=self._clock.now()), problem
                )
            server = DatabaseServer.model_validate(readable)
        return await self._reconcile(body, server)

    async def _reconcile(self, body: RawObject, server: DatabaseServer) -> Result:
        if server.metadata.is_terminating:
            return await self._leave(body, server)
        if api.FINALIZER not in server.metadata.finalizers:
            body = await self._patch_finalizers(body, [*server.metadata.finalizers, api.FINALIZER])
            server = DatabaseServer.model_validate(body)
        return await self._conclude(body, server, await self._pass(server))

    async def _pass(self, server: DatabaseServer) -> ServerVerdict:
        """Come as far as possible. Raises nothing that is expected but ApiError."""
        name = server.metadata.name
        try:
            address = await self._addresses.address(name)
        except NoAddress as error:
            return ServerVerdict(Problem(error.reason, str(error), lasting=True), reached=False)
        try:
            async with self._servers.connection(address) as connection:
                return await self._prepare(server, address, connection)
        except DatabaseError as error:
            self._addresses.forget(name)
            return ServerVerdict(_unreachable(error), reached=False)
        except psycopg.Error as error:
            return ServerVerdict(failure_problem(classify(error)), reached=True)

    async def _prepare(self, server: DatabaseServer, address: ServerAddress, connection: Connection) -> ServerVerdict:
        taken = await self._taken(server)
        desired = self._desired(server, address)
        databases = [address.database, *([desired.registry_database] if desired.registry_database else [])]
        observed = ObservedServer(await observe_server(connection, databases), await self._secrets(desired))
        version = observed.catalogue.version_text
        if taken is not None:
            desired = replace(desired, logins=logins_needed(taken, observed.catalogue.version))
        plan = plan_server(desired, observed)
        if plan.refusal is not None:
            problem = Problem(plan.refusal.reason, plan.refusal.message, lasting=True)
            lacking = plan.refusal.privileges
            return ServerVerdict(problem, reached=True, privileged=not lacking, version=version)
        if plan.actions:
            await self._execute(desired, observed, plan.actions, connection=connection)
        await self._take_back(observed.catalogue, connection, database=address.database)
        await clear_trials(self._kube, connection, self._settings, server=desired.name)
        good = ServerVerdict(await self._keep_pool(server, connection), reached=True, privileged=True, version=version)
        if desired.registry_database is not None:
            registry = await self._addresses.registry(desired.name, desired.registry_database)
            good = await self._prepare_registry(good, registry)
            taken = taken or await self._taken(server)
        return _with_room(good, server, observed.catalogue, taken, logins=len(numbers(desired, observed.catalogue)))

    async def _keep_pool(self, server: DatabaseServer, connection: Connection) -> Problem | None:
        name = server.metadata.name
        kept, body = await keep_pool(connection, name, self._metrics), self._cache.get(Key(KIND, name))
        if kept.repaired and body is not None:
            note = f"the pool was changed by hand, and put right: {'; '.join(kept.repaired)}"[:NOTE_LIMIT]
            await self._kube.event(about=body, type="Normal", reason=Reason.REPAIRED, message=note, action="Reconcile")
        return kept.problem

    def _desired(self, server: DatabaseServer, address: ServerAddress) -> DesiredServer:
        name = server.metadata.name
        return DesiredServer(
            name=name,
            uid=server.metadata.uid,
            installation=self._settings.installation_id,
            place=place_of(address),
            namespace=self._settings.namespace,
            registry_database=self._settings.registry_database if name == self._settings.registry_server else None,
        )

    async def _secrets(self, desired: DesiredServer) -> dict[str, ObservedSecret | None]:
        return {
            service: await observe_secret(
                self._kube, service_secret(service, desired.name), desired.namespace, owner_uid=desired.uid
            )
            for service in SERVICES
        }

    async def _execute(
        self,
        desired: DesiredServer,
        observed: ObservedServer,
        actions: Sequence[ServerPlanAction],
        *,
        connection: Connection,
    ) -> None:
        credentials = self._passwords(desired, observed)
        changed = {action.role for action in actions if isinstance(action, SetPassword)}
        verifiers = {
            login: await scram_verifier(password)
            for login, password in credentials.passwords.items()
            if login in changed
        }
        await apply_on_server(connection, actions, ServerContext(desired.place.database, verifiers))
        oids = await login_oids(connection)
        for action in actions:
            self._metrics.actions.labels(KIND, type(action).__name__, "done").inc()
            if isinstance(action, WriteSecret):
                await self._write_secret(desired, action, credentials, oids=oids)
        said = [type(action).__name__ for action in actions]
        logger.info("DatabaseServer prepared", extra={"server": desired.name, "actions": said})

    async def _take_back(self, catalogue: ServerCatalogue, connection: Connection, *, database: str) -> None:
        """Take back what the shared roles should not hold, each by itself; what is refused, the Tenants tell."""
        context = Context(TenantNames(""), database)
        for action in stray_actions(catalogue):
            applied = await take_back(connection, [action], context=context, marker_text=None)
            outcome = "failed" if applied.failed else "done"
            self._metrics.actions.labels(KIND, type(action).__name__, outcome).inc()
            if applied.done:
                logger.warning("the shared roles were changed by hand", extra={"taken back": str(action)})

    def _passwords(self, desired: DesiredServer, observed: ObservedServer) -> _Credentials:
        known = {service: secret.data for service, secret in observed.secrets.items() if secret}
        return _Credentials(
            {
                service_login(service, number): password_of(known.get(service, {}), number) or new_password()
                for service in SERVICES
                for number in numbers(desired, observed.catalogue)
            }
        )

    async def _write_secret(
        self, desired: DesiredServer, action: WriteSecret, credentials: _Credentials, *, oids: dict[str, int]
    ) -> None:
        service = next(one for one in SERVICES if service_secret(one, desired.name) == action.name)
        held = {
            number: password
            for login, password in credentials.passwords.items()
            if (number := login_number(login)) is not None and login == service_login(service, number)
        }
        wanted = WantedSecret(
            name=action.name,
            namespace=action.namespace,
            owner_label=api.LABEL_DATABASE_SERVER,
            owner=desired.name,
            owner_uid=desired.uid,
            data=service_binding(desired, service, held),
            applied=" ".join(
                applied_mark(oids[service_login(service, number)], password) for number, password in held.items()
            ),
        )
        self._cache.put("Secret", await write_secret(self._kube, wanted, observed=action.observed))

    async def _prepare_registry(self, good: ServerVerdict, registry: ServerAddress) -> ServerVerdict:
        try:
            async with self._servers.connection(registry) as connection:
                if not await registry_is_ready(connection):
                    await prepare_registry(connection)
                return good
        except (DatabaseError, psycopg.Error, MigrationError) as error:
            problem = failure_problem(classify(error))
            said = f"the registry in database {registry.database}: {error}"
            return replace(good, problem=Problem(Reason.REGISTRY_UNAVAILABLE, said, lasting=problem.lasting))

    async def _taken(self, server: DatabaseServer) -> Taken | None:
        """Ask the registry what is taken of the server; None when it cannot be asked now."""
        try:
            registry = await self._addresses.registry(self._settings.registry_server, self._settings.registry_database)
            async with self._servers.connection(registry) as connection:
                return (await read_taken(connection)).get(server.metadata.name, Taken())
        except (NoAddress, DatabaseError, psycopg.Error):
            return None

    async def _conclude(self, body: RawObject, server: DatabaseServer, verdict: ServerVerdict) -> Result:
        status = server_status(server, verdict, now=self._clock.now())
        raw = status.model_dump(by_alias=True, exclude_none=True, mode="json")
        return await self._write_status(body, raw, verdict.problem)

    async def _write_status(self, body: RawObject, raw: RawObject, problem: Problem | None) -> Result:
        shown = body.get("status") or {}
        if raw != shown:
            operations = [{"op": "add", "path": "/status", "value": raw}]
            written = await self._kube.json_patch(
                DATABASESERVERS, body["metadata"]["name"], operations, subresource="status"
            )
            self._cache.put(KIND, written)
        if problem is not None and reason_shown(shown, ConditionType.READY) != problem.reason:
            await self._kube.event(
                about=body, type="Warning", reason=problem.reason, message=problem.message, action="Reconcile"
            )
        # What is somebody's to mend is looked at again by the sweep.
        failed = problem is not None and not problem.lasting
        return Result(failed=failed, error=problem.reason.value if problem is not None else "")

    async def _leave(self, body: RawObject, server: DatabaseServer) -> Result:
        """Let the object go once no Tenant is placed on the server; the server keeps what is on it."""
        name = server.metadata.name
        users = self._users(name)
        if users:
            named = f"{', '.join(users[:5])}{' and more' if len(users) > 5 else ''}"
            said = f"Tenants are placed on it, or the registry has their rows there: {named}"
            return await self._conclude(body, server, ServerVerdict(Problem(Reason.IN_USE, said, lasting=True)))
        for service in SERVICES:
            secret = await observe_secret(
                self._kube, service_secret(service, name), self._settings.namespace, owner_uid=server.metadata.uid
            )
            if secret is not None and secret.ours:
                await delete_secret(self._kube, secret)
        await self._let_go(name)
        await self._patch_finalizers(body, [one for one in server.metadata.finalizers if one != api.FINALIZER])
        await self._forget(name)
        return Result()

    async def _forget(self, name: str) -> None:
        await self._servers.forget(name)
        await self._servers.forget(registry_pool(name))
        self._addresses.forget(name)

    async def _let_go(self, name: str) -> None:
        """Shut the services out as far as the server can be reached; a server that is gone does not keep the object."""
        try:
            address = await self._addresses.address(name)
            async with self._servers.connection(address) as connection:
                held, free = claim(self._settings.installation_id, name), claim(self._settings.installation_id, "")
                await let_go(connection, sorted(await login_oids(connection)), held=held, free=free)
        except (NoAddress, DatabaseError, psycopg.Error) as error:
            logger.warning("the server was not let go", extra={"server": name, "error": str(error)})

    def _users(self, name: str) -> list[str]:
        """Name the Tenants that are, or ask to be, on the server; all of them if it holds the registry."""
        return sorted(
            body["metadata"]["name"]
            for body in self._cache.all("Tenant")
            if name == self._settings.registry_server
            or name in ((body.get("status") or {}).get("databaseServer"), body["spec"].get("databaseServer"))
        )

    async def _patch_finalizers(self, body: RawObject, finalizers: list[str]) -> RawObject:
        metadata = body["metadata"]
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        written = await self._kube.json_patch(DATABASESERVERS, metadata["name"], operations)
        self._cache.put(KIND, written)
        return written


def _unreachable(error: DatabaseError) -> Problem:
    failure = error.failure
    problem = failure_problem(failure)
    if failure.kind is FailureKind.UNREACHABLE and problem.reason is Reason.DATABASE_ERROR:
        return Problem(Reason.NOT_REACHABLE, failure.message)
    # A database may be made, a password set: it is tried again without anybody telling us.
    return Problem(problem.reason, failure.message, lasting=not failure.transient)


def _with_room(
    good: ServerVerdict, server: DatabaseServer, catalogue: ServerCatalogue, taken: Taken | None, *, logins: int
) -> ServerVerdict:
    """Say how many tenants there are, and what bounds them."""
    limits = Limits(
        catalogue.version,
        asked=server.spec.limits.tenants if server.spec.limits else None,
        max_connections=catalogue.max_connections,
        reserved_connections=catalogue.reserved_connections,
        operator_connections=absent.operator_connections(server.spec),
    )
    return replace(
        good,
        tenants=taken.tenants if taken else None,
        capacity=capacity_of(limits, logins=logins),
        room=capacity_said(limits, taken, logins=logins),
    )
