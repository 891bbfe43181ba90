"""``tenantry tenant restore``: a tenant's data from a backup again."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter, ValidationError

from tenantry_crds import DatabaseServer, names
from tenantry_operator.cli.cluster import CallersKube, ClusterPlace, cluster
from tenantry_operator.cli.failure import FAILED, CommandFailed, told
from tenantry_operator.cli.operator_view import RegistryChoice, cached_servers, environment, operator_settings
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace, Output, RegistryDatabase, RegistryServer
from tenantry_operator.cli.output import Format, console, show
from tenantry_operator.cli.restore_source import Reached, parse_source
from tenantry_operator.cli.waiting import LATE
from tenantry_operator.clients.kube import DEPLOYMENTS, JOBS, TENANTS, RawObject
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.backup import Destination, JobPod, JobState, ObservedBackup
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.pool import POOL_SCHEMA
from tenantry_operator.observe.backup import observe_backup
from tenantry_operator.plan.backup_manifests import job, job_name, restore_order
from tenantry_operator.reconcile.tenant_backup import server_address, server_secrets
from tenantry_operator.reconcile.tenant_placing import candidate

EPILOG = (
    "Examples: `tenantry tenant restore acme --from volume://backups` · "
    "`tenantry tenant restore acme --from volume://backups/acme/<uid>/<time> --dry-run` · "
    "`tenantry tenant restore acme --from s3://acme-backups/tenants --credentials-secret bucket "
    "--endpoint https://s3.example.com`"
)

POLL: Final = 0.5
TIMEOUT: Final = 3600.0
POD: Final = "TENANTRY_JOB_POD"


@dataclass(frozen=True)
class Wish:
    """What is to be restored, from where, onto which server."""

    name: str
    destination: Destination
    path: str
    server: str | None
    image: str | None
    unrecorded: bool
    dry_run: bool
    wait: bool
    timeout: float


def restore(
    name: Annotated[str, typer.Argument(help="The name that the Tenant had.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="A backup, as the Event BackedUp names it; or a volume or bucket alone, volume://<claim> or "
            "s3://<bucket>/<prefix>, for the newest of the name, if one Tenant alone had it.",
        ),
    ],
    server: Annotated[
        str | None, typer.Option(help="The DatabaseServer to restore onto. Absent: the default one.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Of a bucket: the address of its store. Absent: Amazon S3.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="Of a bucket: its region. Absent: us-east-1.")] = None,
    credentials_secret: Annotated[
        str | None,
        typer.Option(
            help="Of a bucket, which needs it: a Secret beside the operator with the keys AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY."
        ),
    ] = None,
    ca_secret: Annotated[
        str | None,
        typer.Option(help="Of a bucket: a Secret beside the operator whose ca.crt signed the store's certificate."),
    ] = None,
    unrecorded: Annotated[
        bool,
        typer.Option(
            "--unrecorded",
            help="Restore a backup of which the registry knows nothing, as another installation's, or after the "
            "registry was lost. Whoever could write there decides what comes back.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is done, and show how it gets there.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.", min=0.0)] = TIMEOUT,
    image: Annotated[str | None, typer.Option(help="The image of the Job. Absent: the operator's.")] = None,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
    registry_server: RegistryServer = None,
    registry_database: RegistryDatabase = None,
) -> None:
    """Make a deleted Tenant's data from a backup again; the next Tenant of the name adopts it, with the same tenant id.

    A Job in the operator's namespace makes the group roles anew under their old names, restores both schemas, or the
    tenant's own database, or its rows in the pool, compares them with the backup, and leaves all of it as
    deletionPolicy Retain does. Logins, passwords and API keys are not restored: the Tenant that adopts the data gets
    new ones. Nothing is ever written over: while a Tenant of the name is there, or a row, a role, a schema or a
    database of it, the command refuses. So it does a backup whose manifest is not the one that the registry knows.

    Ends with 0 when the data is there, 1 when it cannot be, 3 when it is not so in time.
    """
    choice, place = RegistryChoice(registry_server, registry_database), ClusterPlace(kubeconfig, context, namespace)
    with told():
        reached = Reached(endpoint, region, credentials_secret, ca_secret)
        destination, path = parse_source(source, name, reached)
        wish = Wish(name, destination, path, server, image, unrecorded, dry_run, wait, timeout)
        body, found = asyncio.run(_carry_out(wish, place, choice))
    if found is None:
        show(body, output, lambda: _foretold(wish, body))
        return
    show(_as_value(wish, found), output, lambda: _concluded(wish, found))
    if found.state is JobState.FAILED:
        raise typer.Exit(FAILED)
    if wait and found.state is not JobState.VERIFIED:
        raise typer.Exit(LATE)


async def _carry_out(
    wish: Wish, place: ClusterPlace, choice: RegistryChoice
) -> tuple[RawObject, ObservedBackup | None]:
    async with cluster(place) as kube:
        if await kube.get(TENANTS, wish.name) is not None:
            raise CommandFailed(
                f"Tenant {wish.name} is there, and a restore never writes over one: delete it first, with the "
                "deletionPolicy that its data deserves"
            )
        body = await _job(kube, wish, place, choice)
        if wish.dry_run:
            return body, None
        await _start(kube, body)
        return body, await _follow(kube, wish, body)


async def _job(kube: CallersKube, wish: Wish, place: ClusterPlace, choice: RegistryChoice) -> RawObject:
    cache = await cached_servers(kube)
    settings = await operator_settings(kube, cache, namespace=place.namespace, choice=choice)
    body = _server(cache, wish.server)
    server, registry = _read(body), _read(_server(cache, settings.registry_server))
    order = restore_order(
        wish.name,
        installation=settings.installation_id,
        path=wish.path,
        server=server_address(server, server.spec.database),
        registry=server_address(registry, settings.registry_database),
        unrecorded=wish.unrecorded,
        candidate=candidate(body),
    )
    return job(
        "restore",
        job_name("restore", wish.name, f"{wish.destination.told}/{wish.path}"),
        namespace=place.namespace,
        tenant=wish.name,
        uid=f"{wish.destination.told}/{wish.path}",
        order=order,
        secrets={"server": server_secrets(server), "registry": server_secrets(registry)},
        destination=wish.destination,
        pod=await _pod(kube, wish, place.namespace),
    )


def _server(cache: ObjectCache, name: str | None) -> RawObject:
    """Return the server of that name, or the default one. Raises CommandFailed."""
    bodies = sorted(cache.all("DatabaseServer"), key=lambda body: str(body["metadata"]["name"]))
    defaults = [body for body in bodies if body["spec"].get("default")]
    found = cache.get(Key("DatabaseServer", name)) if name else next(iter(defaults), None)
    if found is None:
        there = ", ".join(body["metadata"]["name"] for body in bodies) or "none"
        said = f"there is no DatabaseServer {name}" if name else "no DatabaseServer is the default: give --server"
        raise CommandFailed(f"{said}; there are: {there}")
    return found


def _read(found: RawObject) -> DatabaseServer:
    return DatabaseServer.model_validate({key: value for key, value in found.items() if key != "status"})


async def _pod(kube: CallersKube, wish: Wish, namespace: str) -> JobPod:
    """Run it as the operator runs its own Jobs. Raises CommandFailed when that cannot be known."""
    deployment = await kube.get(DEPLOYMENTS, names.LEASE_NAME, namespace=namespace)
    given = json.loads(environment(deployment).get(POD, "{}"))
    try:
        pod: JobPod = TypeAdapter(JobPod).validate_python({**given, **({"image": wish.image} if wish.image else {})})
    except ValidationError as error:
        raise CommandFailed(f"{POD} of the operator cannot be read: {error.errors()[0]['msg']}") from error
    if not pod.image:
        raise CommandFailed(f"Deployment {namespace}/{names.LEASE_NAME} does not name the image of Jobs: give --image")
    return pod


async def _start(kube: CallersKube, body: RawObject) -> None:
    """Make the Job. One of an earlier command that has ended makes room; one that runs is followed."""
    metadata = body["metadata"]
    found = await _look(kube, body)
    if found is not None and found.state is not JobState.RUNNING:
        await kube.delete(JOBS, metadata["name"], namespace=metadata["namespace"], uid=found.uid)
        found = await _look(kube, body)
    if found is None:
        await kube.create(JOBS, body)


async def _look(kube: CallersKube, body: RawObject) -> ObservedBackup | None:
    metadata = body["metadata"]
    owner = metadata["annotations"][names.ANNOTATION_OWNER_UID]
    where = metadata["name"], metadata["namespace"]
    return await observe_backup(kube, *where, owner_uid=owner, now=datetime.now(UTC))


async def _follow(kube: CallersKube, wish: Wish, body: RawObject) -> ObservedBackup:
    """Print each change until the Job ends or the time is over. Raises CommandFailed when it is gone."""
    clock: Callable[[], float] = asyncio.get_running_loop().time
    ends, shown = clock() + wish.timeout, ""
    while True:
        found = await _look(kube, body)
        if found is None:
            raise CommandFailed(f"Job {body['metadata']['name']} was removed meanwhile")
        if (now := _progress(found)) != shown:
            shown = now
            console(stderr=True).print(now)
        if not wish.wait or found.state is not JobState.RUNNING or clock() >= ends:
            return found
        await asyncio.sleep(POLL)


def _progress(found: ObservedBackup) -> str:
    said = f": {found.said}" if found.said else ""
    return f"Job {found.namespace}/{found.name} {found.state}{said}"


def _foretold(wish: Wish, body: RawObject) -> str:
    order = json.loads(_variables(body)["TENANTRY_ORDER"])
    names, server = TenantNames(wish.name), order["server"]
    return "\n".join(
        [
            f"from      {wish.destination.place}/{wish.path or f'{wish.name}/… (the newest)'}",
            f"onto      DatabaseServer {server['name']} ({server['host']})",
            f"roles     {', '.join(names.group_roles)}; of a pooled tenant {names.owner} alone",
            f"data      schemas {', '.join(names.schemas)} in database {server['database']}, or in a database "
            f"{names.database} of its own, or rows in schema {POOL_SCHEMA}, as the backup was",
            f"registry  a row of state released, on DatabaseServer {order['registry']['name']}",
            f"by        Job {body['metadata']['namespace']}/{body['metadata']['name']}; -o yaml prints it",
            "The Job refuses where one of these is there.",
        ]
    )


def _variables(body: RawObject) -> dict[str, str]:
    return {one["name"]: one["value"] for one in body["spec"]["template"]["spec"]["containers"][0]["env"]}


def _as_value(wish: Wish, found: ObservedBackup | None) -> dict[str, Any]:
    state = found.state.value if found else ""
    restored, (job_, said) = {"Verified": "Restored"}.get(state, state), (found.name, found.said) if found else ("", "")
    return {"tenant": wish.name, "state": restored, "job": job_, "said": said}


def _concluded(wish: Wish, found: ObservedBackup | None) -> str:
    if found is None or found.state is JobState.RUNNING:
        return f"{wish.name}: under way, not done yet; the Job goes on with it"
    if found.state is JobState.FAILED:
        return f"{wish.name}: not restored: {found.said}"
    server = wish.server or "the default one"
    todo = f"Apply a Tenant {wish.name} on DatabaseServer {server}: it adopts the data"
    return f"{wish.name}: {found.said or 'restored'}\n{todo}"
