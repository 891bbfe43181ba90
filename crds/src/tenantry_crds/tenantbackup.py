"""Where a Tenant's last backup goes, when it is deleted with `BackupThenDelete`."""

from typing import Annotated, ClassVar

from pydantic import Field

from tenantry_crds.base import DnsSubdomain, Part, Rule
from tenantry_crds.databaseserver import CaSecretRef


class BackupVolume(Part):
    """A volume in the operator's namespace."""

    claim_name: Annotated[
        DnsSubdomain,
        Field(description="Name of a PersistentVolumeClaim in tenantry-system. It is yours: it is only written to."),
    ]


class BucketCredentialsRef(Part):
    """The keys of a bucket in a Secret of tenantry-system."""

    name: Annotated[
        DnsSubdomain,
        Field(
            description="Name of the Secret, in tenantry-system, with the keys AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY."
        ),
    ]


class BackupBucket(Part):
    """A bucket of Amazon S3 or of a store that speaks its protocol."""

    endpoint: Annotated[
        str | None,
        Field(
            min_length=8,
            max_length=300,
            pattern=r"^https?://[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?$",
            description="Address of the store; by http:// rows travel unencrypted. Absent: Amazon S3 in that region.",
        ),
    ] = None
    region: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=63,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            description="Region that requests are signed for. Absent: us-east-1.",
        ),
    ] = None
    bucket: Annotated[
        str,
        Field(
            min_length=3,
            max_length=63,
            pattern=r"^[a-z0-9][-.a-z0-9]*[a-z0-9]$",
            description="Name of the bucket. It is yours: nothing of others is read or removed in it.",
        ),
    ]
    prefix: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            pattern=r"^[A-Za-z0-9][-_.A-Za-z0-9]*(/[A-Za-z0-9][-_.A-Za-z0-9]*)*$",
            description="What comes before the names of all objects, as team/backups. Absent: nothing.",
        ),
    ] = None
    credentials_secret_ref: Annotated[
        BucketCredentialsRef, Field(description="The keys by which objects are listed, written, read and removed.")
    ]
    ca_secret_ref: Annotated[
        CaSecretRef | None,
        Field(
            description="The authority that signed the endpoint's certificate, beside those that the system trusts. "
            "Absent: those alone."
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-bucket-ca-is-checked",
            rule="!has(self.caSecretRef) || has(self.endpoint) && self.endpoint.startsWith('https://')",
            message="caSecretRef is checked only with an endpoint of https://",
            field_path=".caSecretRef",
        ),
    )


class BackupDestination(Part):
    """Where a backup is written to: one of them."""

    volume: Annotated[
        BackupVolume | None,
        Field(
            description="A volume: each backup becomes a folder of its own, which is never written to again. "
            "Absent: s3 is set."
        ),
    ] = None
    s3: Annotated[
        BackupBucket | None,
        Field(
            description="A bucket of S3: each backup has names of its own, which are never written to again. "
            "Absent: volume is set."
        ),
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            name="tenant-backup-goes-to-one-place",
            rule="has(self.volume) != has(self.s3)",
            message="a destination is either a volume or a bucket: set one of volume and s3",
            field_path=".volume",
        ),
    )


class EffectiveBackup(Part):
    """What holds of a bucket, including what the spec leaves out."""

    region: Annotated[str, Field(max_length=63, description="Region that requests are signed for.")]


class TenantBackup(Part):
    """How the tenant's data is backed up before it is dropped."""

    destination: Annotated[
        BackupDestination,
        Field(description="Where the backup is written to. It may be changed until the backup is made."),
    ]
