"""The check of `tenantry doctor` for what backups need before a Tenant is deleted."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tenantry_crds import DeletionPolicy, names
from tenantry_operator.cli.cluster import CallersKube
from tenantry_operator.cli.doctor_checks import Level, Line
from tenantry_operator.cli.operator_view import environment
from tenantry_operator.cli.tenant_restore import POD
from tenantry_operator.clients.kube import DEPLOYMENTS, PERSISTENTVOLUMECLAIMS, SECRETS, TENANTS, RawObject
from tenantry_operator.plan.backup_storage import BUCKET_KEYS

WHAT: Final = "backups"


async def check_backups(kube: CallersKube, namespace: str) -> list[Line]:
    """Say whether the volumes and keys are there that Tenants name, and whether the operator knows how to run a Job."""
    tenants = await kube.list(TENANTS)
    claims, secrets = claims_named(tenants), secrets_named(tenants)
    if not claims and not secrets:
        return []
    found = {claim: await kube.get(PERSISTENTVOLUMECLAIMS, claim, namespace=namespace) for claim in sorted(claims)}
    lines = [claim_line(claim, body, namespace, claims[claim]) for claim, body in found.items()]
    for secret in sorted(secrets):
        body = await kube.get(SECRETS, secret, namespace=namespace)
        lines.append(secret_line(secret, body, namespace, secrets[secret]))
    deployment = await kube.get(DEPLOYMENTS, names.LEASE_NAME, namespace=namespace)
    if deployment is not None and POD not in environment(deployment):
        todo = "upgrade the chart tenantry: helm upgrade --install tenantry charts/tenantry -n tenantry-system"
        lines.append(Line(Level.FAIL, WHAT, f"the operator has no {POD}, so that it cannot run a Job", todo))
    return lines


def claims_named(tenants: Iterable[RawObject]) -> dict[str, list[str]]:
    """Return, by claim, the Tenants that are backed up there before they are dropped."""
    return _named(tenants, lambda destination: (destination.get("volume") or {}).get("claimName"))


def secrets_named(tenants: Iterable[RawObject]) -> dict[str, list[str]]:
    """Return, by the Secret with the keys of a bucket, the Tenants that are backed up into one by it."""
    return _named(
        tenants, lambda destination: (destination.get("s3") or {}).get("credentialsSecretRef", {}).get("name")
    )


def _named(tenants: Iterable[RawObject], named: Callable[[Mapping[str, Any]], str | None]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for tenant in tenants:
        spec = tenant["spec"]
        name = named((spec.get("backup") or {}).get("destination") or {})
        if name and spec.get("deletionPolicy") == DeletionPolicy.BACKUP_THEN_DELETE:
            found.setdefault(name, []).append(str(tenant["metadata"]["name"]))
    return found


def claim_line(claim: str, body: Mapping[str, Any] | None, namespace: str, tenants: list[str]) -> Line:
    """Judge a claim. One that waits for its first pod is Pending, and well."""
    who = _who(tenants)
    if body is None:
        said = f"there is no PersistentVolumeClaim {namespace}/{claim}, which {who} names"
        return Line(Level.FAIL, WHAT, said, f"make it; docs/how-to/back-up-and-restore.md shows one named {claim}")
    phase = (body.get("status") or {}).get("phase", "Pending")
    level = Level.FAIL if phase == "Lost" else Level.OK
    said = f"PersistentVolumeClaim {namespace}/{claim} is {phase}, for {who}"
    return Line(level, WHAT, said, f"kubectl -n {namespace} describe persistentvolumeclaim {claim}")


def secret_line(secret: str, body: Mapping[str, Any] | None, namespace: str, tenants: list[str]) -> Line:
    """Judge the Secret with the keys of a bucket. Whether they are the right ones only a backup finds out."""
    lacking = [key for key in BUCKET_KEYS if key not in ((body or {}).get("data") or {})]
    who, keys = _who(tenants), " and ".join(BUCKET_KEYS)
    if body is None or lacking:
        what = f"there is no Secret {namespace}/{secret}" if body is None else f"Secret {namespace}/{secret} lacks"
        said = f"{what}, which {who} names" if body is None else f"{what} {', '.join(lacking)}, for {who}"
        return Line(Level.FAIL, WHAT, said, f"make it with {keys}; docs/how-to/back-up-and-restore.md shows one")
    said = f"Secret {namespace}/{secret} has the keys of a bucket, for {who}"
    return Line(Level.OK, WHAT, said, f"kubectl -n {namespace} describe secret {secret}")


def _who(tenants: list[str]) -> str:
    return f"{len(tenants)} Tenants" if len(tenants) > 1 else f"Tenant {tenants[0]}"
