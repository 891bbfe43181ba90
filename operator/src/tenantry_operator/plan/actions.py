"""The actions of a Tenant's plan: a closed union. Each is safe to repeat, and says why it is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry_operator.model.backup import ObservedBackup
from tenantry_operator.model.credentials import RotationNotes
from tenantry_operator.model.tenant import ForeignGrant, Grant, Marker, Membership, ObservedSecret, RowState
from tenantry_operator.plan.action import Action
from tenantry_operator.plan.database_actions import (
    DatabaseAction,
    DropDatabase,
    MakeDatabase,
    OwnDatabase,
    RevokeOnDatabase,
)
from tenantry_operator.plan.extension_actions import (
    CreateExtension,
    DropExtension,
    DropExtensionsSchema,
    ExtensionAction,
)
from tenantry_operator.plan.pool_actions import CloseEntry, MakePool, PoolTenantAction
from tenantry_operator.plan.reader_actions import CloseReader, DropReader, ReaderAction


@dataclass(frozen=True, kw_only=True)
class CreateRole(Action):
    role: str
    login: bool = False
    inherit: bool = True
    connection_limit: int = -1


@dataclass(frozen=True, kw_only=True)
class AlterRole(Action):
    """Set the attributes that an operator without superuser rights may set."""

    role: str
    login: bool
    inherit: bool
    connection_limit: int


@dataclass(frozen=True, kw_only=True)
class StripRole(Action):
    """Take attributes away that no tenant's role may have."""

    role: str
    attributes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SetPassword(Action):
    """Make the role's password that of the Secret, or the one that the Secret is going to hold.

    `fresh` asks for a new one, though the Secret has one that another role needs.
    """

    role: str
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class ResetPassword(SetPassword):
    """Make the role's password that of the Secret again, which the server does not take any more."""


@dataclass(frozen=True, kw_only=True)
class WriteMarker(Action):
    role: str
    marker: Marker


@dataclass(frozen=True, kw_only=True)
class BeginDrop(WriteMarker):
    """Write down for good that what follows is dropped, before anything is: no backup is made of what is left then."""


@dataclass(frozen=True, kw_only=True)
class GrantMembership(Action):
    membership: Membership


@dataclass(frozen=True, kw_only=True)
class RevokeMembership(Action):
    membership: Membership


@dataclass(frozen=True, kw_only=True)
class ShutOut(Action):
    """Take a service's way into the tenant, whatever else fails. Work that it has begun there comes to its end."""

    membership: Membership


@dataclass(frozen=True, kw_only=True)
class CreateSchema(Action):
    schema: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class OwnSchema(Action):
    """Give a schema back to its owner; `lender` owns it now."""

    schema: str
    owner: str
    lender: str


@dataclass(frozen=True, kw_only=True)
class OwnTable(Action):
    """Give a table of the services back to its owner; `lender` owns it now."""

    schema: str
    table: str
    owner: str
    lender: str


@dataclass(frozen=True, kw_only=True)
class GrantOnSchema(Action):
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class RevokeOnSchema(Action):
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class GrantOnTable(Action):
    schema: str
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class RevokeOnTable(Action):
    schema: str
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class GrantDefault(Action):
    """For what `owner` makes from now on."""

    owner: str
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class RevokeDefault(Action):
    owner: str
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class SetSetting(Action):
    role: str
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class ResetSetting(Action):
    role: str
    name: str
    database: str | None = None
    """Absent: the tenant's; empty: the role's in all databases."""


@dataclass(frozen=True, kw_only=True)
class Migrate(Action):
    """Replay the steps of the tenant history in an empty services' schema."""

    schema: str
    to: str


@dataclass(frozen=True, kw_only=True)
class RevokeForeign(Action):
    """Take a privilege back that somebody gave one of our roles on an object that is not the tenant's."""

    grant: ForeignGrant


@dataclass(frozen=True, kw_only=True)
class CloseLogin(Action):
    """Let nobody log in as the role any more, and end the sessions of those who did."""

    role: str


@dataclass(frozen=True, kw_only=True)
class LeaveDatabase(Action):
    """Free the roles of what they own in another database of the server: it passes to `heir`, or is dropped.

    Whoever can log in may connect to every database that does not forbid it, and a large object alone keeps a role.
    """

    database: str
    roles: tuple[str, ...]
    heir: str | None = None


@dataclass(frozen=True, kw_only=True)
class RetireLogin(Action):
    """Drop a login; what it owns passes to `heir`."""

    role: str
    heir: str
    replaced: bool = False
    """Whether another login has taken its place, as the end of a rotation."""


@dataclass(frozen=True, kw_only=True)
class DropData(Action):
    """Drop the schemas with all that is in them, and then the roles with all that they own."""

    schemas: tuple[str, ...]
    roles: tuple[str, ...]
    lenders: tuple[str, ...] = ()
    """Owners of objects elsewhere that name the roles, as a policy does."""


@dataclass(frozen=True, kw_only=True)
class RecordTenant(Action):
    """Write the registry row; `revoke_keys` ends the tenant's API keys in the same transaction."""

    id: str
    state: RowState
    version: str | None = None
    revoke_keys: bool = False
    applied: str | None = None
    """What of the spec is applied with this; None leaves what was recorded before."""
    takes_place: bool = False
    """Whether the tenant has a place on its server from now on, if there is room left; nothing else is written then."""


@dataclass(frozen=True, kw_only=True)
class WriteSecret(Action):
    """Make the Secret for `login`, or put it right when `observed` is given; it is the moment of a rotation."""

    name: str
    namespace: str
    login: str = ""
    notes: RotationNotes = field(default_factory=RotationNotes)
    observed: ObservedSecret | None = None
    rotated: bool = False
    lost: bool = False
    """Whether it stands for one that is gone."""


@dataclass(frozen=True, kw_only=True)
class DeleteSecret(Action):
    observed: ObservedSecret


@dataclass(frozen=True, kw_only=True)
class CreateObject(Action):
    """Make the tenant's namespace, or an object in it."""

    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReplaceObject(Action):
    """Write the whole object, unless it was changed since it was observed."""

    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeleteObject(Action):
    kind: str
    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class StartBackup(Action):
    """Make the Job that backs the tenant up."""

    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EndBackup(Action):
    """Remove the Job and its pods; what they have written stays."""

    observed: ObservedBackup


ServerAction = (
    CreateRole
    | AlterRole
    | StripRole
    | SetPassword
    | ResetPassword
    | WriteMarker
    | GrantMembership
    | RevokeMembership
    | CreateSchema
    | OwnSchema
    | OwnTable
    | GrantOnSchema
    | RevokeOnSchema
    | GrantOnTable
    | RevokeOnTable
    | GrantDefault
    | RevokeDefault
    | SetSetting
    | ResetSetting
    | Migrate
    | RevokeForeign
    | ShutOut
    | CloseLogin
    | LeaveDatabase
    | RetireLogin
    | DropData
    | PoolTenantAction
    | DatabaseAction
    | ReaderAction
    | ExtensionAction
)
"""Done in the tenant's database; LeaveDatabase in the one that it names, a DatabaseAction in the server's."""

NamespaceAction = CreateObject | ReplaceObject | DeleteObject

BackupAction = StartBackup | EndBackup

TenantAction = ServerAction | RecordTenant | WriteSecret | DeleteSecret | NamespaceAction | BackupAction

TAKEN_BACK = (
    StripRole,
    OwnSchema,
    OwnTable,
    OwnDatabase,
    RevokeOnDatabase,
    RevokeForeign,
    ShutOut,
    RevokeMembership,
    RevokeOnSchema,
    RevokeOnTable,
    RevokeDefault,
)
"""What undoes something that somebody gave. Postgres may answer to a REVOKE with a mere warning, and keep it."""

NOT_OURS_TO_UNDO = (StripRole, OwnSchema, OwnTable, OwnDatabase, ResetSetting, RevokeForeign, DropReader)
"""What undoes something that an administrator did. It may be refused to us, and that stops nothing else."""

STOPS_NOTHING = (*NOT_OURS_TO_UNDO, CreateExtension, DropExtension, DropExtensionsSchema)
"""What else may be refused to us by what an administrator or a tenant has there."""

ALONE = (
    *NOT_OURS_TO_UNDO,
    CloseLogin,
    CloseReader,
    ShutOut,
    RevokeMembership,
    MakePool,
    CloseEntry,
    MakeDatabase,
    DropDatabase,
    CreateExtension,
    DropExtension,
    DropExtensionsSchema,
    BeginDrop,
)
"""Each in a transaction of its own.

What may not be ours to undo must not roll back the rest; of a membership only a look afterwards shows that. Closing a
login must be seen by everybody before what it owns is dropped, and access that is taken stays so when a repair fails.
That a drop begins must be written down before the first batch of it.
"""
