"""Computes both ways what differs in the catalogue: what is missing is made, what is too much is taken away."""

from collections.abc import Iterator
from typing import Final

from tenantry_operator.model.isolation import Layout
from tenantry_operator.model.names import OWNER, service_login
from tenantry_operator.model.tenant import (
    PUBLIC,
    Catalogue,
    DesiredTenant,
    Grant,
    Marker,
    Membership,
)
from tenantry_operator.plan import tenant_lifecycle as lifecycle
from tenantry_operator.plan.actions import (
    AlterRole,
    CreateRole,
    CreateSchema,
    GrantDefault,
    GrantMembership,
    GrantOnSchema,
    GrantOnTable,
    Migrate,
    OwnSchema,
    OwnTable,
    ResetSetting,
    RevokeDefault,
    RevokeForeign,
    RevokeMembership,
    RevokeOnSchema,
    RevokeOnTable,
    SetSetting,
    StripRole,
    TenantAction,
    WriteMarker,
)
from tenantry_operator.plan.tenant_database import database_actions
from tenantry_operator.plan.tenant_pool import entering, making
from tenantry_operator.plan.tenant_reader import (
    has_reader,
    is_lent,
    reader_default_grants,
    reader_memberships,
    reader_schema_grants,
    reads_actions,
)
from tenantry_operator.plan.tenant_rotation import Rotation

MISSING = "it is missing"
TOO_MUCH = "nobody should hold it"
BUILT_IN: Final = frozenset({Grant("FUNCTIONS", PUBLIC, "EXECUTE")})
"""What Postgres lets others do with what a new role is about to make."""


def catalogue_actions(
    desired: DesiredTenant, catalogue: Catalogue, rotation: Rotation, *, identity: str
) -> tuple[TenantAction, ...]:
    """Ordered, so that what is named exists when it is named; what may not be ours to undo comes last."""
    return (
        *making(desired, catalogue),
        *_roles(desired, catalogue, rotation, identity=identity),
        *_memberships(desired, catalogue, rotation),
        *entering(desired, catalogue, identity=identity, is_open=lifecycle.is_open(desired)),
        *database_actions(desired, catalogue, identity=identity),
        *_schemas(desired.layout, catalogue),
        *_schema_grants(desired, catalogue),
        *_default_grants(desired, catalogue),
        *reads_actions(desired, catalogue, is_open=lifecycle.is_open(desired)),
        *_settings(desired, catalogue, rotation),
        *_migration(desired, catalogue),
        *_table_grants(desired, catalogue),
        *_resets(desired, catalogue, rotation),
        *_undone(desired.layout, catalogue),
    )


def desired_memberships(layout: Layout, logins: tuple[str, ...], number: int = 1) -> frozenset[Membership]:
    """Say who belongs to what: a login is owner only by SET ROLE through migrator, which inherits nothing.

    `number` is which of the services' logins reaches the tenant; to a pool all of them belong.
    """
    names = layout.names
    of_logins = {Membership(role, login) for role in layout.groups for login in logins}
    if layout.is_pooled:
        return frozenset(of_logins)
    services = {Membership(role, service_login(service, number)) for service, role in names.service_roles.items()}
    return frozenset({Membership(names.owner, names.migrator), *of_logins, *services})


def desired_schema_grants(layout: Layout) -> frozenset[Grant]:
    names = layout.names
    if layout.is_pooled:
        return frozenset()
    customers = {Grant(layout.customers.schema, names.app, "USAGE")}
    services = {Grant(layout.services.schema, role, "USAGE") for role in names.service_roles.values()}
    return frozenset(customers | services)


def desired_default_grants(layout: Layout) -> frozenset[Grant]:
    """Say what app may do with what owner makes; PUBLIC nothing. Where it can make nothing, it is as it was."""
    names = layout.names
    if layout.is_pooled:
        return BUILT_IN
    held = {
        "TABLES": ("SELECT", "INSERT", "UPDATE", "DELETE"),
        "SEQUENCES": ("USAGE", "SELECT", "UPDATE"),
        "FUNCTIONS": ("EXECUTE",),
    }
    return frozenset(Grant(kind, names.app, privilege) for kind, privileges in held.items() for privilege in privileges)


def desired_settings(desired: DesiredTenant) -> frozenset[tuple[str, str]]:
    """Of each login. The search path is here and not in the address, for poolers refuse it there."""
    return desired.settings | {("search_path", desired.layout.customers.schema)}


def _roles(
    desired: DesiredTenant, catalogue: Catalogue, rotation: Rotation, *, identity: str
) -> Iterator[TenantAction]:
    names = desired.names
    groups = (role for role in desired.layout.group_roles if role != names.readonly or has_reader(desired))
    for role in (*groups, *rotation.logins):
        login, inherit = lifecycle.may_log_in(desired, role), role != names.migrator
        limit = desired.connection_limit if role in names.logins else -1
        there = catalogue.roles.get(role)
        if there is None:
            yield CreateRole(role=role, login=login, inherit=inherit, connection_limit=limit, reason=MISSING)
            if role == names.owner:
                marker = Marker(identity, desired.uid, desired.installation)
                yield WriteMarker(role=role, marker=marker, reason="it says whose the tenant's names are")
        elif (there.login, there.inherit, there.connection_limit, there.expires) != (login, inherit, limit, False):
            why = "its attributes were changed, or the spec was"
            yield AlterRole(role=role, login=login, inherit=inherit, connection_limit=limit, reason=why)


def _memberships(desired: DesiredTenant, catalogue: Catalogue, rotation: Rotation) -> Iterator[TenantAction]:
    all_of_them = desired_memberships(desired.layout, rotation.logins, desired.seat.login)
    wanted = {m for m in all_of_them if lifecycle.is_kept(desired, m)} | reader_memberships(desired)
    # Those of a login that goes now go with it, and not before its sessions do.
    held = {
        m for m in catalogue.memberships if rotation.ended not in (m.role, m.member) and not is_lent(m, desired.names)
    }
    # Revoking first: a membership with ADMIN OPTION is revoked whole and granted again without.
    for membership in sorted(held - wanted):
        yield RevokeMembership(membership=membership, reason=TOO_MUCH)
    kept = {(m.role, m.member) for m in held - wanted}
    for membership in sorted(wanted):
        if membership not in held or (membership.role, membership.member) in kept:
            yield GrantMembership(membership=membership, reason=MISSING)


def _schemas(layout: Layout, catalogue: Catalogue) -> Iterator[TenantAction]:
    for schema, owner in layout.schemas.items():
        if schema not in catalogue.schemas:
            yield CreateSchema(schema=schema, owner=owner, reason=MISSING)


def _differences(wanted: frozenset[Grant], held: frozenset[Grant]) -> tuple[list[Grant], list[Grant]]:
    """Return what to revoke, and then what to grant. A REVOKE takes a privilege with and without its grant option."""
    revoked = sorted(held - wanted)
    gone = {(grant.on, grant.grantee, grant.privilege) for grant in revoked}
    return revoked, sorted(g for g in wanted if g not in held or (g.on, g.grantee, g.privilege) in gone)


def _schema_grants(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    readers = reader_schema_grants(desired, is_open=lifecycle.is_open(desired))
    revoked, granted = _differences(desired_schema_grants(desired.layout) | readers, catalogue.schema_grants)
    yield from (RevokeOnSchema(grant=grant, reason=TOO_MUCH) for grant in revoked)
    yield from (GrantOnSchema(grant=grant, reason=MISSING) for grant in granted)


def _default_grants(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    names, held = desired.names, catalogue.default_grants
    if names.owner not in catalogue.roles:
        held = BUILT_IN
    revoked, granted = _differences(desired_default_grants(desired.layout) | reader_default_grants(desired), held)
    yield from (RevokeDefault(owner=names.owner, grant=grant, reason=TOO_MUCH) for grant in revoked)
    yield from (GrantDefault(owner=names.owner, grant=grant, reason=MISSING) for grant in granted)


def _settings(desired: DesiredTenant, catalogue: Catalogue, rotation: Rotation) -> Iterator[TenantAction]:
    wanted = desired_settings(desired)
    for role, database, name in sorted(catalogue.settings_elsewhere):
        yield ResetSetting(role=role, name=name, database=database, reason="nothing is set there")
    for login in rotation.logins:
        for name, value in sorted(wanted - _settings_held(login, catalogue)):
            yield SetSetting(role=login, name=name, value=value, reason="it is not as the spec says")


def _settings_held(login: str, catalogue: Catalogue) -> frozenset[tuple[str, str]]:
    role = catalogue.roles.get(login)
    return frozenset() if role is None else role.settings


def _resets(desired: DesiredTenant, catalogue: Catalogue, rotation: Rotation) -> Iterator[TenantAction]:
    """Reset what the spec does not set. Of some settings only a superuser may, so each goes by itself."""
    wanted = {name for name, _ in desired_settings(desired)}
    for login in rotation.logins:
        for name in sorted({name for name, _ in _settings_held(login, catalogue)} - wanted):
            yield ResetSetting(role=login, name=name, reason="the spec does not set it")


def _migration(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    """Only a schema without a version: one that has a version is moved fleet-wide, not here."""
    if catalogue.version is None and not desired.layout.is_pooled:
        schema = desired.layout.services.schema
        yield Migrate(schema=schema, to=desired.released, reason="the services' schema has no version yet")


def _table_grants(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    """Unless the version is unknown to us: then what it grants is unknown too. The pool's are the server's to keep."""
    wanted = desired.service_tables.get(catalogue.version or "")
    if wanted is None or desired.layout.is_pooled:
        return
    schema = desired.layout.services.schema
    revoked, granted = _differences(wanted, catalogue.table_grants)
    yield from (RevokeOnTable(schema=schema, grant=grant, reason=TOO_MUCH) for grant in revoked)
    yield from (GrantOnTable(schema=schema, grant=grant, reason=MISSING) for grant in granted)


def _undone(layout: Layout, catalogue: Catalogue) -> Iterator[TenantAction]:
    """Undo what only an administrator can have done."""
    for name, role in sorted(catalogue.roles.items()):
        if role.elevated:
            yield StripRole(role=name, attributes=tuple(sorted(role.elevated)), reason=TOO_MUCH)
    for schema, owner in layout.schemas.items():
        holder = catalogue.schemas.get(schema, owner)
        if holder != owner:
            yield OwnSchema(schema=schema, owner=owner, lender=holder, reason="it belongs to the tenant's owner")
    for table, holder in sorted(catalogue.table_owners.items()):
        if holder != OWNER:
            why = "it belongs to the owner of all services' tables"
            yield OwnTable(schema=layout.services.schema, table=table, owner=OWNER, lender=holder, reason=why)
    for grant in sorted(catalogue.foreign):
        if grant.kind != "policy":
            yield RevokeForeign(grant=grant, reason=TOO_MUCH)
