"""Where `tenantry tenant restore` finds a backup."""

import re
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from tenantry_crds import absent
from tenantry_crds.tenantbackup import BackupBucket
from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.model.backup import BucketDestination, Destination, VolumeDestination

VOLUME: Final = re.compile(
    r"volume://(?P<claim>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)(/(?P<path>[A-Za-z0-9][A-Za-z0-9/_.-]*))?"
)
BUCKET: Final = re.compile(r"s3://(?P<bucket>[a-z0-9][-.a-z0-9]*)(/(?P<rest>[A-Za-z0-9][A-Za-z0-9/_.-]*))?")
STAMP: Final = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}"
TAKES: Final = "--from takes volume://<claim> or s3://<bucket>/<prefix>, with or without /<tenant>/<uid>/<time>"


@dataclass(frozen=True)
class Reached:
    """How a bucket is reached, as the command was told."""

    endpoint: str | None = None
    region: str | None = None
    credentials: str | None = None
    ca: str | None = None


def parse_source(text: str, name: str, reached: Reached) -> tuple[Destination, str]:
    """Read a place: the volume or bucket, and the path of a backup in it, which may be empty. Raises CommandFailed."""
    place = text.rstrip("/")
    if ".." not in place:
        if bucket := BUCKET.fullmatch(place):
            return _bucket(bucket["bucket"], bucket["rest"] or "", name, reached)
        if volume := VOLUME.fullmatch(place):
            if reached != Reached():
                raise CommandFailed("--endpoint, --region, --credentials-secret and --ca-secret are of a bucket")
            return VolumeDestination(volume["claim"]), volume["path"] or ""
    raise CommandFailed(f"{TAKES}, not {text}")


def _bucket(bucket: str, rest: str, name: str, reached: Reached) -> tuple[Destination, str]:
    if not reached.credentials:
        raise CommandFailed("a bucket needs --credentials-secret, the Secret beside the operator with its keys")
    found = re.fullmatch(rf"((?P<prefix>.+)/)?(?P<path>{re.escape(name)}/[^/]+/{STAMP})", rest)
    prefix, path = (found["prefix"], found["path"]) if found else (rest, "")
    given = {
        "bucket": bucket,
        "prefix": prefix or None,
        "endpoint": reached.endpoint,
        "region": reached.region,
        "credentialsSecretRef": {"name": reached.credentials},
        "caSecretRef": {"name": reached.ca} if reached.ca else None,
    }
    try:
        read = BackupBucket.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise CommandFailed(f"the bucket cannot be read: {first['loc'][0]}: {first['msg']}") from error
    ca = (read.ca_secret_ref.name, absent.bucket_ca_key(read)) if read.ca_secret_ref else None
    credentials = read.credentials_secret_ref.name
    return BucketDestination(bucket, prefix or "", read.endpoint, absent.bucket_region(read), credentials, ca), path
