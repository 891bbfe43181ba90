"""``tenantry plan``: what the operator would do, by the operator's own planner, with the caller's own rights."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError
from typer.core import TyperCommand

from tenantry_crds import Tenant, names
from tenantry_crds.reasons import Reason
from tenantry_operator.cli.cluster import CLIENT, CallersKube, ClusterPlace, ReadingKube, cluster, told_apart
from tenantry_operator.cli.detour import Detours
from tenantry_operator.cli.failure import FAILED, CommandFailed, told
from tenantry_operator.cli.operator_view import RegistryChoice, cached_servers, operator_settings
from tenantry_operator.cli.options import (
    Context,
    Kubeconfig,
    Namespace,
    Output,
    RegistryDatabase,
    RegistryServer,
    Through,
)
from tenantry_operator.cli.output import Format, show
from tenantry_operator.cli.plan_documents import (
    LAST_APPLIED,
    Document,
    changes,
    is_ours,
    merged,
    read_documents,
)
from tenantry_operator.cli.plan_view import Forecast, Outcome, as_value, steps_of, text_of
from tenantry_operator.clients.kube import TENANTS, ApiError, Forbidden, NotFound, RawObject
from tenantry_operator.engine.clock import SystemClock
from tenantry_operator.engine.fence import Fence
from tenantry_operator.metrics import Metrics
from tenantry_operator.plan.status import unreadable
from tenantry_operator.reconcile.addresses import Addresses
from tenantry_operator.reconcile.tenant_blocked import Blocked, NeverPlaced
from tenantry_operator.reconcile.tenant_foresight import TenantForesight

CHANGES: Final = 2
EPILOG = (
    "Examples: `tenantry plan -f acme.yaml` · `kustomize build . | tenantry plan -f -` · "
    "`tenantry plan -f tenants/ -o json` · `tenantry plan -f acme.yaml --through 127.0.0.1:15432` by a port-forward"
)
NOT_REACHED: Final = (
    Reason.SERVER_UNREACHABLE,
    Reason.NOT_REACHABLE,
    Reason.NAME_NOT_RESOLVED,
    Reason.REGISTRY_UNAVAILABLE,
)
"""Reasons that may be true of this machine alone: the operator is elsewhere."""


class PlanCommand(TyperCommand):
    """A command whose exit code 2 means changes, so that a mistyped option must not end with it."""

    def make_context(self, *words: Any, **extra: Any) -> Any:
        """Parse the words; a mistake in them ends with 1."""
        try:
            return super().make_context(*words, **extra)
        except Exception as error:
            if hasattr(error, "exit_code") and error.exit_code == CHANGES:
                error.exit_code = FAILED
            raise


@dataclass(frozen=True)
class PlanPlace:
    """Where to look, and by which ways."""

    cluster: ClusterPlace
    registry: RegistryChoice
    through: tuple[str, ...] = ()


def plan(
    file: Annotated[
        list[str], typer.Option("--filename", "-f", help="A file, a folder, or - for standard input; may be repeated.")
    ],
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
    registry_server: RegistryServer = None,
    registry_database: RegistryDatabase = None,
    through: Through = None,
) -> None:
    """Print what the operator would do if the Tenants of a file were applied. Nothing is changed.

    The API server rehearses the write, so that what it refuses is refused here; cluster, registry and database are
    read with your rights; the operator's own planner decides. Where you cannot read, the plan says so.

    Ends with 0 when there is nothing to do, 2 when there are changes, 1 when something is refused, blocked or unknown.
    """
    place = PlanPlace(
        ClusterPlace(kubeconfig, context, namespace),
        RegistryChoice(registry_server, registry_database),
        tuple(through or ()),
    )
    with told():
        forecasts = asyncio.run(forecast_all(place, read_documents(file)))
    values = [as_value(one) for one in forecasts]
    show(values, output, lambda: text_of(forecasts))
    raise typer.Exit(exit_code(forecasts))


def exit_code(forecasts: Sequence[Forecast]) -> int:
    if any(one.outcome.is_failure for one in forecasts):
        return FAILED
    return CHANGES if any(one.outcome is Outcome.CHANGES for one in forecasts) else 0


async def forecast_all(place: PlanPlace, documents: Sequence[Document]) -> list[Forecast]:
    """Foresee each document; what fails for one is said of that one."""
    servers = Detours(CLIENT, place.through)
    try:
        async with cluster(place.cluster) as kube:
            planner = Planner(kube, servers, place)
            return [await planner.forecast(document) for document in documents]
    finally:
        await servers.close()


class Planner:
    """Foresees documents against one cluster."""

    def __init__(self, kube: CallersKube, servers: Detours, place: PlanPlace) -> None:
        self._kube = kube
        self._servers = servers
        self._place = place
        self._reading = ReadingKube(kube)
        self._foresight: TenantForesight | None = None

    async def forecast(self, document: Document) -> Forecast:
        """Say what would become of a document. Raises nothing that is expected."""
        title, source = document.title, document.source
        if not is_ours(document) or document.kind != TENANTS.kind:
            return Forecast(title, source, Outcome.NOT_PLANNED, message="only Tenants are planned")
        if not document.name:
            return Forecast(title, source, Outcome.REFUSED, message="metadata.name is missing")
        try:
            return await self._forecast(document)
        except ApiError as error:
            return Forecast(title, source, Outcome.REFUSED, message=told_apart(error))
        except CommandFailed as failure:
            return Forecast(title, source, Outcome.UNKNOWN, message=str(failure))

    async def _forecast(self, document: Document) -> Forecast:
        live = await self._kube.get(TENANTS, document.name)
        body, notes = await self._rehearsed(document, live)
        changed = tuple(map(str, changes((live or {}).get("spec") or {}, body.get("spec") or {})))
        if live is None:
            changed = (f"a new {document.title}",)
        known = Forecast(document.title, document.source, Outcome.UNKNOWN, changes=changed, notes=notes)
        try:
            tenant = Tenant.model_validate(body)
        except ValidationError as error:
            problem = unreadable(error)
            return replace(known, outcome=Outcome.REFUSED, reason=problem.reason, message=problem.message)
        self._reading.planned = body
        return await self._foreseen(tenant, known)

    async def _rehearsed(self, document: Document, live: RawObject | None) -> tuple[RawObject, tuple[str, ...]]:
        """Return the object as the API server would keep it, and what could not be asked."""
        wanted = applied(document.body, live)
        try:
            return await self._kube.rehearse(TENANTS, wanted, exists=live is not None), ()
        except Forbidden as error:
            said = f"the API server did not check the file: {error.message}"
            metadata = {"uid": "", "generation": 1, **wanted["metadata"]}
            return {**wanted, "metadata": metadata}, (said,)
        except NotFound as error:
            raise CommandFailed("this cluster does not know Tenants; install the chart tenantry-crds") from error

    async def _foreseen(self, tenant: Tenant, known: Forecast) -> Forecast:
        try:
            foreseen = await (await self._ready()).foresee(tenant)
        except NeverPlaced:
            return replace(known, outcome=Outcome.NOTHING, message="it was never placed anywhere, so it just goes")
        except Blocked as blocked:
            return _blocked(known, blocked)
        except ApiError as error:
            said = f"what would be done is not known: {told_apart(error)}"
            return replace(known, outcome=Outcome.UNKNOWN, message=said)
        plan = foreseen.plan
        known = replace(known, place=f"server {foreseen.address.name}, database {foreseen.desired.place.database}")
        if plan.refusal is not None:
            return replace(known, outcome=Outcome.REFUSED, reason=plan.refusal.reason, message=plan.refusal.message)
        if not foreseen.prepared and tenant.metadata.deletion_timestamp is None:
            said = f"DatabaseServer {foreseen.address.name} is not prepared yet, or by another installation"
            return replace(known, outcome=Outcome.BLOCKED, reason=Reason.PROVISIONING, message=said)
        held = tuple(f"left undone, since drift is only reported: {step}" for step in steps_of(plan.held))
        kept_from = (plan.credentials_problem, plan.extension_problem)
        beside = tuple(f"{one.reason}: {one.message}" for one in kept_from if one is not None)
        known = replace(known, notes=(*known.notes, *held, *beside))
        changed = bool(plan.actions or known.changes)
        return replace(known, outcome=Outcome.CHANGES if changed else Outcome.NOTHING, steps=steps_of(plan.actions))

    async def _ready(self) -> TenantForesight:
        """Gather what the operator knows, once. Raises ApiError, CommandFailed."""
        if self._foresight is None:
            self._foresight = await foresight(self._kube, self._reading, self._servers, place=self._place)
        return self._foresight


async def foresight(kube: CallersKube, reading: ReadingKube, servers: Detours, *, place: PlanPlace) -> TenantForesight:
    """Put the parts of a reconciler together that cannot write: a plan that tries to is a fault of ours."""
    cache, clock = await cached_servers(kube), SystemClock()
    namespace = place.cluster.namespace
    settings = await operator_settings(kube, cache, namespace=namespace, choice=place.registry)
    server, database = settings.registry_server, settings.registry_database
    addresses = Addresses(reading, cache, namespace=namespace, registry_server=server, clock=clock)
    return TenantForesight(
        kube=reading,
        servers=servers,
        addresses=addresses,
        cache=cache,
        fence=Fence(servers, lambda: addresses.registry(server, database)),
        settings=settings,
        clock=clock,
        metrics=Metrics(),
    )


def applied(body: Mapping[str, Any], live: RawObject | None) -> RawObject:
    """Return the object that `kubectl apply` would send."""
    wanted = {key: value for key, value in body.items() if key != "status"}
    if live is None:
        return dict(wanted)
    annotations = live["metadata"].get("annotations") or {}
    try:
        last = json.loads(annotations.get(LAST_APPLIED, "{}"))
    except ValueError:
        last = {}
    return merged(live, wanted, last)


def _blocked(known: Forecast, blocked: Blocked) -> Forecast:
    problem = blocked.problem
    if problem.reason in NOT_REACHED:
        note = "the database cannot be read from here, so the steps are not known; --through names another address"
        known = replace(known, outcome=Outcome.UNKNOWN, notes=(*known.notes, note))
    else:
        known = replace(known, outcome=Outcome.BLOCKED)
    return replace(known, reason=problem.reason, message=problem.message)
