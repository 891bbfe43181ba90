"""The Job that backs a Tenant up, and the order that it works by."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from tenantry_crds import names as api
from tenantry_operator.model.backup import DesiredBackup, Destination, JobPod, ServerSecrets
from tenantry_operator.model.placement import Candidate
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant, Place
from tenantry_operator.plan.backup_storage import Storage, storage_of

Body = dict[str, Any]

MODULE: Final = "tenantry_operator.backup"
RETRIES: Final = 3
"""Pods that may fail until the Job does; Kubernetes waits 10 s, 20 s and 40 s before each next one."""
KEPT_SECONDS: Final = 7 * 86400
"""A Job that nobody removes, as when its Tenant was let go by force, goes by itself."""
USER: Final = 65532


def job_name(verb: str, tenant: str, uid: str) -> str:
    """Name the Job of one Tenant of this name: at most 56 characters, so that its pods' labels hold it."""
    return f"{verb}-{tenant}-{sha256(uid.encode()).hexdigest()[:8]}"


def backup_job(desired: DesiredTenant, mine: ObservedTenant, backup: DesiredBackup, destination: Destination) -> Body:
    """Render the Job. The same Tenant in the same state gives the same Job."""
    return job(
        "dump",
        backup.job,
        namespace=backup.namespace,
        tenant=desired.names.name,
        uid=desired.uid,
        order=backup_order(desired, mine, backup),
        secrets={"server": backup.secrets, "registry": backup.registry.secrets},
        destination=destination,
        pod=backup.pod,
    )


def backup_order(desired: DesiredTenant, mine: ObservedTenant, backup: DesiredBackup) -> Body:
    """Say what is to be dumped, and of whom it must be. No secret is in it."""
    names, catalogue, place, layout = desired.names, mine.catalogue, desired.place, desired.layout
    marker = catalogue.marker
    return {
        "tenant": names.name,
        "id": marker.id if marker else "",
        "uid": desired.uid,
        "installation": desired.installation,
        "isolation": desired.isolation.value,
        "marker": catalogue.marker_text,
        "owner": names.owner,
        "server": server_order(place),
        "registry": dict(backup.registry.address),
        "parts": [
            {"schema": schema, "database": layout.database, "role": owner}
            for schema, owner in layout.schemas.items()
            if schema in catalogue.schemas
        ],
        "roles": sorted(catalogue.roles),
        "spec": dict(backup.spec),
    }


def restore_order(
    tenant: str,
    *,
    installation: str,
    path: str,
    server: Mapping[str, Any],
    registry: Mapping[str, Any],
    unrecorded: bool,
    candidate: Candidate,
) -> Body:
    """Say where the tenant's data belongs; how it is kept apart is the backup's own word."""
    return {
        "tenant": tenant,
        "installation": installation,
        "path": path,
        "server": dict(server),
        "registry": dict(registry),
        "unrecorded": unrecorded,
        "logins": candidate.logins,
        "most_per_login": candidate.most_per_login,
    }


def server_order(place: Place) -> Body:
    return {
        "name": place.server,
        "host": place.host,
        "port": place.port,
        "database": place.database,
        "sslmode": place.sslmode,
    }


def job(
    verb: str,
    name: str,
    *,
    namespace: str,
    tenant: str,
    uid: str,
    order: Mapping[str, Any],
    secrets: Mapping[str, ServerSecrets],
    destination: Destination,
    pod: JobPod,
) -> Body:
    """Render a Job of our own image that runs `verb` by an order. `secrets` is by the name that the order uses."""
    labels = {api.LABEL_TENANT: tenant, "app.kubernetes.io/part-of": "tenantry", "app.kubernetes.io/component": verb}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {api.ANNOTATION_OWNER_UID: uid, api.ANNOTATION_DESTINATION: destination.told},
        },
        "spec": {
            "backoffLimit": RETRIES,
            # Also of one whose pod never starts: it is made again, and says so.
            "activeDeadlineSeconds": pod.deadline_seconds,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod(verb, order, secrets=secrets, storage=storage_of(destination), pod=pod),
            },
        },
    }


def _pod(
    verb: str,
    order: Mapping[str, Any],
    *,
    secrets: Mapping[str, ServerSecrets],
    storage: Storage,
    pod: JobPod,
) -> Body:
    mounted = [_mounted(name, one) for name, one in secrets.items()]
    mounts = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  a volume of the pod's own
        *storage.mounts,
        *({"name": volume["name"], "mountPath": f"/secrets/{volume['name']}", "readOnly": True} for volume in mounted),
    ]
    body: Body = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # A volume with many backups is not gone through file by file at each start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": verb,
                "image": pod.image,
                "imagePullPolicy": pod.pull_policy,
                "command": ["python", "-m", MODULE, verb],
                "env": [
                    {"name": "TENANTRY_ORDER", "value": json.dumps(order, sort_keys=True)},
                    {"name": "TENANTRY_SECRETS", "value": "/secrets"},
                    *storage.variables,
                    {"name": "TENANTRY_WORK", "value": "/tmp"},  # noqa: S108  a volume of the pod's own
                ],
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "runAsNonRoot": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": dict(pod.resources),
                "volumeMounts": mounts,
            }
        ],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            *storage.volumes,
            *mounted,
        ],
    }
    if pod.pull_secrets:
        body["imagePullSecrets"] = [{"name": name} for name in pod.pull_secrets]
    if pod.node_selector:
        body["nodeSelector"] = dict(pod.node_selector)
    if pod.tolerations:
        body["tolerations"] = [dict(one) for one in pod.tolerations]
    return body


def _mounted(name: str, secrets: ServerSecrets) -> Body:
    keys = ("username", "password")
    sources: list[Body] = [
        {"secret": {"name": secrets.credentials, "items": [{"key": key, "path": key} for key in keys]}}
    ]
    if secrets.ca:
        ca, key = secrets.ca
        sources.append({"secret": {"name": ca, "items": [{"key": key, "path": "ca.crt"}]}})
    return {"name": name, "projected": {"sources": sources}}
