"""``tenantry uninstall``."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tenantry_crds import names as api
from tenantry_operator.cli.cluster import ClusterPlace, cluster
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace
from tenantry_operator.clients.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DATABASESERVERS,
    LEASES,
    NAMESPACES,
    TENANTS,
    Invalid,
    Kube,
    NotFound,
    RawObject,
    Resource,
)
from tenantry_operator.model.isolation import Isolation, Layout
from tenantry_operator.model.names import TenantNames

SHOWN = 20
WORD = "orphan"
EPILOG = "Examples: `tenantry uninstall` · `tenantry uninstall --orphan` · `tenantry uninstall --orphan --execute`"
HOW = """\
Deleting what an operator looks after needs the operator. First, while it runs:
  kubectl delete tenants --all          each keeps or drops its data as its spec says
  kubectl delete databaseservers --all
and then uninstall. If they are to stay in Postgres as they are, with nobody looking after them:
  tenantry uninstall --orphan"""
NOT_IN_ORDER = """\
The operator can let nothing go in good order without it. What is left is let go, and its data stays in Postgres, by
  tenantry uninstall --orphan"""


@dataclass(frozen=True)
class Standing:
    """What is there, and whether an operator looks after it."""

    tenants: Sequence[RawObject]
    servers: Sequence[RawObject]
    namespaces: Sequence[RawObject]
    """Those that were made for a Tenant, of now or of before."""
    led_by: str | None
    broken: Sequence[str] = ()
    """What is wrong with the definitions: one that is not there, or that leaves."""

    @property
    def held(self) -> Sequence[tuple[Resource, RawObject]]:
        """All that bears our finalizer."""
        every = [(TENANTS, body) for body in self.tenants] + [(DATABASESERVERS, body) for body in self.servers]
        return [(kind, body) for kind, body in every if api.FINALIZER in body["metadata"].get("finalizers", ())]


def uninstall(
    orphan: Annotated[
        bool, typer.Option("--orphan", help="Take our finalizer off every object, without an operator; drop nothing.")
    ] = False,
    execute: Annotated[bool, typer.Option("--execute", help="With --orphan: do it, and not only say it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --execute: do not ask.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = api.SYSTEM_NAMESPACE,
) -> None:
    """Check that tenantry can be uninstalled, and say what to do; the exit code is 1 while there are Tenants.

    --orphan says what would be let go and what stays where it is; with --execute it is done.
    """
    place = ClusterPlace(kubeconfig, context, namespace)
    with told():
        standing = asyncio.run(_look(place))
        if orphan:
            _orphan(standing, place, execute=execute, yes=yes)
        else:
            _check(standing)


def _check(standing: Standing) -> None:
    if standing.broken and standing.held:
        what = ", ".join(_label(kind, body) for kind, body in standing.held[:SHOWN])
        raise CommandFailed(
            f"{'; '.join(standing.broken)}; there are {len(standing.held)} objects: {what}\n{NOT_IN_ORDER}"
        )
    for said in standing.broken:
        print(f"{said}; what such objects had in Postgres is there still.")
    if standing.tenants:
        raise CommandFailed(f"there are {len(standing.tenants)} Tenants: {_named(standing.tenants)}\n{HOW}")
    if standing.servers:
        print(f"There are no Tenants. DatabaseServers: {_named(standing.servers)}; delete them first.")
    print("Nothing stands in the way: helm uninstall tenantry")


def _orphan(standing: Standing, place: ClusterPlace, *, execute: bool, yes: bool) -> None:
    for said in standing.broken:
        print(f"{said}.")
    if not standing.held:
        print("No object bears the finalizer of tenantry.")
        return
    print(f"Let go: {', '.join(_label(kind, body) for kind, body in standing.held)}")
    for body in standing.tenants:
        print(_stays(body, standing.namespaces))
    uids = {body["metadata"]["uid"] for body in standing.tenants}
    if without := [body for body in standing.namespaces if _owner(body) not in uids]:
        print(f"  Tenants that are gone left: namespaces {_named(without)}")
    print("The objects stay until somebody deletes them; adoptionPolicy Force takes their data over later.")
    if not execute:
        print("Nothing was changed. To do it: tenantry uninstall --orphan --execute")
        return
    if standing.led_by is not None:
        said = f"an operator leads ({standing.led_by}), and would put every finalizer back: scale it to 0 first"
        raise CommandFailed(said)
    if not yes and input(f"Type {WORD} to go on: ").strip() != WORD:
        raise CommandFailed("nothing was changed")
    asyncio.run(_let_go(place, standing.held))
    print(f"{len(standing.held)} objects were let go.")


def _stays(body: RawObject, namespaces: Sequence[RawObject]) -> str:
    """Say what of a Tenant nobody looks after any more."""
    own = [one for one in namespaces if _owner(one) == body["metadata"]["uid"]]
    name, status = body["metadata"]["name"], body.get("status") or {}
    layout = Layout(TenantNames(name), Isolation(body["spec"]["isolation"]), "", "")
    binding = status.get("binding") or {}
    secret = f", Secret {binding.get('namespace')}/{binding.get('name')}" if binding else ""
    where = f"server {status.get('databaseServer')}, database {status.get('database')}"
    space = f", namespace {_named(own)}" if own else ""
    kept = f"{layout.holds}, roles {', '.join(layout.roles)}"
    return f"  {name} leaves in {where}: {kept}{secret}{space}"


def _owner(namespace: RawObject) -> str | None:
    """Return the UID of the Tenant that it was made for."""
    found: str | None = (namespace["metadata"].get("annotations") or {}).get(api.ANNOTATION_OWNER_UID)
    return found


async def _look(place: ClusterPlace) -> Standing:
    async with cluster(place) as kube:
        tenants, servers = await kube.list(TENANTS), await kube.list(DATABASESERVERS)
        labelled = await kube.list(NAMESPACES, labels=api.LABEL_TENANT, metadata_only=True)
        broken = [said for kind in (TENANTS, DATABASESERVERS) if (said := await _broken(kube, kind))]
        lease = await kube.get(LEASES, api.LEASE_NAME, namespace=place.namespace)
    namespaces = [body for body in labelled if _owner(body)]
    return Standing(tenants, servers, namespaces, _leader(lease or {}, now=datetime.now(UTC)), broken)


async def _broken(kube: Kube, kind: Resource) -> str | None:
    name = f"{kind.plural}.{api.GROUP}"
    definition = await kube.get(CUSTOMRESOURCEDEFINITIONS, name)
    if definition is None:
        return f"the definition {name} is not in the cluster"
    return f"the definition {name} is being deleted" if definition["metadata"].get("deletionTimestamp") else None


def _leader(lease: RawObject, *, now: datetime) -> str | None:
    """Name who holds the Lease, unless it ran out."""
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return None
    lasts = timedelta(seconds=spec.get("leaseDurationSeconds") or 0)
    runs_out = datetime.fromisoformat(spec["renewTime"]) + lasts
    return str(spec["holderIdentity"]) if now < runs_out else None


async def _let_go(place: ClusterPlace, held: Sequence[tuple[Resource, RawObject]]) -> None:
    async with cluster(place) as kube:
        for kind, body in held:
            await _without_finalizer(kube, kind, body)


async def _without_finalizer(kube: Kube, kind: Resource, body: RawObject) -> None:
    """Take ours alone, and from that very object; one that changed meanwhile is read again."""
    name, uid = body["metadata"]["name"], body["metadata"]["uid"]
    current: RawObject | None = body
    while current is not None and current["metadata"]["uid"] == uid:
        metadata = current["metadata"]
        left = [one for one in metadata.get("finalizers", ()) if one != api.FINALIZER]
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": left},
        ]
        try:
            await kube.json_patch(kind, name, operations)
            return
        except NotFound:
            return
        except Invalid as error:
            current = await kube.get(kind, name)
            if current is not None and current["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
                raise CommandFailed(f"{kind.kind} {name} cannot be changed: {error}") from error


def _label(kind: Resource, body: RawObject) -> str:
    return f"{kind.kind} {body['metadata']['name']}"


def _named(bodies: Sequence[RawObject]) -> str:
    names = sorted(body["metadata"]["name"] for body in bodies)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
