"""``tenantry tenant list``, ``status`` and ``report``."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.live import Live

from tenantry_crds import names
from tenantry_operator.cli.cluster import CallersKube, ClusterPlace, cluster, get_tenant
from tenantry_operator.cli.failure import FAILED, CommandFailed, told
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace, Output, Seconds
from tenantry_operator.cli.output import Format, as_text, columns, condition, console, now, show
from tenantry_operator.cli.tenant_view import (
    HEADS,
    event_facts,
    explained,
    markdown,
    row,
    secret_facts,
    summary,
    tree,
    without_secrets,
)
from tenantry_operator.clients.kube import (
    DATABASESERVERS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    SECRETS,
    TENANTS,
    ApiError,
    Forbidden,
    Kube,
    RawObject,
)

TenantName = Annotated[str, typer.Argument(help="The Tenant's name.")]

POLL = 0.5
"""Seconds between two looks at what is waited for."""

LIST_EPILOG = "Examples: `tenantry tenant list --not-ready` · `tenantry tenant list -o json | jq '.[].name'`"
STATUS_EPILOG = "Examples: `tenantry tenant status acme` · `tenantry tenant status acme --wait --timeout 60`"
REPORT_EPILOG = "Examples: `tenantry tenant report acme > acme.md` · `tenantry tenant report acme -o json`"


class ReportFormat(StrEnum):
    MARKDOWN = "markdown"
    JSON = "json"
    YAML = "yaml"


def list_tenants(
    server: Annotated[str | None, typer.Option(help="Only those on this DatabaseServer.")] = None,
    not_ready: Annotated[bool, typer.Option("--not-ready", help="Only those that are not Ready.")] = False,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """List Tenants, and what is wrong with those that are not Ready. Ends with 0, or 1 when it cannot ask."""

    async def run() -> list[dict[str, Any]]:
        async with cluster(ClusterPlace(kubeconfig, context, namespace)) as kube:
            return [summary(body) for body in await kube.list(TENANTS)]

    with told():
        found = sorted(asyncio.run(run()), key=lambda one: str(one["name"]))
        wanted = [
            one for one in found if server in (None, one["server"]) and not (not_ready and one["ready"] == "True")
        ]
        show(wanted, output, lambda: columns(HEADS, [row(one, now()) for one in wanted]))
        if not wanted and output is Format.TABLE:
            console(stderr=True).print("no Tenants" if not found else f"none of {len(found)} Tenants")


def status(
    name: TenantName,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is Ready, and show how it gets there.")] = False,
    timeout: Seconds = 120.0,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Show a Tenant's conditions, place, roles, version, binding and ages.

    Ends with 0, also for a Tenant that is not Ready; with 1 when there is none, or when --wait saw no Ready in time.
    """

    async def run() -> tuple[RawObject, RawObject | None]:
        async with cluster(ClusterPlace(kubeconfig, context, namespace)) as kube:
            tenant = await (_wait_ready(kube, name, timeout, output) if wait else get_tenant(kube, name))
            return tenant, await read_secret(kube, tenant, metadata_only=True)

    with told():
        tenant, secret = asyncio.run(run())
        value = {**without_secrets(tenant), "summary": summary(tenant)}
        show(value, output, lambda: tree(tenant, secret, now=now()))
    if wait and not is_ready(tenant):
        ready = condition(tenant, "Ready")
        console(stderr=True).print(
            f"tenantry: {name} is not Ready after {timeout:g} s: {ready.get('reason', 'nothing is said yet')}"
        )
        raise typer.Exit(FAILED)


async def _wait_ready(kube: Kube, name: str, timeout: float, output: Format) -> RawObject:
    """Look until the Tenant is Ready or the time is over; a terminal sees it change."""
    tenant = await get_tenant(kube, name)
    ends = asyncio.get_running_loop().time() + timeout
    screen = console(stderr=True)
    with Live(console=screen, transient=True, auto_refresh=False) as live:
        while not is_ready(tenant) and asyncio.get_running_loop().time() < ends:
            if screen.is_terminal and output is Format.TABLE:
                live.update(tree(tenant, None, now=now()), refresh=True)
            await asyncio.sleep(POLL)
            tenant = await get_tenant(kube, name)
    return tenant


def is_ready(tenant: Mapping[str, Any]) -> bool:
    """Whether the Tenant is as its newest spec wants it."""
    ready = condition(tenant, "Ready")
    current = ready.get("observedGeneration") == tenant["metadata"].get("generation")
    return ready.get("status") == "True" and current


def report(
    name: TenantName,
    output: Annotated[ReportFormat, typer.Option("--output", "-o", help="The form.")] = ReportFormat.MARKDOWN,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Print one Tenant's whole state for a ticket. No password and no key is in it.

    What you may not read is named as such. Ends with 0, or 1 when there is no such Tenant.
    """
    with told():
        written = asyncio.run(_report(ClusterPlace(kubeconfig, context, namespace), name))
    print(markdown(written) if output is ReportFormat.MARKDOWN else as_text(written, Format(output)), end="")


async def _report(place: ClusterPlace, name: str) -> dict[str, Any]:
    async with cluster(place) as kube:
        tenant = await get_tenant(kube, name)
        server = (tenant.get("status") or {}).get("databaseServer") or tenant["spec"].get("databaseServer")
        return {
            "made": now().isoformat(timespec="seconds"),
            "kubernetes": await _or_why(kube.version()),
            "explained": explained(tenant),
            "tenant": without_secrets(tenant),
            "secret": await _or_why(_secret_facts(kube, tenant)),
            "server": await _or_why(_server_facts(kube, server)) if server else None,
            "operator": await _or_why(_operator_facts(kube, place.namespace)),
            "events": await _or_why(_event_facts(kube, name)),
        }


async def _or_why(asked: Any) -> Any:
    """Return the answer, or why there is none: one that may not be read hides no other."""
    try:
        return await asked
    except ApiError as error:
        return f"not known: {error}"


async def _secret_facts(kube: CallersKube, tenant: RawObject) -> dict[str, Any] | None:
    binding = (tenant.get("status") or {}).get("binding") or {}
    if not binding:
        return None
    return secret_facts(await kube.get(SECRETS, binding["name"], namespace=binding["namespace"]))


async def _server_facts(kube: Kube, name: str) -> Any:
    found = await kube.get(DATABASESERVERS, name)
    return None if found is None else {"spec": found["spec"], "status": found.get("status")}


async def _operator_facts(kube: Kube, namespace: str) -> Any:
    deployment = await kube.get(DEPLOYMENTS, names.LEASE_NAME, namespace=namespace)
    lease = await kube.get(LEASES, names.LEASE_NAME, namespace=namespace)
    containers = deployment["spec"]["template"]["spec"]["containers"] if deployment else []
    return {
        "images": [one["image"] for one in containers],
        "deployment": (deployment or {}).get("status"),
        "lease": (lease or {}).get("spec"),
    }


async def _event_facts(kube: Kube, name: str) -> Any:
    return event_facts(await kube.list(EVENTS, namespace="default"), name)


async def read_secret(kube: Kube, tenant: RawObject, *, metadata_only: bool = False) -> RawObject | None:
    """Return the Tenant's Secret; None when there is none. Without its values, who may not read it gets None too."""
    binding = (tenant.get("status") or {}).get("binding") or {}
    if not binding:
        return None
    try:
        return await kube.get(SECRETS, binding["name"], namespace=binding["namespace"])
    except Forbidden:
        if metadata_only:
            return None
        raise CommandFailed(
            f"you are not allowed to read Secret {binding['namespace']}/{binding['name']}, which has the password"
        ) from None
