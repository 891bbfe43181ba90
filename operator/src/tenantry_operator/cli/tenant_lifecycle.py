"""``tenantry tenant suspend``, ``archive`` and ``resume``."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tenantry_crds import Lifecycle, names
from tenantry_operator.cli.cluster import ClusterPlace, cluster, get_tenant
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace, Output, Seconds
from tenantry_operator.cli.output import Format, condition, show
from tenantry_operator.cli.tenant_view import summary, without_secrets
from tenantry_operator.cli.waiting import TIMEOUT, TenantName, Wait, check_stays, end_late, follow, same, stuck
from tenantry_operator.clients.kube import TENANTS, Kube, RawObject

SUSPEND_EPILOG = "Examples: `tenantry tenant suspend acme` · `tenantry tenant suspend acme --timeout 10 -o json`"
ARCHIVE_EPILOG = "Example: `tenantry tenant archive acme`"
RESUME_EPILOG = "Examples: `tenantry tenant resume acme` · `tenantry tenant resume acme --no-wait`"

REACHED: Final[Mapping[Lifecycle, Mapping[str, tuple[str, str]]]] = {
    Lifecycle.SUSPENDED: {"Suspended": ("True", "Suspended")},
    Lifecycle.ARCHIVED: {"Suspended": ("True", "Archived"), "CredentialsReady": ("False", "Archived")},
    Lifecycle.ACTIVE: {"Suspended": ("False", "Active"), "CredentialsReady": ("True", "Issued")},
}
"""What the conditions say once it is so. Ready is not among them: a Tenant with another trouble is suspended too."""


@dataclass(frozen=True)
class Wish:
    """What is to become of a Tenant, and how the user wants to hear of it."""

    name: str
    lifecycle: Lifecycle
    wait: bool
    timeout: float
    output: Format


def suspend(
    name: TenantName,
    wait: Wait = True,
    timeout: Seconds = TIMEOUT,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Let nobody get at a Tenant's data, and keep all of it, the credentials too, for `resume`.

    Sets spec.lifecycle. Ends with 0 when nobody gets in, 1 when that cannot be, 3 when it is not so in time.
    """
    _carry_out(Wish(name, Lifecycle.SUSPENDED, wait, timeout, output), ClusterPlace(kubeconfig, context, namespace))


def archive(
    name: TenantName,
    wait: Wait = True,
    timeout: Seconds = TIMEOUT,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Let nobody get at a Tenant's data, drop its login and its Secret, and keep the data.

    Sets spec.lifecycle. `resume` then issues new credentials. Ends with 0 when the credentials are gone, 1 when that
    cannot be, 3 when it is not so in time.
    """
    _carry_out(Wish(name, Lifecycle.ARCHIVED, wait, timeout, output), ClusterPlace(kubeconfig, context, namespace))


def resume(
    name: TenantName,
    wait: Wait = True,
    timeout: Seconds = TIMEOUT,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Give access to a suspended or archived Tenant back.

    Sets spec.lifecycle. Ends with 0 when the Secret's login and the services get in, 1 when that cannot be, 3 when it
    is not so in time.
    """
    _carry_out(Wish(name, Lifecycle.ACTIVE, wait, timeout, output), ClusterPlace(kubeconfig, context, namespace))


def _carry_out(wish: Wish, place: ClusterPlace) -> None:
    with told():
        tenant = asyncio.run(_ask(wish, place))
        value = {**without_secrets(tenant), "summary": summary(tenant)}
        show(value, wish.output, lambda: conclusion(wish, tenant))
    if wish.wait and not is_reached(tenant, wish.lifecycle):
        end_late(wish.timeout)


async def _ask(wish: Wish, place: ClusterPlace) -> RawObject:
    async with cluster(place) as kube:
        check_stays(await get_tenant(kube, wish.name))
        asked = await kube.merge_patch(TENANTS, wish.name, {"spec": {"lifecycle": wish.lifecycle.value}})
        return await _follow(kube, wish, asked) if wish.wait else asked


async def _follow(kube: Kube, wish: Wish, asked: RawObject) -> RawObject:
    return await follow(
        asked,
        lambda: same(kube, asked),
        is_reached=lambda found: is_reached(found, wish.lifecycle),
        said=progress,
        check=lambda found: _check_possible(found, wish),
        timeout=wish.timeout,
    )


def _check_possible(tenant: RawObject, wish: Wish) -> None:
    check_stays(tenant)
    wanted = tenant["spec"].get("lifecycle", Lifecycle.ACTIVE.value)
    if wanted != wish.lifecycle:
        raise CommandFailed(f"somebody else set spec.lifecycle of {wish.name} to {wanted} meanwhile")
    if current(tenant, "Stalled").get("status") == "True":
        raise stuck(tenant)


def is_reached(tenant: Mapping[str, Any], lifecycle: Lifecycle) -> bool:
    """Whether the operator says of the newest spec that it is so."""
    said = {kind: current(tenant, kind) for kind in REACHED[lifecycle]}
    return REACHED[lifecycle] == {kind: (one.get("status"), one.get("reason")) for kind, one in said.items()}


def current(tenant: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition; empty when there is none, or none of the newest spec."""
    found = condition(tenant, kind)
    return found if found.get("observedGeneration") == tenant["metadata"].get("generation") else {}


def progress(tenant: Mapping[str, Any]) -> str:
    """Say in one line how far the operator is."""
    name, suspended, ready = tenant["metadata"]["name"], current(tenant, "Suspended"), current(tenant, "Ready")
    if not ready:
        return f"{name}: the operator has not looked at it yet"
    said = f"{name}: {suspended.get('reason', 'access not looked at')}"
    return said if ready["status"] == "True" else f"{said} ({ready['reason']}: {ready.get('message', '')})"


def conclusion(wish: Wish, tenant: Mapping[str, Any]) -> str:
    """Say in one line what came of it."""
    if not is_reached(tenant, wish.lifecycle):
        return f"{wish.name}: spec.lifecycle is {wish.lifecycle}"
    ready = condition(tenant, "Ready")
    but = "" if ready.get("status") == "True" else f", and not Ready: {ready.get('reason')}"
    return f"{wish.name} is {wish.lifecycle}{but}: {ready.get('message', '')}"
