"""The last backup of a Tenant that is deleted with BackupThenDelete: what is wanted of it, and what was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class VolumeDestination:
    """A PersistentVolumeClaim in the operator's namespace."""

    claim: str

    @property
    def place(self) -> str:
        """Where backups are, as `tenantry tenant restore --from` takes it."""
        return f"volume://{self.claim}"

    @property
    def told(self) -> str:
        """All that tells it from another one."""
        return self.place


@dataclass(frozen=True)
class BucketDestination:
    """A bucket of S3, and the Secrets in the operator's namespace by which it is reached."""

    bucket: str
    prefix: str
    endpoint: str | None
    """None: Amazon's."""
    region: str
    credentials: str
    ca: tuple[str, str] | None = None
    """Name and key of a Secret."""

    @property
    def place(self) -> str:
        """Where backups are, as `tenantry tenant restore --from` takes it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def told(self) -> str:
        """All that tells it from another one: two stores may have a bucket of one name."""
        return f"{self.place} at {self.endpoint}" if self.endpoint else self.place


Destination = VolumeDestination | BucketDestination


@dataclass(frozen=True)
class JobPod:
    """How the pods of Jobs are run; without an image there can be none."""

    image: str = ""
    pull_policy: str = "IfNotPresent"
    pull_secrets: Sequence[str] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    deadline_seconds: int = 6 * 3600
    """A Job that is not done by then is ended, and has failed."""


@dataclass(frozen=True)
class ServerSecrets:
    """The Secrets in the operator's namespace by which a pod logs in to a server."""

    credentials: str
    ca: tuple[str, str] | None = None
    """Name and key."""


@dataclass(frozen=True)
class RegistryOrder:
    """How a pod reaches the registry, which it tells what it has made."""

    address: Mapping[str, Any]
    secrets: ServerSecrets


@dataclass(frozen=True)
class DesiredBackup:
    """Where the backup of a Tenant goes, and how it is made."""

    job: str
    namespace: str
    destination: Destination | None
    pod: JobPod
    secrets: ServerSecrets
    registry: RegistryOrder
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The Tenant's own, which is kept beside its data."""


class JobState(StrEnum):
    RUNNING = "Running"
    VERIFIED = "Verified"
    FAILED = "Failed"


@dataclass(frozen=True)
class ObservedBackup:
    """The Job of a Tenant's backup. It is Verified only by the word of its own end."""

    name: str
    namespace: str
    uid: str
    ours: bool
    """Whether it was made for this very Tenant."""
    destination: str
    state: JobState
    said: str = ""
    """What its last pod said, or what keeps the pod from running."""
    ended_for: timedelta = timedelta()
    """For how long it has ended."""
