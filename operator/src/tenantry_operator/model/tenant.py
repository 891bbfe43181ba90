"""What a Tenant should be, and what was seen of it: on its server, in the registry, in the cluster."""

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Final

from tenantry_crds import Lifecycle
from tenantry_operator.model.adoption import Adoption
from tenantry_operator.model.backup import DesiredBackup, ObservedBackup
from tenantry_operator.model.credentials import DesiredCredentials, RotationNotes
from tenantry_operator.model.drift import NO_RULE, DriftRule
from tenantry_operator.model.endpoints import Endpoints
from tenantry_operator.model.exposure import Exposure
from tenantry_operator.model.extensions import ObservedExtensions
from tenantry_operator.model.isolation import Isolation, Layout
from tenantry_operator.model.names import OWNER, TenantNames
from tenantry_operator.model.namespace import DesiredNamespace, ObservedNamespace
from tenantry_operator.model.placement import Seat
from tenantry_operator.model.pool import PoolEntry
from tenantry_operator.model.reads import Reads

CUT_SHORT: Final = -2
"""The connection limit by which Postgres, since 15.3, says of a database that a DROP of it did not come to its end."""

PUBLIC: Final = "PUBLIC"
"""The grantee that is everybody."""


class MarkerState(StrEnum):
    LIVE = "live"
    RELEASED = "released"
    DROPPING = "dropping"
    """What it guards is being dropped, and may not be whole any more."""


@dataclass(frozen=True)
class Marker:
    """Whose a tenant's roles and schemas are; the comment on its owner role. It guards every change and drop."""

    id: str
    uid: str
    installation: str
    state: MarkerState = MarkerState.LIVE
    backup: str | None = None
    """Of what is dropped, the verified backup that allowed it; of what is released, the one that it was restored from.
    """

    def text(self) -> str:
        """Write the comment; the same marker gives the same text."""
        said = {"tenant": self.id, "uid": self.uid, "operator": self.installation, "state": self.state}
        return json.dumps(said | ({"backup": self.backup} if self.backup else {}))

    @classmethod
    def parse(cls, text: str | None) -> "Marker | None":
        """Read the marker of a comment; None when it is not one of ours."""
        try:
            said = json.loads(text or "")
            state = MarkerState(said["state"])
            return cls(said["tenant"], said["uid"], said["operator"], state, said.get("backup"))
        except (ValueError, KeyError, TypeError):
            return None


class RowState(StrEnum):
    """The states of a registry row that this operator writes. A deleted row is a record: its name is free."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"
    RELEASED = "released"
    DELETED = "deleted"


@dataclass(frozen=True)
class RegistryRow:
    """A tenant's place and state, as the services read it. Deleted rows are never shown."""

    id: str
    uid: str
    server: str
    database: str
    state: RowState
    version: str | None = None
    applied: str | None = None
    """What was recorded of the spec that was applied last."""
    isolation: str = Isolation.SCHEMA
    shard: str | None = None
    """Whose pass was the last; None: the default shard's."""
    login: int | None = 1
    """Which of the services' logins reaches the tenant; None when the row names none of ours."""


@dataclass(frozen=True)
class Role:
    """A role of the tenant as the catalogue has it."""

    name: str
    oid: int
    login: bool = False
    inherit: bool = True
    connection_limit: int = -1
    expires: bool = False
    elevated: frozenset[str] = frozenset()
    """Attributes that no tenant's role may have: SUPERUSER, CREATEDB, CREATEROLE, REPLICATION, BYPASSRLS."""
    settings: frozenset[tuple[str, str]] = frozenset()
    """Of the role in the tenant's database."""


@dataclass(frozen=True, order=True)
class Membership:
    role: str
    member: str
    admin: bool = False
    odd: bool = False
    """Since Postgres 16: without SET, or inherited though the member inherits nothing, or the other way round."""


@dataclass(frozen=True, order=True)
class Grant:
    """One privilege on `on` (a schema, a table of the services' schema, or a kind of objects to come)."""

    on: str
    grantee: str
    privilege: str
    grantable: bool = False


@dataclass(frozen=True, order=True)
class ForeignGrant:
    """A privilege of one of our roles on an object that is not the tenant's.

    `kind` and `identity` are the catalogue's own words for the object (pg_identify_object), `owner` its owner.
    """

    kind: str
    identity: str
    owner: str
    grantee: str
    givers: tuple[str, ...] = ()
    """If another than the owner gave it: all who may give on what the owner gave them."""


@dataclass(frozen=True)
class ObservedSecret:
    """The tenant's Secret; `ours` says that it bears our label and this Tenant's UID."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    ours: bool
    data: Mapping[str, str] = field(repr=False)
    applied: str | None = None
    """The annotation that names the role and the password that were last made equal."""
    rotation: RotationNotes = field(default_factory=RotationNotes)


@dataclass(frozen=True)
class ObservedDatabase:
    """The database of a tenant that has one of its own."""

    name: str
    owner: str
    marker_text: str | None = None
    grants: frozenset[Grant] = frozenset()
    """Of others than the owner; PUBLIC's are there from the beginning."""
    open: bool = True
    """Whether it lets anybody connect."""
    template: bool = False
    connection_limit: int = -1
    entered: bool = True
    """Whether what is in it was read. It may be shut for us as for others."""
    shut: str = field(default="", compare=False)
    """What was said when we were not let in."""

    @property
    def is_begun(self) -> bool:
        """Whether it was made and never opened: a pass that made it died, and nobody has been in it."""
        return not self.open and self.owner == OWNER and self.marker_text is None

    @property
    def is_lost(self) -> bool:
        """Whether a DROP of it was cut short: nobody gets in any more, and to drop it is all that can be done."""
        return self.connection_limit == CUT_SHORT


@dataclass(frozen=True)
class Catalogue:
    """What a server has under one tenant's names."""

    roles: Mapping[str, Role] = field(default_factory=dict)
    memberships: frozenset[Membership] = frozenset()
    schemas: Mapping[str, str] = field(default_factory=dict)
    """Schema to owner."""
    schema_grants: frozenset[Grant] = frozenset()
    tables: frozenset[str] = frozenset()
    """Of the services' schema."""
    table_owners: Mapping[str, str] = field(default_factory=dict)
    """Of the services' schema: table, view or sequence to owner."""
    table_grants: frozenset[Grant] = frozenset()
    """A privilege on a column is its word with the column, as in SELECT (email)."""
    default_grants: frozenset[Grant] = frozenset()
    """Default privileges for what the owner role makes; `on` is TABLES, SEQUENCES or FUNCTIONS."""
    reads: Reads = field(default_factory=Reads)
    extensions: ObservedExtensions = field(default_factory=ObservedExtensions)
    """Of the tenant's database; others' as well, where it is shared."""
    settings_elsewhere: frozenset[tuple[str, str, str]] = frozenset()
    """Role, database and name of each setting outside the tenant's database; no database: in all of them."""
    foreign: frozenset[ForeignGrant] = frozenset()
    elsewhere: frozenset[tuple[str, str]] = frozenset()
    """Role and name of another database of the server, in which the role owns something or holds a privilege."""
    sessions: frozenset[str] = frozenset()
    """Roles that nobody may log in as, and as which somebody is logged in all the same."""
    entry: PoolEntry | None = None
    """Of a pooled tenant: what the pool's directory says of it. Then the tables and the version are the pool's."""
    marker_text: str | None = None
    version: str | None = None
    """The services' schema's revision; None before the first migration."""
    database: ObservedDatabase | None = None
    """Of a tenant that is to have one of its own, and has it."""

    @property
    def is_shut(self) -> bool:
        """Whether there is more than was read: the schemas and all in them are in a database that let nobody in."""
        there = self.database
        return there is not None and not there.entered and not there.is_begun and not there.is_lost

    @property
    def marker(self) -> Marker | None:
        return Marker.parse(self.marker_text)


@dataclass(frozen=True)
class ObservedTenant:
    """Everything that a plan needs to know."""

    catalogue: Catalogue = field(default_factory=Catalogue)
    row: RegistryRow | None = None
    secret: ObservedSecret | None = None
    """The Secret under the desired name."""
    stale_secrets: tuple[ObservedSecret, ...] = ()
    """Secrets of this Tenant under other names or elsewhere: from an earlier `secretName`, or without a namespace."""
    secret_unread: str = ""
    """Why the Secret could not be read, if it could not."""
    departed: frozenset[str] = frozenset()
    """UIDs in the marker and the row that no Tenant of this cluster has; looked up only when they may be taken from."""
    namespace: ObservedNamespace | None = None
    sessions: frozenset[str] = frozenset()
    """The logins by which somebody is connected; looked up only when there are two."""
    backup: ObservedBackup | None = None
    """The Job that backs the tenant up; looked up only when it is deleted."""
    ways: frozenset[Exposure] = frozenset()
    """What opens a way between the tenant and others, beside what the catalogue's facts tell."""
    refused_login: str | None = None
    """The login of which the server did not take the password that the Secret has, when it was tried last."""


class Leaving(StrEnum):
    """What becomes of the data of a Tenant that is being deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


@dataclass(frozen=True)
class Deletion:
    leaving: Leaving
    _: KW_ONLY
    protected: bool
    definition_leaves: bool = False
    """The type itself is being deleted, and that marked every Tenant, whether anybody meant it or not."""
    backup: DesiredBackup | None = None
    """What comes before the data is dropped."""


@dataclass(frozen=True)
class Place:
    """Where the tenant's database is, and how its users connect to it."""

    server: str
    database: str
    host: str
    port: int
    sslmode: str
    ca_pem: str | None = None
    endpoints: Endpoints = field(default_factory=Endpoints)
    """Where tenants reach the server; we take host and port."""


@dataclass(frozen=True)
class DesiredTenant:
    """What the Tenant says, with every absent field replaced by what it means."""

    names: TenantNames
    uid: str
    installation: str
    new_id: str
    """The tenant id, if it has none yet."""
    place: Place
    secret_name: str
    secret_namespace: str
    """The tenant's own namespace, if it has one that is its own."""
    released: str
    """The revision at which new schemas are made."""
    credentials: DesiredCredentials
    service_tables: Mapping[str, frozenset[Grant]] = field(default_factory=dict)
    """Revision to the grants on tables of the services' schema, with roles as grantees."""
    connection_limit: int = 20
    settings: frozenset[tuple[str, str]] = frozenset()
    reader: bool = False
    """Whether there is a role that only reads."""
    extensions: frozenset[str] = frozenset()
    adoption: Adoption = Adoption.IF_MARKED
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    deletion: Deletion | None = None
    drift: DriftRule = NO_RULE
    namespace: DesiredNamespace | None = None
    seat: Seat = field(default_factory=Seat)
    isolation: Isolation = Isolation.SCHEMA
    shard: str | None = None
    """Which operator looks after the tenant; None: the default one."""
    system_namespace: str = ""
    """The operator's own, where the Secret of a tenant without a namespace is."""

    @property
    def layout(self) -> Layout:
        """Where all of it is."""
        return Layout(self.names, self.isolation, self.place.server, self.place.database)
