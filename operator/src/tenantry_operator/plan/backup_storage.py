"""What a pod needs to reach the place of backups: volumes, mounts, variables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tenantry_operator.model.backup import BucketDestination, Destination, VolumeDestination

Body = Mapping[str, Any]

ROOT: Final = "/backups"
BUCKET: Final = "bucket"
"""The name of the volume with the keys of a bucket."""
BUCKET_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""The keys of the Secret, as those that object bucket claims make have them."""


@dataclass(frozen=True)
class Storage:
    """Parts of a pod. No secret is in them."""

    volumes: Sequence[Body]
    mounts: Sequence[Body]
    variables: Sequence[Body]


def storage_of(destination: Destination) -> Storage:
    place = {"name": "TENANTRY_PLACE", "value": destination.place}
    if isinstance(destination, VolumeDestination):
        return Storage(
            [{"name": "backups", "persistentVolumeClaim": {"claimName": destination.claim}}],
            [{"name": "backups", "mountPath": ROOT}],
            [{"name": "TENANTRY_ROOT", "value": ROOT}, place],
        )
    return Storage(
        [{"name": BUCKET, "projected": {"sources": list(_sources(destination))}}],
        [{"name": BUCKET, "mountPath": f"/secrets/{BUCKET}", "readOnly": True}],
        [{"name": "TENANTRY_BUCKET", "value": json.dumps(bucket_order(destination), sort_keys=True)}, place],
    )


def bucket_order(destination: BucketDestination) -> Body:
    """Say where the bucket is; the keys to it are mounted."""
    return {
        "bucket": destination.bucket,
        "prefix": destination.prefix,
        "endpoint": destination.endpoint,
        "region": destination.region,
    }


def _sources(destination: BucketDestination) -> Sequence[Body]:
    keys = [{"key": key, "path": key} for key in BUCKET_KEYS]
    sources = [{"secret": {"name": destination.credentials, "items": keys}}]
    if destination.ca:
        name, key = destination.ca
        sources.append({"secret": {"name": name, "items": [{"key": key, "path": "ca.crt"}]}})
    return sources
