"""What the operator is told by its environment, read once at start."""

import socket
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tenantry_operator.model.backup import JobPod
from tenantry_operator.model.shard import Shard


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    JSON = "json"
    PRETTY = "pretty"


Seconds = Annotated[float, Field(gt=0)]

SHARD = r"^([a-z]([-a-z0-9]{0,18}[a-z0-9])?)?$"
"""Short, for it is a part of names: of the Lease, of the Deployment, of sessions in Postgres."""


class OperatorSettings(BaseSettings):
    """Settings of one operator process: environment variables with the prefix ``TENANTRY_``.

    Durations are seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix="TENANTRY_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    namespace: str = "tenantry-system"
    """The namespace of the operator: its Lease and the Secrets of database servers live here."""

    pod_name: str = Field(default_factory=socket.gethostname)
    """Who holds the Lease. A restarted container keeps its pod's name and so leads again at once."""

    kubeconfig: Path | None = None
    """A kubeconfig to use instead of the pod's own service account."""

    registry_server: str = "default"
    """The DatabaseServer that holds the registry."""

    registry_database: str = "tenantry"
    """The registry's database on that server."""

    installation_id: str = ""
    """Marks what this installation owns in a database. Empty: derived from the cluster's identity and the namespace."""

    shard: str = Field(default="", pattern=SHARD)
    """The shard of this operator: it looks after the Tenants whose label `tenantry.dev/shard` has this value, and after
    nothing else. Empty: the default shard, which has all other Tenants, DatabaseServers, MigrationRuns,
    ServiceDeployments and the registry."""

    shards: Annotated[tuple[Annotated[str, Field(pattern=SHARD, min_length=1)], ...], NoDecode] = ()
    """The shards that have operators of their own, separated by commas; the default shard leaves their Tenants alone.
    Empty: all Tenants are of the default shard, whatever their label."""

    workers: int = Field(default=16, ge=1, le=256)
    """How many objects are reconciled at the same time."""

    sweep_interval: Seconds = 10
    """From the end of one look at everything to the next one."""

    verify_interval: Seconds = 3600
    """How often a log-in as each tenant tries to reach others though nothing changed. At most three in a sweep: with
    more than a thousand tenants a round takes longer."""

    pass_timeout: Seconds = 120
    """A pass over one object that takes longer is ended, and tried again later."""

    lease_duration: Seconds = 15
    """How long a leader that stopped renewing is waited for."""

    lease_renew_interval: Seconds = 2
    """From one renewal of the Lease to the next, and from one look of a standby at it to the next."""

    lease_renew_deadline: Seconds = 10
    """A leader that could not renew for so long ends itself, before another one may lead."""

    stuck_after: Seconds = 180
    """A sweep that did not come to an end for so long makes /healthz fail. More than ``pass_timeout``."""

    behind_after: Seconds = 30
    """A watch that is known to have missed something for so long makes /healthz fail."""

    job_pod: JobPod | None = None
    """How pods of Jobs are run, as JSON: image, pull_policy, pull_secrets, node_selector, tolerations, resources,
    deadline_seconds (how long a Job may take, 21600 if it is absent).

    Without it no Tenant can be backed up.
    """

    request_timeout: Seconds = 30
    """The limit of one request to the API server."""

    breaker_drops: int = Field(default=5, ge=0)
    """So many tenants may be dropped within the window, however few there are. 0: there is no breaker."""

    breaker_percent: float = Field(default=1, ge=0, le=100)
    """So much of all tenants may be dropped within the window, if that is more."""

    breaker_window: Seconds = 60
    """The length of the window."""

    http_host: str = "0.0.0.0"  # noqa: S104  the kubelet probes the pod's address
    """The address that probes and metrics are answered on."""

    http_port: int = Field(default=8080, ge=0, le=65535)
    """Serves /healthz and /metrics; 0 takes any free port."""

    log_level: LogLevel = LogLevel.INFO
    """Lines below it are not written: debug, info, warning or error."""

    log_format: LogFormat = LogFormat.JSON
    """json for machines, pretty for people."""

    @cached_property
    def own(self) -> Shard:
        """Which Tenants this operator looks after."""
        return Shard(self.shard, frozenset(self.shards))

    @field_validator("shards", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.lease_renew_deadline >= self.lease_duration:
            raise ValueError("lease_renew_deadline must be below lease_duration")
        if self.stuck_after <= self.pass_timeout + self.sweep_interval:
            raise ValueError("stuck_after must be above pass_timeout + sweep_interval")
        return self
