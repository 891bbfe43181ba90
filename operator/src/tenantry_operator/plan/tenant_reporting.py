"""Tells drift from what the spec asks for; says what drifted, and whether the Tenant can live with it.

Drift is what a plan would put right though nobody changed the spec: the plan for the spec that was applied last has the
same action.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from tenantry_crds import ConditionType, Drift
from tenantry_crds.reasons import Reason
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.tenant import (
    DesiredTenant,
    Grant,
    Marker,
    Membership,
    ObservedDatabase,
    ObservedTenant,
    Role,
    RowState,
)
from tenantry_operator.plan import actions as do
from tenantry_operator.plan import database_actions as on_database
from tenantry_operator.plan import reader_actions as on_reader
from tenantry_operator.plan.status import Problem, Said

REPAIRS: Final = (
    do.CreateRole,
    do.AlterRole,
    do.StripRole,
    do.ResetPassword,
    do.GrantMembership,
    do.RevokeMembership,
    do.CreateSchema,
    do.OwnSchema,
    do.OwnTable,
    on_database.OwnDatabase,
    on_database.MarkDatabase,
    on_database.GrantOnDatabase,
    on_database.RevokeOnDatabase,
    on_database.AlterDatabase,
    do.GrantOnSchema,
    do.RevokeOnSchema,
    do.GrantOnTable,
    do.RevokeOnTable,
    do.GrantDefault,
    do.RevokeDefault,
    on_reader.GrantReads,
    on_reader.RevokeReads,
    on_reader.DropReader,
    do.SetSetting,
    do.ResetSetting,
    do.RevokeForeign,
)
"""What a hand edit on a server calls for. The registry and the Secret are the operator's own output, and are kept true
under each policy."""

LISTED: Final = 20
WHAT_LIMIT: Final = 300
BROKEN: Final = frozenset({Reason.DRIFT_BREAKS_ISOLATION, Reason.DRIFT_BREAKS_TENANT})


@dataclass(frozen=True)
class Sorted:
    """The actions to be done, those of all that answer to drift, and those that are left undone."""

    actions: tuple[do.TenantAction, ...]
    drift: tuple[do.TenantAction, ...] = ()
    held: tuple[do.TenantAction, ...] = ()


def is_settled(desired: DesiredTenant, observed: ObservedTenant) -> bool:
    """Whether the Tenant was provisioned, and is this one's: before, and at an adoption, nothing is drift."""
    marker, row = observed.catalogue.marker, observed.row
    if marker is None or marker != Marker(marker.id, desired.uid, desired.installation):
        return False
    recorded = row is None or (row.uid == desired.uid and row.state not in (RowState.PROVISIONING, RowState.RELEASED))
    version = observed.catalogue.version
    if observed.catalogue.is_shut:
        version = row.version if row else None
    return recorded and version is not None


def sort_out(
    desired: DesiredTenant,
    observed: ObservedTenant,
    actions: Sequence[do.TenantAction],
    *,
    before: Sequence[do.TenantAction],
    made: str | None = None,
) -> Sorted:
    """Sort the actions of a plan; `before` are those that the spec applied last would ask for now.

    `made` is the login that a rotation prepares in this plan: it is missing because it is new.
    """
    everything = tuple(actions)
    if desired.drift.unknown or not is_settled(desired, observed):
        return Sorted(everything)
    asked_before = {action for action in before if isinstance(action, REPAIRS)}
    drift = tuple(
        action
        for action in everything
        if isinstance(action, REPAIRS) and action in asked_before and (made is None or made not in _roles_of(action))
    )
    if not desired.drift.report:
        return Sorted(everything, drift)
    gone = {action.role for action in drift if isinstance(action, do.CreateRole)}
    held = tuple(action for action in everything if action in drift or _needs(action, gone))
    return Sorted(tuple(action for action in everything if action not in held), drift, held)


def _needs(action: do.TenantAction, gone: AbstractSet[str]) -> bool:
    """Whether an action cannot be done without a role that stays missing."""
    if isinstance(action, do.WriteSecret):
        return action.login in gone
    return not gone.isdisjoint(_roles_of(action))


def _roles_of(action: do.TenantAction) -> Iterable[str]:
    for field in fields(action):
        value = getattr(action, field.name)
        if field.name in {"role", "owner", "heir"} and isinstance(value, str):
            yield value
        elif isinstance(value, Membership):
            yield from (value.role, value.member)
        elif isinstance(value, Grant):
            yield value.grantee


def held_problem(held: Sequence[do.TenantAction], desired: DesiredTenant, observed: ObservedTenant) -> Problem | None:
    """Say what of the drift that is left alone makes the Tenant unusable, or opens it, if anything does."""
    names = desired.names
    open_ = [describe(action) for action in held if opens(action, names)]
    if open_:
        said = "driftPolicy is Report, so this is left as it is, and the tenant is not kept apart"
        return Problem(Reason.DRIFT_BREAKS_ISOLATION, f"{said}: {'; '.join(open_)}", lasting=True)
    broken = [describe(action) for action in held if _breaks(action, observed)]
    if broken:
        said = "driftPolicy is Report, so this is left as it is, and the tenant cannot be used"
        return Problem(Reason.DRIFT_BREAKS_TENANT, f"{said}: {'; '.join(broken)}", lasting=True)
    return None


def opens(action: do.TenantAction, names: TenantNames) -> bool:
    """Whether the drift is a way from one tenant to another, or from a customer to what is the services'."""
    customers = {*names.roles} - {*names.service_roles.values()}
    match action:
        case (
            do.StripRole()
            | do.OwnSchema()
            | do.OwnTable()
            | on_database.OwnDatabase()
            | do.RevokeForeign()
            | do.RevokeOnTable()
        ):
            return True
        case do.RevokeMembership(membership=m):
            return m.admin or not {m.role, m.member} <= customers
        case do.RevokeOnSchema(grant=g):
            return g.on == names.service_schema or g.grantee not in customers
        case do.RevokeDefault(grant=g) | on_database.RevokeOnDatabase(grant=g):
            return g.grantee not in customers
    return False


def _breaks(action: do.TenantAction, observed: ObservedTenant) -> bool:
    """Whether the drift keeps the customer or a service from what they need."""
    held = observed.catalogue
    match action:
        case do.CreateRole() | do.CreateSchema() | do.SetSetting(name="search_path") | do.ResetPassword():
            return True
        case do.GrantMembership(membership=m):
            return (m.role, m.member) not in {(one.role, one.member) for one in held.memberships}
        case do.GrantOnSchema(grant=g) | do.GrantOnTable(grant=g):
            return _lacks(held.table_grants if isinstance(action, do.GrantOnTable) else held.schema_grants, g)
        case on_database.GrantOnDatabase() | on_database.AlterDatabase():
            return held.database is not None and _shuts_out(action, held.database)
        case do.AlterRole(role=role, login=login):
            return login and _shut(held.roles.get(role))
    return False


def _shuts_out(action: do.TenantAction, there: ObservedDatabase) -> bool:
    if isinstance(action, on_database.GrantOnDatabase):
        return _lacks(there.grants, action.grant)
    return not there.open or there.connection_limit >= 0


def _lacks(held: Iterable[Grant], grant: Grant) -> bool:
    """Whether it is not held at all: one that is held with its grant option is granted anew, and lacks nothing."""
    return (grant.on, grant.grantee, grant.privilege) not in {(g.on, g.grantee, g.privilege) for g in held}


def _shut(role: Role | None) -> bool:
    return role is None or not role.login or role.expires or role.connection_limit == 0


def describe(action: do.TenantAction) -> str:
    """Say for a person what is not as it should be; the same difference gives the same words."""
    if isinstance(action, on_database.DatabaseAction):
        return on_database.describe_database(action)[:WHAT_LIMIT]
    if isinstance(action, on_reader.ReaderAction):
        return on_reader.describe_reader(action)[:WHAT_LIMIT]
    return _described(action)[:WHAT_LIMIT]


def _described(action: do.TenantAction) -> str:
    said = f"{type(action).__name__}: {action.reason}"
    match action:
        case do.CreateRole(role=role):
            said = f"role {role} is missing"
        case do.AlterRole(role=role):
            said = f"role {role} has other attributes (LOGIN, INHERIT, CONNECTION LIMIT or VALID UNTIL)"
        case do.StripRole(role=role, attributes=attributes):
            said = f"role {role} has {', '.join(attributes)}"
        case do.GrantMembership(membership=m):
            said = f"{m.member} is no member of {m.role}, or not as it should be"
        case do.RevokeMembership(membership=m):
            how = " with ADMIN" if m.admin else " with other options (INHERIT, SET)" if m.odd else ""
            said = f"{m.member} is a member of {m.role}{how}"
        case do.CreateSchema(schema=schema):
            said = f"schema {schema} is missing"
        case do.OwnSchema(lender=lender) | do.OwnTable(lender=lender):
            on = (
                f"table {action.schema}.{action.table}"
                if isinstance(action, do.OwnTable)
                else f"schema {action.schema}"
            )
            said = f"{on} belongs to {lender}"
        case do.SetSetting(role=role, name=name):
            said = f"setting {name} of {role} is not as the spec says"
        case do.ResetSetting(role=role, name=name, database=database):
            where = "" if database is None else f" in database {database}" if database else " in all databases"
            said = f"setting {name} of {role} is set{where}, and the spec does not set it"
        case do.RevokeForeign(grant=foreign):
            said = f"{foreign.grantee} holds privileges on the {foreign.kind} {foreign.identity} of {foreign.owner}"
        case do.GrantOnSchema(grant=g) | do.GrantOnTable(grant=g) | do.GrantDefault(grant=g):
            said = f"{g.grantee} lacks {g.privilege} on {_what(action, g)}"
        case do.RevokeOnSchema(grant=g) | do.RevokeOnTable(grant=g) | do.RevokeDefault(grant=g):
            said = f"{g.grantee} holds {g.privilege}{' WITH GRANT OPTION' if g.grantable else ''} on {_what(action, g)}"
    return said


def _what(action: do.TenantAction, grant: Grant) -> str:
    match action:
        case do.GrantOnTable(schema=schema) | do.RevokeOnTable(schema=schema):
            return f"table {schema}.{grant.on}"
        case do.GrantDefault(owner=owner) | do.RevokeDefault(owner=owner):
            return f"{grant.on} that {owner} is to make"
    return f"schema {grant.on}"


def drift_said(found: Sequence[str] | None) -> Said:
    """Say DriftDetected; None when this pass did not come so far as to look."""
    kind = ConditionType.DRIFT_DETECTED
    if found is None:
        return Said(kind, "Unknown", Reason.PROVISIONING, "not looked at in this pass")
    if not found:
        return Said(kind, "False", Reason.NO_DRIFT)
    more = f"; and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return Said(kind, "True", Reason.DRIFTED, "; ".join(found[:LISTED]) + more)


def drift_listed(found: Sequence[str] | None, before: Sequence[Drift], *, now: datetime) -> tuple[Drift, ...]:
    """List what drifted, each since it was first seen; of what was not looked at, the last word stays."""
    if found is None:
        return tuple(before)
    since = {one.what: one.since for one in before}
    return tuple(Drift(what=what, since=since.get(what, now.replace(microsecond=0))) for what in found[:LISTED])
