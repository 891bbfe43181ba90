"""A small model of what a Tenant's actions do: to a server's catalogue, the registry and the cluster.

It knows what Postgres does by itself, such as that a dropped role leaves no membership, and nothing about plans.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from tenantry_crds.names import ANNOTATION_DESTINATION, ANNOTATION_OWNER_UID
from tenantry_operator.apply.tenant import units
from tenantry_operator.model.backup import JobState, ObservedBackup
from tenantry_operator.model.credentials import applied_mark
from tenantry_operator.model.names import OWNER, TENANTS, TenantNames, service_login
from tenantry_operator.model.reads import Reads
from tenantry_operator.model.tenant import (
    PUBLIC,
    Catalogue,
    DesiredTenant,
    Grant,
    ObservedSecret,
    ObservedTenant,
    RegistryRow,
    Role,
    RowState,
)
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.database_actions import DatabaseAction
from tenantry_operator.plan.extension_actions import ExtensionAction
from tenantry_operator.plan.reader_actions import CloseReader, DropReader, GrantReads, RevokeReads
from tenantry_operator.plan.tenant_rotation import remembered
from tenantry_operator.plan.tenant_secret import tenant_binding, usable_password
from tenantry_testing.database_model import Impossible, change_database, from_outside, is_entered
from tenantry_testing.extension_model import change_extensions
from tenantry_testing.namespace_model import NamespaceModel
from tenantry_testing.reader_model import change_reads
from tenantry_testing.secret_model import secret_key, seen_secrets


@dataclass
class TenantModel:
    """One tenant's part of the world. `play` does an action as Postgres, the registry or the API server would."""

    desired: DesiredTenant
    catalogue: Catalogue = field(default_factory=Catalogue)
    row: RegistryRow | None = None
    secrets: dict[str, ObservedSecret] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    """What each login accepts."""
    keys_revoked: bool = False
    oid: int = 16384
    made: int = 0
    fresh: bool = False
    chosen: str = ""
    sessions: frozenset[str] = frozenset()
    """Roles that somebody has a session as."""
    ended: tuple[str, ...] = ()
    """The logins whose sessions were ended, in order."""
    namespace: NamespaceModel = field(default_factory=NamespaceModel)
    backup: ObservedBackup | None = None

    @property
    def names(self) -> TenantNames:
        return self.desired.names

    def observe(self) -> ObservedTenant:
        """Return what a pass would see, and begin a new one: a password that was only thought of is forgotten."""
        self.chosen = ""
        self.fresh = False
        secret, others = seen_secrets(self.secrets, self.desired, self.namespace.observe())
        row = self.row if self.row is not None and self.row.state is not RowState.DELETED else None
        closed = {name for name, role in self.catalogue.roles.items() if not role.login}
        catalogue = from_outside(replace(self.catalogue, sessions=self.sessions & closed), self.desired)
        tried = self.secret.data.get("username", "") if self.secret and not self.lets_in() else None
        return ObservedTenant(
            catalogue,
            row,
            secret,
            stale_secrets=others,
            sessions=self.sessions & {*self.names.logins},
            namespace=self.namespace.observe(),
            backup=self.backup,
            refused_login=tried if tried in self.live_logins() else None,
        )

    @property
    def secret(self) -> ObservedSecret | None:
        """The Secret in the place where it is to be, as far as that can be looked at."""
        return seen_secrets(self.secrets, self.desired, self.namespace.observe())[0]

    def lets_in(self) -> bool:
        """Whether one can log in as the Secret says."""
        data = self.secret.data if self.secret else {}
        role = self.catalogue.roles.get(data.get("username", ""))
        return role is not None and role.login and self.passwords.get(role.name) == data.get("password")

    def live_logins(self) -> set[str]:
        """Return the logins by which one can log in."""
        roles = self.catalogue.roles
        return {login for login in self.names.logins if login in roles and roles[login].login}

    def play_all(self, actions: Iterable[do.TenantAction]) -> None:
        for action in actions:
            self.play(action)

    def play(self, action: do.TenantAction) -> None:
        """Do one action. Raises Impossible when something that it names is not there, or is there already."""
        handlers: dict[type, Callable[..., None]] = {
            do.RecordTenant: self._record,
            do.WriteSecret: self._write_secret,
            do.DeleteSecret: self._delete_secret,
            **dict.fromkeys((do.SetPassword, do.ResetPassword), self._set_password),
            do.Migrate: self._migrate,
            do.RetireLogin: self._retire,
            DropReader: self._retire,
            do.DropData: self._drop,
            do.CreateRole: self._create_role,
            do.CreateSchema: self._create_schema,
            do.StartBackup: self._start_backup,
            do.EndBackup: self._end_backup,
        }
        if isinstance(action, do.NamespaceAction):
            self.namespace.play(action)
            return
        if isinstance(action, DatabaseAction):
            self.catalogue = change_database(self.catalogue, action, self.desired)
        elif isinstance(action, ExtensionAction):
            self.catalogue = change_extensions(self.catalogue, action)
        elif isinstance(action, GrantReads | RevokeReads | CloseReader):
            self._role(action.role)
            self.catalogue = change_reads(self.catalogue, action)
        elif (handler := handlers.get(type(action))) is not None:
            handler(action)
        else:
            self._change(action)

    def drop_role(self, name: str) -> None:
        """Do what DROP ROLE does, after DROP OWNED."""
        held = self.catalogue
        without = {one: role for one, role in held.roles.items() if one != name}
        self.catalogue = replace(
            held,
            roles=without,
            memberships=frozenset(m for m in held.memberships if name not in (m.role, m.member)),
            schema_grants=frozenset(g for g in held.schema_grants if g.grantee != name),
            table_grants=frozenset(g for g in held.table_grants if g.grantee != name),
            default_grants=frozenset(g for g in held.default_grants if g.grantee != name),
            reads=Reads() if name == self.names.readonly else held.reads,
            foreign=frozenset(g for g in held.foreign if g.grantee != name),
            elsewhere=frozenset(one for one in held.elsewhere if one[0] != name),
            settings_elsewhere=frozenset(one for one in held.settings_elsewhere if one[0] != name),
        )
        self.passwords.pop(name, None)

    def alter_role(self, name: str, **changes: object) -> None:
        role = self._role(name)
        self.catalogue = replace(
            self.catalogue,
            roles={**self.catalogue.roles, name: replace(role, **changes)},  # type: ignore[arg-type]
        )

    def _role(self, name: str) -> Role:
        if name not in self.catalogue.roles:
            raise Impossible(f"role {name} does not exist")
        return self.catalogue.roles[name]

    def _exists(self, name: str) -> None:
        shared = {PUBLIC, OWNER, TENANTS, service_login("accounts")}
        if name not in shared:
            self._role(name)

    def _create_role(self, action: do.CreateRole) -> None:
        if action.role in self.catalogue.roles:
            raise Impossible(f"role {action.role} exists")
        self.oid += 1
        role = Role(
            action.role, self.oid, login=action.login, inherit=action.inherit, connection_limit=action.connection_limit
        )
        held = self.catalogue
        built_in = {Grant("FUNCTIONS", PUBLIC, "EXECUTE")} if action.role == self.names.owner else set()
        self.catalogue = replace(
            held, roles={**held.roles, action.role: role}, default_grants=held.default_grants | built_in
        )

    def _inside(self) -> None:
        if not is_entered(self.catalogue, self.desired):
            raise Impossible("the tenant's database lets nobody in")

    def _create_schema(self, action: do.CreateSchema) -> None:
        self._inside()
        self._exists(action.owner)
        if action.schema in self.catalogue.schemas:
            raise Impossible(f"schema {action.schema} exists")
        self.catalogue = replace(self.catalogue, schemas={**self.catalogue.schemas, action.schema: action.owner})

    def _change(self, action: do.TenantAction) -> None:
        held = self.catalogue
        match action:
            case do.AlterRole(role=role, login=login, inherit=inherit, connection_limit=limit):
                self.alter_role(role, login=login, inherit=inherit, connection_limit=limit, expires=False)
            case do.StripRole(role=role, attributes=attributes):
                self.alter_role(role, elevated=self._role(role).elevated - set(attributes))
            case do.CloseLogin(role=role):
                self.alter_role(role, login=False)
                self.ended += (role,)
                self.sessions -= {role}
            case do.WriteMarker(role=role, marker=marker):
                self._role(role)
                self.catalogue = replace(held, marker_text=marker.text())
            case do.GrantMembership(membership=m):
                self._exists(m.role)
                self._exists(m.member)
                self.catalogue = replace(held, memberships=held.memberships | {m})
            case do.RevokeMembership(membership=m) | do.ShutOut(membership=m):
                gone = frozenset(one for one in held.memberships if (one.role, one.member) == (m.role, m.member))
                self.catalogue = replace(held, memberships=held.memberships - gone)
            case do.SetSetting(role=role, name=name, value=value):
                self._inside()
                others = {one for one in self._role(role).settings if one[0] != name}
                self.alter_role(role, settings=frozenset(others | {(name, value)}))
            case do.ResetSetting(role=role, name=name, database=None):
                self.alter_role(role, settings=frozenset(s for s in self._role(role).settings if s[0] != name))
            case do.OwnSchema(schema=schema, owner=owner):
                self.catalogue = replace(held, schemas={**held.schemas, schema: owner})
            case do.RevokeForeign(grant=foreign):
                self.catalogue = replace(held, foreign=held.foreign - {foreign})
            case do.LeaveDatabase(database=database, roles=roles, heir=heir):
                kept = held.elsewhere - {(role, database) for role in roles}
                self.catalogue = replace(held, elsewhere=kept | ({(heir, database)} if heir else set()))
            case _:
                self._change_grants(action)

    def _change_grants(self, action: do.TenantAction) -> None:
        held = self.catalogue
        match action:
            case do.ResetSetting(role=role, name=name, database=str(database)):
                kept = held.settings_elsewhere - {(role, database, name)}
                self.catalogue = replace(held, settings_elsewhere=kept)
            case do.OwnTable(table=table, owner=owner):
                self.catalogue = replace(held, table_owners={**held.table_owners, table: owner})
            case do.GrantOnSchema(grant=g) | do.RevokeOnSchema(grant=g):
                if g.on not in held.schemas:
                    raise Impossible(f"schema {g.on} does not exist")
                self.catalogue = replace(held, schema_grants=self._granted(held.schema_grants, action, g))
            case do.GrantOnTable(grant=g) | do.RevokeOnTable(grant=g):
                if g.on not in held.tables:
                    raise Impossible(f"table {g.on} does not exist")
                self.catalogue = replace(held, table_grants=self._granted(held.table_grants, action, g))
            case do.GrantDefault(grant=g) | do.RevokeDefault(grant=g):
                self._role(self.names.owner)
                self.catalogue = replace(held, default_grants=self._granted(held.default_grants, action, g))
            case _:
                raise Impossible(f"nobody knows {type(action).__name__}")

    def _granted(self, held: frozenset[Grant], action: do.TenantAction, grant: Grant) -> frozenset[Grant]:
        self._exists(grant.grantee)
        same = frozenset(
            g for g in held if (g.on, g.grantee, g.privilege) == (grant.on, grant.grantee, grant.privilege)
        )
        if type(action).__name__.startswith("Grant"):
            # Granting once more without the option does not take it away.
            return held if same else held | {grant}
        return held - same

    def _migrate(self, action: do.Migrate) -> None:
        self._inside()
        if action.schema not in self.catalogue.schemas or self.catalogue.version is not None:
            raise Impossible("the schema is missing, or has a version")
        grants = self.desired.service_tables[action.to]
        self.catalogue = replace(
            self.catalogue,
            version=action.to,
            tables=frozenset({grant.on for grant in grants} | {"schema_version"}),
            table_grants=grants,
        )

    def _password(self) -> str:
        seen, others = seen_secrets(self.secrets, self.desired, self.namespace.observe())
        secret = None if self.fresh else remembered(self.desired, ObservedTenant(secret=seen, stale_secrets=others))
        kept = usable_password(secret.data) if secret else None
        if kept is None and not self.chosen:
            self.made += 1
            self.chosen = f"password-{self.made}".ljust(43, "_")
        return kept or self.chosen

    def _set_password(self, action: do.SetPassword) -> None:
        self._role(action.role)
        self.fresh = action.fresh
        self.passwords[action.role] = self._password()

    def _write_secret(self, action: do.WriteSecret) -> None:
        key = secret_key(self.desired, action.name, action.namespace)
        there = self.secrets.get(key)
        if there is not None and (
            action.observed is None or there.resource_version != action.observed.resource_version
        ):
            raise Impossible("Conflict")
        self.made += 1
        password = self._password()
        self.secrets[key] = ObservedSecret(
            name=action.name,
            namespace=action.namespace,
            uid=there.uid if there else f"secret-{self.made}",
            resource_version=str(self.made),
            ours=True,
            data=tenant_binding(self.desired, action.login, password),
            applied=applied_mark(self._role(action.login).oid, password),
            rotation=action.notes,
        )

    def _delete_secret(self, action: do.DeleteSecret) -> None:
        self.secrets.pop(secret_key(self.desired, action.observed.name, action.observed.namespace), None)

    def _retire(self, action: do.RetireLogin | DropReader) -> None:
        self._role(action.role)
        self._role(action.heir)
        if any(grant.grantee == action.role and grant.kind != "policy" for grant in self.catalogue.foreign):
            raise Impossible(f"role {action.role} cannot be dropped: it holds privileges elsewhere")
        if any(role == action.role for role, _ in self.catalogue.elsewhere):
            raise Impossible(f"role {action.role} cannot be dropped: it owns something in another database")
        self.drop_role(action.role)

    def _drop(self, action: do.DropData) -> None:
        if self.catalogue.marker is None:
            raise Impossible("there is no marker")
        for role in action.roles:
            if any(grant.grantee == role and grant.owner not in action.lenders for grant in self.catalogue.foreign):
                raise Impossible(f"role {role} cannot be dropped: it is named elsewhere")
            if any(owner == role for owner, _ in self.catalogue.elsewhere):
                raise Impossible(f"role {role} cannot be dropped: it owns something in another database")
            self.drop_role(role)
        if self.catalogue.database is not None:
            raise Impossible("the database was forgotten")
        left = {name: owner for name, owner in self.catalogue.schemas.items() if name not in action.schemas}
        if left or self.catalogue.roles:
            raise Impossible("something was forgotten")
        self.catalogue = Catalogue()

    def _start_backup(self, action: do.StartBackup) -> None:
        if self.backup is not None:
            raise Impossible("the Job exists")
        metadata = action.body["metadata"]
        self.made += 1
        destination = metadata["annotations"][ANNOTATION_DESTINATION]
        self.backup = ObservedBackup(
            metadata["name"],
            metadata["namespace"],
            f"job-{self.made}",
            ours=metadata["annotations"][ANNOTATION_OWNER_UID] == self.desired.uid,
            destination=destination,
            state=JobState.RUNNING,
        )

    def _end_backup(self, action: do.EndBackup) -> None:
        if self.backup is not None and self.backup.uid == action.observed.uid:
            self.backup = None

    def _record(self, action: do.RecordTenant) -> None:
        place = self.desired.place
        self.keys_revoked = self.keys_revoked or action.revoke_keys
        self.row = RegistryRow(
            action.id,
            self.desired.uid,
            place.server,
            place.database,
            action.state,
            action.version,
            applied=action.applied if action.applied is not None or self.row is None else self.row.applied,
            isolation=self.desired.isolation,
        )


BY_ITSELF = (
    do.RecordTenant,
    do.WriteSecret,
    do.DeleteSecret,
    do.LeaveDatabase,
    do.CreateObject,
    do.ReplaceObject,
    do.DeleteObject,
    do.StartBackup,
    do.EndBackup,
)


def in_steps(actions: Iterable[do.TenantAction]) -> list[tuple[do.TenantAction, ...]]:
    """Split a plan where a process may die: between transactions, and around each write elsewhere."""
    steps: list[tuple[do.TenantAction, ...]] = []
    here: list[do.ServerAction] = []
    for action in actions:
        if isinstance(action, BY_ITSELF):
            steps += [*units(here), (action,)]
            here = []
        else:
            here.append(action)
    return [*steps, *units(here)]


__all__ = ["Impossible", "TenantModel", "in_steps"]
