"""Reads the Secrets that the operator writes."""

import base64
import binascii
from typing import Any

from tenantry_crds import names
from tenantry_operator.clients.kube import SECRETS, Kube
from tenantry_operator.model.credentials import RotationNotes, read_time
from tenantry_operator.model.tenant import ObservedSecret


async def observe_secret(kube: Kube, name: str, namespace: str, *, owner_uid: str) -> ObservedSecret | None:
    """Return the Secret, and whether it was made for the object of that UID; None when there is none."""
    body = await kube.get(SECRETS, name, namespace=namespace)
    return None if body is None else as_observed(body, owner_uid=owner_uid)


def as_observed(body: dict[str, Any], *, owner_uid: str) -> ObservedSecret:
    """Take what matters of a raw Secret."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    return ObservedSecret(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        ours=annotations.get(names.ANNOTATION_OWNER_UID) == owner_uid,
        data=decode(body),
        applied=annotations.get(names.ANNOTATION_PASSWORD_APPLIED),
        rotation=RotationNotes(
            rotated_at=read_time(annotations.get(names.ANNOTATION_ROTATED_AT)),
            previous_expires_at=read_time(annotations.get(names.ANNOTATION_PREVIOUS_EXPIRES_AT)),
            rotated_for=annotations.get(names.ANNOTATION_ROTATED_FOR),
        ),
    )


def decode(secret: dict[str, Any]) -> dict[str, str]:
    """Return a Secret's data as text; what is no text is left out."""
    data: dict[str, str] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return data
