"""Where a Tenant's last backup goes, when it is deleted with `BackupThenDelete`."""

from typing import Annotated

from pydantic import Field

from tenantry_crds.base import DnsSubdomain, Part


class BackupVolume(Part):
    """A volume in the operator's namespace."""

    claim_name: Annotated[
        DnsSubdomain,
        Field(description="Name of a PersistentVolumeClaim in tenantry-system. It is yours: it is only written to."),
    ]


class BackupDestination(Part):
    """Where a backup is written to."""

    volume: Annotated[
        BackupVolume,
        Field(description="A volume: each backup becomes a folder of its own, which is never written to again."),
    ]


class TenantBackup(Part):
    """How the tenant's data is backed up before it is dropped."""

    destination: Annotated[
        BackupDestination,
        Field(description="Where the backup is written to. It may be changed until the backup is made."),
    ]
