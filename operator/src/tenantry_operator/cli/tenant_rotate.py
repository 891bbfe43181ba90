"""``tenantry tenant rotate``."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenantry_crds import Lifecycle, names
from tenantry_operator.cli.cluster import ClusterPlace, cluster, get_tenant
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace, Output, Seconds
from tenantry_operator.cli.output import Format, condition, show
from tenantry_operator.cli.tenant_show import read_secret
from tenantry_operator.cli.tenant_view import secret_facts, summary, without_secrets
from tenantry_operator.cli.waiting import TIMEOUT, TenantName, Wait, check_stays, end_late, follow, same, stuck
from tenantry_operator.clients.kube import TENANTS, Kube, RawObject
from tenantry_operator.model.credentials import note_of

EPILOG = (
    "Examples: `tenantry tenant rotate acme` · `tenantry tenant rotate acme --no-wait` · "
    "`tenantry tenant rotate acme --timeout 10 -o json`"
)


@dataclass(frozen=True)
class Rotated:
    """A Tenant that was asked to rotate, and its Secret, as far as they came."""

    tenant: RawObject
    value: str
    """What was asked with; no other request has the same."""
    secret: RawObject | None = None

    @property
    def is_reached(self) -> bool:
        """Whether the Secret carries the credentials that were made for this request."""
        return carries(self.secret, self.value)


def rotate(
    name: TenantName,
    wait: Wait = True,
    timeout: Seconds = TIMEOUT,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Give a Tenant another login and another password; the old ones work beside them until the overlap ends.

    Sets the annotation tenantry.dev/rotate to a new value. Ends with 0 when the Secret carries the new credentials, 1
    when that cannot be, 3 when it is not so in time: while the old login of an earlier rotation still works, the next
    one waits.
    """
    value = datetime.now(UTC).isoformat(timespec="microseconds")
    with told():
        place = ClusterPlace(kubeconfig, context, namespace)
        rotated = asyncio.run(_ask(name, value, place, timeout=timeout if wait else None))
        show(_described(rotated), output, lambda: conclusion(rotated))
    if wait and not rotated.is_reached:
        end_late(timeout)


def _described(rotated: Rotated) -> dict[str, Any]:
    rotation = {"asked": rotated.value, "done": rotated.is_reached, "secret": secret_facts(rotated.secret)}
    return {**without_secrets(rotated.tenant), "summary": summary(rotated.tenant), "rotation": rotation}


async def _ask(name: str, value: str, place: ClusterPlace, *, timeout: float | None) -> Rotated:
    """Ask, and wait so many seconds; None waits for nothing."""
    async with cluster(place) as kube:
        tenant = await get_tenant(kube, name)
        check_stays(tenant)
        if timeout is not None:
            _check_open(tenant)
        changes = {"metadata": {"annotations": {names.ANNOTATION_ROTATE: value}}}
        asked = Rotated(await kube.merge_patch(TENANTS, name, changes), value)
        return asked if timeout is None else await _follow(kube, asked, timeout)


async def _follow(kube: Kube, asked: Rotated, timeout: float) -> Rotated:
    return await follow(
        await _look(kube, asked),
        lambda: _look(kube, asked),
        is_reached=lambda found: found.is_reached,
        said=lambda found: progress(found.tenant),
        check=lambda found: check_possible(found.tenant, asked.value),
        timeout=timeout,
    )


async def _look(kube: Kube, asked: Rotated) -> Rotated:
    tenant = await same(kube, asked.tenant)
    return Rotated(tenant, asked.value, await read_secret(kube, tenant))


def carries(secret: Mapping[str, Any] | None, value: str) -> bool:
    """Whether the Secret says that it was written for this value of the annotation."""
    annotations = ((secret or {}).get("metadata") or {}).get("annotations") or {}
    return bool(annotations.get(names.ANNOTATION_ROTATED_FOR) == note_of(value))


def check_possible(tenant: RawObject, value: str) -> None:
    """Raise CommandFailed when nobody will make credentials for this value."""
    check_stays(tenant)
    _check_open(tenant)
    name = tenant["metadata"]["name"]
    if (tenant["metadata"].get("annotations") or {}).get(names.ANNOTATION_ROTATE) != value:
        raise CommandFailed(f"somebody else asked for another rotation of {name} meanwhile, or took this one back")
    stalled = condition(tenant, "Stalled").get("status") == "True"
    if stalled and condition(tenant, "CredentialsReady").get("status") != "True":
        raise stuck(tenant)


def _check_open(tenant: RawObject) -> None:
    name, lifecycle = tenant["metadata"]["name"], tenant["spec"].get("lifecycle", Lifecycle.ACTIVE.value)
    if lifecycle != Lifecycle.ACTIVE:
        raise CommandFailed(
            f"{name} is {lifecycle}, and rotates when it is Active again: `tenantry tenant resume {name}` first, "
            "or --no-wait"
        )


def progress(tenant: Mapping[str, Any]) -> str:
    """Say in one line how far the operator is."""
    name, ready = tenant["metadata"]["name"], condition(tenant, "Ready")
    credentials = condition(tenant, "CredentialsReady")
    if not credentials:
        return f"{name}: the operator has not looked at it yet"
    said = f"{name}: {credentials.get('message') or credentials['reason']}"
    return said if ready.get("status") == "True" else f"{said} ({ready.get('reason')}: {ready.get('message', '')})"


def conclusion(rotated: Rotated) -> str:
    """Say in one line what came of it."""
    name = rotated.tenant["metadata"]["name"]
    if not rotated.is_reached or rotated.secret is None:
        return f"{name}: asked to rotate, {names.ANNOTATION_ROTATE} is {rotated.value}"
    metadata = rotated.secret["metadata"]
    expires = metadata["annotations"].get(names.ANNOTATION_PREVIOUS_EXPIRES_AT)
    until = f"; the old ones work until {expires}, or until nobody uses them" if expires else ""
    return f"Secret {metadata['namespace']}/{metadata['name']} carries the new credentials of {name}{until}"
