"""What to do for a Tenant that is leaving. The registry is told first, so that the services stop serving it."""

from collections.abc import Iterator

from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.tenant import (
    Catalogue,
    Deletion,
    DesiredTenant,
    Leaving,
    Marker,
    MarkerState,
    ObservedTenant,
)
from tenantry_operator.model.tenant import RowState as State
from tenantry_operator.plan.actions import (
    BeginDrop,
    CloseLogin,
    DeleteSecret,
    DropData,
    LeaveDatabase,
    RecordTenant,
    RevokeForeign,
    RevokeMembership,
    TenantAction,
    WriteMarker,
)
from tenantry_operator.plan.tenant_database import database_dropped, database_released
from tenantry_operator.plan.tenant_namespace import namespace_leaving
from tenantry_operator.plan.tenant_pool import closing, leaving
from tenantry_operator.plan.tenant_reader import reader_closed
from tenantry_operator.plan.tenant_rotation import retirement

LEAVES = "the Tenant is being deleted"


def deletion_actions(
    desired: DesiredTenant, mine: ObservedTenant, *, leaving: Leaving, backup: str | None = None
) -> tuple[TenantAction, ...]:
    """Drop or release what is this Tenant's; empty when nothing of it is left to do.

    `backup` names the verified one that allows the drop, if one was asked for.
    """
    drop = leaving is Leaving.DELETE
    on_server = _drop(desired, mine.catalogue, backup) if drop else _release(desired, mine.catalogue)
    space = namespace_leaving(desired, mine.namespace, leaving=leaving)
    secrets = tuple(_delete_secrets(mine))
    # A namespace that goes takes the Secret in it along, and before that our way to it.
    inside = tuple(one for one in secrets if drop and one.observed.namespace != desired.system_namespace)
    return (
        *_record(mine, State.RELEASED),
        *(inside if space else ()),
        *space,
        *on_server,
        *(one for one in secrets if one not in inside),
        *(_record(mine, State.DELETED) if drop or _never_had_data(mine) else ()),
    )


def finishes_drop(deletion: Deletion, catalogue: Catalogue) -> bool:
    """Whether a drop has begun before the policy became Retain: what is left is not whole, and not worth keeping."""
    marker = catalogue.marker
    return deletion.leaving is Leaving.RETAIN and marker is not None and marker.state is MarkerState.DROPPING


def _record(mine: ObservedTenant, state: State) -> Iterator[TenantAction]:
    """Tell the registry.

    A row that was lost is written anew from the marker: after a pass that is cut off midway it is what says that the
    data was dropped, and is not missing.
    """
    row, marker = mine.row, mine.catalogue.marker
    if row is not None and row.state is not state:
        yield RecordTenant(id=row.id, state=state, version=row.version, revoke_keys=True, reason=LEAVES)
    elif row is None and marker is not None:
        version = mine.catalogue.version
        yield RecordTenant(id=marker.id, state=state, version=version, revoke_keys=True, reason=LEAVES)


def _never_had_data(mine: ObservedTenant) -> bool:
    return mine.row is not None and mine.row.version is None and mine.catalogue.marker is None


def _delete_secrets(mine: ObservedTenant) -> Iterator[DeleteSecret]:
    for secret in (mine.secret, *mine.stale_secrets):
        if secret is not None:
            yield DeleteSecret(observed=secret, reason=LEAVES)


def _release(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    """Keep schemas, data and group roles; nobody can log in, and the services reach nothing."""
    yield from withdrawal(desired, catalogue)
    yield from _mark_released(desired, catalogue)


def withdrawal(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    """Take all access and retire the logins: what is left belongs to the owner, and nobody but him gets at it."""
    names = desired.names
    yield from closing(catalogue, reason=LEAVES)
    yield from reader_closed(names, catalogue, reason=LEAVES)
    yield from _close(names, catalogue)
    yield from retirement_actions(names, catalogue, reason=LEAVES)
    services = frozenset(names.service_roles.values())
    for membership in sorted(catalogue.memberships):
        if membership.role in services:
            yield RevokeMembership(membership=membership, reason=LEAVES)


def _close(names: TenantNames, catalogue: Catalogue) -> Iterator[TenantAction]:
    """Close the logins, and what a hand has opened besides."""
    for name in names.roles:
        role = catalogue.roles.get(name)
        if role is not None and (name in names.logins or role.login or name in catalogue.sessions):
            yield CloseLogin(role=name, reason=LEAVES)


def retirement_actions(names: TenantNames, catalogue: Catalogue, *, reason: str) -> Iterator[TenantAction]:
    """Drop the logins, which are closed already; what they own passes to the owner."""
    for login in names.logins:
        if login in catalogue.roles:
            yield from _revoke_foreign(catalogue, login, reason=reason)
            yield from retirement(names, catalogue, login, reason=reason)


def _mark_released(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    marker = catalogue.marker
    if marker is None:
        return
    released = Marker(marker.id, marker.uid, marker.installation, MarkerState.RELEASED)
    yield from database_released(desired, catalogue, released)
    if marker.state is not MarkerState.RELEASED:
        yield WriteMarker(role=desired.names.owner, marker=released, reason=LEAVES)


def _drop(desired: DesiredTenant, catalogue: Catalogue, backup: str | None) -> Iterator[TenantAction]:
    names = desired.names
    roles = tuple(role for role in desired.layout.roles if role in catalogue.roles)
    # A database of its own takes them along.
    schemas = tuple(schema for schema in desired.layout.schemas if schema in catalogue.schemas)
    schemas = () if desired.layout.own_database else schemas
    if not roles and not schemas and catalogue.database is None:
        return
    yield from closing(catalogue, reason=LEAVES)
    yield from _close(names, catalogue)
    yield from _begin(desired, catalogue, backup)
    yield from _revoke_foreign(catalogue, *roles)
    yield from _leave_databases(catalogue, *roles)
    yield from database_dropped(catalogue, reason=LEAVES)
    policies = {grant.owner for grant in catalogue.foreign if grant.kind == "policy"}
    yield from leaving(desired, catalogue, reason=LEAVES)
    # The owner bears the marker, so it goes last.
    yield DropData(schemas=schemas, roles=roles[::-1], lenders=tuple(sorted(policies)), reason=LEAVES)


def _begin(desired: DesiredTenant, catalogue: Catalogue, backup: str | None) -> Iterator[BeginDrop]:
    marker = catalogue.marker
    if marker is not None and marker.state is not MarkerState.DROPPING:
        dropping = Marker(marker.id, marker.uid, marker.installation, MarkerState.DROPPING, backup)
        yield BeginDrop(role=desired.names.owner, marker=dropping, reason=LEAVES)


def _revoke_foreign(catalogue: Catalogue, *roles: str, reason: str = LEAVES) -> Iterator[TenantAction]:
    for grant in sorted(catalogue.foreign):
        if grant.grantee in roles and grant.kind != "policy":
            yield RevokeForeign(grant=grant, reason=reason)


def _leave_databases(catalogue: Catalogue, *roles: str) -> Iterator[TenantAction]:
    for database in sorted({database for role, database in catalogue.elsewhere if role in roles}):
        there = tuple(role for role in roles if (role, database) in catalogue.elsewhere)
        yield LeaveDatabase(database=database, roles=there, reason=LEAVES)
