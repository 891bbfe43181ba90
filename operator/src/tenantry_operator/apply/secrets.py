"""Writes the Secrets with credentials. They have no ownerReference: garbage collection knows no Retain."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tenantry_crds import names
from tenantry_operator.clients.kube import SECRETS, Forbidden, Invalid, Kube, RawObject
from tenantry_operator.model.credentials import RotationNotes, write_time
from tenantry_operator.model.tenant import ObservedSecret

TYPE: Final = "servicebinding.io/postgresql"


@dataclass(frozen=True)
class WantedSecret:
    """A Secret as it should be. `applied` says which role was given the password that is in `data`."""

    name: str
    namespace: str
    owner_label: str
    owner: str
    owner_uid: str
    data: Mapping[str, str] = field(repr=False)
    applied: str
    rotation: RotationNotes = field(default_factory=RotationNotes)


async def write_secret(
    kube: Kube, wanted: WantedSecret, *, observed: ObservedSecret | None, again: Sequence[float] = ()
) -> RawObject:
    """Create the Secret, or replace just what was observed; return what was written, without the credentials.

    `again` says after how many seconds a write that is not allowed is tried once more. Raises AlreadyExists when
    somebody made one by the name meanwhile, Conflict when it was changed.
    """
    for pause in again:
        try:
            return await _write(kube, wanted, observed)
        except Forbidden:
            await asyncio.sleep(pause)
    return await _write(kube, wanted, observed)


async def _write(kube: Kube, wanted: WantedSecret, observed: ObservedSecret | None) -> RawObject:
    body = _body(wanted)
    if observed is None:
        return _without_data(await kube.create(SECRETS, body))
    this = {"resourceVersion": observed.resource_version, "uid": observed.uid}
    try:
        return _without_data(await kube.replace(SECRETS, body | {"metadata": body["metadata"] | this}))
    except Invalid:
        if not await _make_way(kube, observed):
            raise
    return _without_data(await kube.create(SECRETS, body))


async def _make_way(kube: Kube, observed: ObservedSecret) -> bool:
    """Delete the very Secret that was observed, if it is one that nobody can change; say whether it is gone."""
    there = await kube.get(SECRETS, observed.name, namespace=observed.namespace)
    if there is None or there["metadata"]["resourceVersion"] != observed.resource_version:
        return False
    if not there.get("immutable") and there.get("type") == TYPE:
        return False
    if there["metadata"].pop("finalizers", None):
        # Whoever can make it immutable can also have it linger.
        there = await kube.replace(SECRETS, there)
    version = there["metadata"]["resourceVersion"]
    await kube.delete(SECRETS, observed.name, namespace=observed.namespace, uid=observed.uid, version=version)
    return True


def _without_data(written: RawObject) -> RawObject:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": written["metadata"]}


async def delete_secret(kube: Kube, observed: ObservedSecret) -> None:
    """Delete the very Secret that was observed; one that is gone is well."""
    await kube.delete(SECRETS, observed.name, namespace=observed.namespace, uid=observed.uid)


def _body(wanted: WantedSecret) -> RawObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": {wanted.owner_label: wanted.owner, "app.kubernetes.io/managed-by": names.FIELD_MANAGER},
            "annotations": {
                names.ANNOTATION_OWNER_UID: wanted.owner_uid,
                names.ANNOTATION_PASSWORD_APPLIED: wanted.applied,
                **_notes(wanted.rotation),
            },
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in wanted.data.items()},
    }


def _notes(rotation: RotationNotes) -> dict[str, str]:
    noted: dict[str, str | None] = {
        names.ANNOTATION_ROTATED_AT: write_time(rotation.rotated_at),
        names.ANNOTATION_PREVIOUS_EXPIRES_AT: write_time(rotation.previous_expires_at),
        names.ANNOTATION_ROTATED_FOR: rotation.rotated_for,
    }
    return {name: value for name, value in noted.items() if value is not None}
