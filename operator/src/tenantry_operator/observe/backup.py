"""Reads the Job that backs a Tenant up, and what its pods said."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from tenantry_crds import names as api
from tenantry_operator.clients.kube import JOBS, PODS, Kube
from tenantry_operator.model.backup import JobState, ObservedBackup

Raw = Mapping[str, Any]

LABEL_JOB: Final = "batch.kubernetes.io/job-name"
WAITING_IS_FINE: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
SAID_LIMIT: Final = 600


async def observe_backup(
    kube: Kube, name: str, namespace: str, *, owner_uid: str, now: datetime
) -> ObservedBackup | None:
    """Return the Job, with what its pods have to say; None when there is none. Raises ApiError."""
    body = await kube.get(JOBS, name, namespace=namespace)
    if body is None:
        return None
    pods = await kube.list(PODS, namespace=namespace, labels={LABEL_JOB: name})
    return as_observed(body, pods, owner_uid=owner_uid, now=now)


def as_observed(body: Raw, pods: Iterable[Raw], *, owner_uid: str, now: datetime) -> ObservedBackup:
    """Take what matters of a raw Job. Only Complete makes it Verified: its program ends well only then."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    ended = {one["type"]: one for one in (body.get("status") or {}).get("conditions") or () if one["status"] == "True"}
    end = ended.get("Complete") or ended.get("Failed")
    # One that is being removed says nothing any more.
    verified = "Complete" in ended and not metadata.get("deletionTimestamp")
    word = said(pods, job_uid=metadata["uid"])
    state = JobState.VERIFIED if verified else JobState.FAILED if end else JobState.RUNNING
    return ObservedBackup(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        ours=annotations.get(api.ANNOTATION_OWNER_UID) == owner_uid,
        destination=annotations.get(api.ANNOTATION_DESTINATION, ""),
        state=state,
        said=_late(body, end, word) or word or str((end or {}).get("message", "") if not verified else ""),
        ended_for=now - datetime.fromisoformat(end["lastTransitionTime"]) if end else timedelta(),
    )


def _late(body: Raw, end: Raw | None, word: str) -> str:
    """Say that the Job was ended for its time; its pods are gone by then, but for those that had failed before."""
    if end is None or end.get("reason") != "DeadlineExceeded":
        return ""
    limit = body["spec"].get("activeDeadlineSeconds")
    return f"not done within {limit} s (deadline_seconds of TENANTRY_JOB_POD)" + (f"; before: {word}" if word else "")


def said(pods: Iterable[Raw], *, job_uid: str) -> str:
    """Return the last word of the youngest pod: how it ended, or what keeps it from running."""
    own = [pod for pod in pods if job_uid in {one.get("uid") for one in pod["metadata"].get("ownerReferences") or ()}]
    for pod in sorted(own, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True):
        if found := _said(pod.get("status") or {}):
            return " ".join(found.split())[:SAID_LIMIT]
    return ""


def _said(status: Raw) -> str:
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        if ended := state.get("terminated"):
            return str(ended.get("message") or f"{ended.get('reason')}, exit code {ended.get('exitCode')}")
        waiting = state.get("waiting") or {}
        if waiting.get("reason", "") not in WAITING_IS_FINE:
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message', '')}"
    return ""
