"""The check of `tenantry doctor` for what backups need before a Tenant is deleted."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tenantry_crds import DeletionPolicy, names
from tenantry_operator.cli.cluster import CallersKube
from tenantry_operator.cli.doctor_checks import Level, Line
from tenantry_operator.cli.operator_view import environment
from tenantry_operator.cli.tenant_restore import POD
from tenantry_operator.clients.kube import DEPLOYMENTS, PERSISTENTVOLUMECLAIMS, TENANTS, RawObject

WHAT: Final = "backups"


async def check_backups(kube: CallersKube, namespace: str) -> list[Line]:
    """Say whether the volumes are there that Tenants name, and whether the operator knows how to run a Job."""
    tenants = await kube.list(TENANTS)
    claims = claims_named(tenants)
    if not claims:
        return []
    found = {claim: await kube.get(PERSISTENTVOLUMECLAIMS, claim, namespace=namespace) for claim in sorted(claims)}
    lines = [claim_line(claim, body, namespace, claims[claim]) for claim, body in found.items()]
    deployment = await kube.get(DEPLOYMENTS, names.LEASE_NAME, namespace=namespace)
    if deployment is not None and POD not in environment(deployment):
        todo = "upgrade the chart tenantry: helm upgrade --install tenantry charts/tenantry -n tenantry-system"
        lines.append(Line(Level.FAIL, WHAT, f"the operator has no {POD}, so that it cannot run a Job", todo))
    return lines


def claims_named(tenants: Iterable[RawObject]) -> dict[str, list[str]]:
    """Return, by claim, the Tenants that are backed up there before they are dropped."""
    named: dict[str, list[str]] = {}
    for tenant in tenants:
        spec = tenant["spec"]
        volume = ((spec.get("backup") or {}).get("destination") or {}).get("volume")
        if volume and spec.get("deletionPolicy") == DeletionPolicy.BACKUP_THEN_DELETE:
            named.setdefault(volume["claimName"], []).append(str(tenant["metadata"]["name"]))
    return named


def claim_line(claim: str, body: Mapping[str, Any] | None, namespace: str, tenants: list[str]) -> Line:
    """Judge a claim. One that waits for its first pod is Pending, and well."""
    who = f"{len(tenants)} Tenants" if len(tenants) > 1 else f"Tenant {tenants[0]}"
    if body is None:
        said = f"there is no PersistentVolumeClaim {namespace}/{claim}, which {who} names"
        return Line(Level.FAIL, WHAT, said, f"make it; docs/how-to/back-up-and-restore.md shows one named {claim}")
    phase = (body.get("status") or {}).get("phase", "Pending")
    level = Level.FAIL if phase == "Lost" else Level.OK
    said = f"PersistentVolumeClaim {namespace}/{claim} is {phase}, for {who}"
    return Line(level, WHAT, said, f"kubectl -n {namespace} describe persistentvolumeclaim {claim}")
