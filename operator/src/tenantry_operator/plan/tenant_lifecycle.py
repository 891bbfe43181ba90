"""Takes access to a Tenant away and gives it back, as `spec.lifecycle` says; the data stays where it is.

The registry is told first when access is taken, so that the services refuse the tenant before they lose it, and last
when access is given back. What takes access comes before anything else, in transactions of its own: no repair that
fails keeps it from happening.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tenantry_crds import Lifecycle
from tenantry_operator.model.tenant import Catalogue, DesiredTenant, Membership, ObservedTenant, RowState
from tenantry_operator.plan.actions import (
    CloseLogin,
    DeleteSecret,
    RecordTenant,
    ServerAction,
    ShutOut,
    TenantAction,
)
from tenantry_operator.plan.pool_actions import CloseEntry
from tenantry_operator.plan.reader_actions import CloseReader
from tenantry_operator.plan.tenant_pool import closing
from tenantry_operator.plan.tenant_reader import after_closing_reader, reader_closed
from tenantry_operator.plan.tenant_reporting import is_settled

STATES: Final[Mapping[Lifecycle, RowState]] = {
    Lifecycle.ACTIVE: RowState.ACTIVE,
    Lifecycle.SUSPENDED: RowState.SUSPENDED,
    Lifecycle.ARCHIVED: RowState.ARCHIVED,
}
"""What the registry says of a tenant that is in place."""

CLOSED: Final = frozenset({RowState.SUSPENDED, RowState.ARCHIVED})
"""The states of which the services say 403 `tenant-suspended`."""


def is_open(desired: DesiredTenant) -> bool:
    return desired.lifecycle is Lifecycle.ACTIVE


def is_archived(desired: DesiredTenant) -> bool:
    return desired.lifecycle is Lifecycle.ARCHIVED


def why(desired: DesiredTenant) -> str:
    return f"spec.lifecycle is {desired.lifecycle}"


def may_log_in(desired: DesiredTenant, role: str) -> bool:
    return is_open(desired) and role in desired.names.logins


def is_kept(desired: DesiredTenant, membership: Membership) -> bool:
    """Whether a membership of an active tenant holds: the services are in none that is not, nor is a retired login."""
    names = desired.names
    if membership.role in names.service_roles.values():
        return is_open(desired)
    return not is_archived(desired) or membership.member not in names.logins


def first_records(desired: DesiredTenant, observed: ObservedTenant, *, identity: str) -> Iterator[RecordTenant]:
    """Tell the registry what must be known before anything is done."""
    row, reason = observed.row, "the registry has no row of this tenant"
    new = observed.catalogue.marker is None
    if row is None and not is_open(desired):
        state, version = STATES[desired.lifecycle], observed.catalogue.version
        yield RecordTenant(id=identity, state=state, version=version, takes_place=new, reason=reason)
    elif row is None and not is_settled(desired, observed):
        yield RecordTenant(id=identity, state=RowState.PROVISIONING, takes_place=new, reason=reason)
    elif row is not None and row.uid == desired.uid:
        yield from _taken_first(desired, observed)


def _taken_first(desired: DesiredTenant, observed: ObservedTenant) -> Iterator[RecordTenant]:
    """Close a row of this Tenant. A released one admits nobody as it is, and is taken over when all else is."""
    row, state = observed.row, STATES[desired.lifecycle]
    if not is_open(desired) and row is not None and row.state not in (state, RowState.RELEASED):
        yield RecordTenant(id=row.id, state=state, version=row.version, reason=why(desired))


def last_records(
    desired: DesiredTenant, observed: ObservedTenant, first: Sequence[RecordTenant], *, identity: str
) -> Iterator[RecordTenant]:
    """Tell the registry what holds once all is done, unless it was told already."""
    version, state = observed.catalogue.version or desired.released, STATES[desired.lifecycle]
    row, applied = observed.row, desired.drift.applied
    told: tuple[object, ...] | None = None if row is None else (row.state, row.version, row.uid)
    if first:
        told = (first[-1].state, first[-1].version, desired.uid)
    if told != (state, version, desired.uid):
        reason = "the tenant is in place" if row is None else f"the registry says {row.state} at {row.version}"
        yield RecordTenant(id=identity, state=state, version=version, applied=applied, reason=reason)
    elif row is not None and row.login is None:
        reason = "the registry names no service's login of ours"
        yield RecordTenant(id=identity, state=state, version=version, applied=applied, reason=reason)
    elif (row.applied if row else None) != applied:
        reason = "another spec is applied than the registry says"
        yield RecordTenant(id=identity, state=state, version=version, applied=applied, reason=reason)


def closing_actions(desired: DesiredTenant, catalogue: Catalogue) -> tuple[ServerAction, ...]:
    """Shut out whom the lifecycle does not admit: services, logins, and whoever is logged in as a group role."""
    closed: tuple[ServerAction, ...] = ()
    if not is_open(desired):
        reader = reader_closed(desired.names, catalogue, reason=why(desired))
        closed = (*closing(catalogue, reason=why(desired)), *reader)
    return (*closed, *_shut_out(desired, catalogue), *_close(desired, catalogue))


def _shut_out(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[ShutOut]:
    if is_open(desired):
        return
    services = frozenset(desired.names.service_roles.values())
    for membership in sorted(catalogue.memberships):
        if membership.role in services:
            yield ShutOut(membership=membership, reason=why(desired))


def _close(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[CloseLogin]:
    """Close what can be logged in as, and what somebody is still logged in as: a crash may have come between.

    Of an active tenant that is a group role: a session of it goes in the same step as its LOGIN, for nothing would tell
    of it between a repair and the next look.
    """
    for role in desired.layout.roles:
        there = catalogue.roles.get(role)
        if there is None or may_log_in(desired, role) or (is_open(desired) and desired.drift.report):
            continue
        if role in catalogue.sessions or there.login:
            reason = why(desired) if role in desired.names.logins else "nobody may log in as it"
            yield CloseLogin(role=role, reason=reason)


def after_closing(desired: DesiredTenant, catalogue: Catalogue, actions: Sequence[ServerAction]) -> Catalogue:
    """Return what there is once access is taken; of an active tenant a LOGIN by hand stays, to be told as drift."""
    closed = {action.role for action in actions if isinstance(action, CloseLogin)}
    gone = {action.membership for action in actions if isinstance(action, ShutOut)}
    barred = frozenset() if is_open(desired) else closed
    if any(isinstance(action, CloseReader) for action in actions):
        catalogue = after_closing_reader(desired.names, catalogue)
    entry = catalogue.entry
    if entry is not None and any(isinstance(action, CloseEntry) for action in actions):
        entry = replace(entry, open=False)
    return replace(
        catalogue,
        entry=entry,
        roles={name: replace(role, login=False) if name in barred else role for name, role in catalogue.roles.items()},
        memberships=catalogue.memberships - gone,
        sessions=catalogue.sessions - closed,
    )


def without_roles(catalogue: Catalogue, *roles: str) -> Catalogue:
    """Return what is left once the roles are dropped; all that they hold goes with them."""
    gone = frozenset(roles)
    return replace(
        catalogue,
        roles={name: role for name, role in catalogue.roles.items() if name not in gone},
        memberships=frozenset(one for one in catalogue.memberships if not gone & {one.role, one.member}),
        schema_grants=frozenset(one for one in catalogue.schema_grants if one.grantee not in gone),
        table_grants=frozenset(one for one in catalogue.table_grants if one.grantee not in gone),
        default_grants=frozenset(one for one in catalogue.default_grants if one.grantee not in gone),
        foreign=frozenset(one for one in catalogue.foreign if one.grantee not in gone),
    )


def archived_secrets(desired: DesiredTenant, observed: ObservedTenant) -> Iterator[DeleteSecret]:
    for secret in (observed.secret, *observed.stale_secrets):
        if secret is not None and secret.ours:
            yield DeleteSecret(observed=secret, reason=why(desired))


def taking_actions(desired: DesiredTenant, observed: ObservedTenant) -> tuple[TenantAction, ...]:
    """Take access from a tenant of which nothing else can be done; empty when none is to be taken."""
    if is_open(desired):
        return ()
    return (*_taken_first(desired, observed), *closing_actions(desired, observed.catalogue))


def is_taken(desired: DesiredTenant, observed: ObservedTenant, done: Sequence[TenantAction]) -> bool:
    """Say whether nobody gets at the data once this is done; access is given back when the registry says so."""
    recorded = [action.state for action in done if isinstance(action, RecordTenant)]
    before = observed.row.state if observed.row is not None else None
    state = recorded[-1] if recorded else before
    if is_open(desired):
        return state in CLOSED
    wanted = closing_actions(desired, observed.catalogue)
    return state is STATES[desired.lifecycle] and all(action in done for action in wanted)
