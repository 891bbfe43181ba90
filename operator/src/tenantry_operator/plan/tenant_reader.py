"""The read-only role: what it holds while the spec wants one, what is taken while nobody is let in, and how it goes.

It is granted to nobody by us: an administrator lends it to logins of his own, and that is no drift. What a SECURITY
DEFINER function does is done with its owner's rights, so that the role may call none of the tenant's functions.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tenantry_operator.model.names import TENANTS, TenantNames, is_tenants_role
from tenantry_operator.model.reads import Reads
from tenantry_operator.model.tenant import Catalogue, DesiredTenant, Grant, Membership
from tenantry_operator.plan.actions import LeaveDatabase, RevokeForeign, TenantAction
from tenantry_operator.plan.reader_actions import CloseReader, DropReader, GrantReads, ReaderAction, RevokeReads

NOBODY_ASKS: Final = "spec.database.readOnlyRole is Disabled"


def has_reader(desired: DesiredTenant) -> bool:
    return desired.reader and not desired.layout.is_pooled


def reader_memberships(desired: DesiredTenant) -> frozenset[Membership]:
    """Let whoever holds the role connect, as the tenant's logins do; to a database of its own it has CONNECT itself."""
    apart = desired.layout.own_database is not None
    return frozenset({Membership(TENANTS, desired.names.readonly)} if has_reader(desired) and not apart else ())


def reader_schema_grants(desired: DesiredTenant, *, is_open: bool) -> frozenset[Grant]:
    names = desired.names
    return frozenset({Grant(names.schema, names.readonly, "USAGE")} if has_reader(desired) and is_open else ())


def reader_default_grants(desired: DesiredTenant) -> frozenset[Grant]:
    """Say what the role may do with what the owner makes from now on."""
    reader = desired.names.readonly
    return frozenset(Grant(kind, reader, "SELECT") for kind in ("TABLES", "SEQUENCES") if has_reader(desired))


def is_lent(membership: Membership, names: TenantNames) -> bool:
    """Whether a membership is an administrator's to give: the read-only role's, to a role that is no tenant's."""
    return membership.role == names.readonly and not is_tenants_role(membership.member)


def reads_actions(desired: DesiredTenant, catalogue: Catalogue, *, is_open: bool) -> Iterator[ReaderAction]:
    """Bring what is in the schema already to what is wanted; default privileges are of what is to come."""
    names, reads = desired.names, catalogue.reads
    if not has_reader(desired) or not is_open:
        return
    if reads.more:
        yield RevokeReads(schema=names.schema, owner=names.owner, role=names.readonly, reason="it only reads")
    # What it reads is not known before it is there.
    comes = names.readonly not in catalogue.roles and names.schema in catalogue.schemas
    if comes or reads.lacks or reads.more:
        yield GrantReads(schema=names.schema, owner=names.owner, role=names.readonly, reason="it reads all there is")


def reader_closed(names: TenantNames, catalogue: Catalogue, *, reason: str) -> Iterator[CloseReader]:
    """Take all reading from it. A statement that is prepared asks for the table's privilege, not for the schema's."""
    enters = any((grant.on, grant.grantee) == (names.schema, names.readonly) for grant in catalogue.schema_grants)
    if enters or catalogue.reads.some or catalogue.reads.more:
        yield CloseReader(schema=names.schema, owner=names.owner, role=names.readonly, reason=reason)


def after_closing_reader(names: TenantNames, catalogue: Catalogue) -> Catalogue:
    grants = frozenset(g for g in catalogue.schema_grants if (g.on, g.grantee) != (names.schema, names.readonly))
    return replace(catalogue, schema_grants=grants, reads=Reads(lacks=catalogue.reads.lacks or catalogue.reads.some))


def is_to_go(desired: DesiredTenant, catalogue: Catalogue) -> bool:
    return desired.names.readonly in catalogue.roles and not has_reader(desired)


def reader_dropped(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[TenantAction]:
    """Drop the role with all that it holds; what it owns passes to the owner. Says to whom it was lent."""
    names = desired.names
    if not is_to_go(desired, catalogue):
        return
    for grant in sorted(catalogue.foreign):
        if grant.grantee == names.readonly and grant.kind != "policy":
            yield RevokeForeign(grant=grant, reason=NOBODY_ASKS)
    for database in sorted(database for role, database in catalogue.elsewhere if role == names.readonly):
        yield LeaveDatabase(database=database, roles=(names.readonly,), heir=names.owner, reason=NOBODY_ASKS)
    lent = tuple(sorted({m.member for m in catalogue.memberships if m.role == names.readonly}))
    yield DropReader(role=names.readonly, heir=names.owner, members=lent, reason=NOBODY_ASKS)
