"""What to do about the pool of a server, given what is there: whatever opens it is closed, whatever lacks is made anew.

The pool belongs to no tenant, so this is nobody's drift policy: a hole in it is a hole for all of its tenants.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tenantry_operator.model.names import OWNER
from tenantry_operator.model.pool import DIRECTORY_SCHEMA, POOL_CUSTOMERS, POOL_ROLES, POOL_SCHEMA
from tenantry_operator.model.pool_catalogue import PoolCatalogue, PoolShape, pool_members
from tenantry_operator.model.tenant import Grant
from tenantry_operator.plan.action import Action
from tenantry_operator.plan.actions import (
    AlterRole,
    GrantMembership,
    GrantOnSchema,
    GrantOnTable,
    OwnSchema,
    OwnTable,
    RevokeMembership,
    RevokeOnSchema,
    RevokeOnTable,
    StripRole,
)
from tenantry_operator.plan.tenant_reporting import describe

MISSING: Final = "it is missing"
TOO_MUCH: Final = "nobody should hold it"


@dataclass(frozen=True, kw_only=True)
class GuardTable(Action):
    """Put row security on a table anew, with its policies as at a revision."""

    table: str
    revision: str


@dataclass(frozen=True, kw_only=True)
class DropPolicy(Action):
    table: str
    policy: str


@dataclass(frozen=True, kw_only=True)
class RestoreDirectory(Action):
    """Make the functions anew that the policies ask."""


@dataclass(frozen=True, kw_only=True)
class GrantOnFunction(Action):
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class RevokeOnFunction(Action):
    grant: Grant


PoolAction = (
    AlterRole
    | StripRole
    | GrantMembership
    | RevokeMembership
    | OwnSchema
    | OwnTable
    | GrantOnSchema
    | RevokeOnSchema
    | GrantOnTable
    | RevokeOnTable
    | GuardTable
    | DropPolicy
    | RestoreDirectory
    | GrantOnFunction
    | RevokeOnFunction
)


def plan_pool(shape: PoolShape | None, found: PoolCatalogue) -> tuple[PoolAction, ...]:
    """Decide what makes the pool whole; playing the plan leaves an empty one. Without a shape only its roles are ours.

    What is taken away comes first.
    """
    on_roles = (*_roles(found), *_memberships(found))
    return on_roles if shape is None else (*on_roles, *_owners(found), *_guards(shape, found), *_grants(shape, found))


def _roles(found: PoolCatalogue) -> Iterator[PoolAction]:
    for name, role in sorted(found.roles.items()):
        if role.elevated:
            yield StripRole(role=name, attributes=tuple(sorted(role.elevated)), reason=TOO_MUCH)
        if role.login or not role.inherit:
            yield AlterRole(role=name, login=False, inherit=True, connection_limit=-1, reason="it was changed")


def _memberships(found: PoolCatalogue) -> Iterator[PoolAction]:
    held = {(one.role, one.member): one for one in found.memberships}
    wanted = {(one.role, one.member): one for one in pool_members(found.service_logins)}
    for key in sorted(held.keys() - wanted.keys()):
        yield RevokeMembership(membership=held[key], reason="it would choose any tenant, or read as one")
    for key in sorted(wanted.keys() - held.keys()):
        yield GrantMembership(membership=wanted[key], reason=MISSING)


def _owners(found: PoolCatalogue) -> Iterator[PoolAction]:
    for schema in (POOL_SCHEMA, DIRECTORY_SCHEMA):
        holder = found.schemas.get(schema, OWNER)
        if holder != OWNER:
            yield OwnSchema(schema=schema, owner=OWNER, lender=holder, reason="it belongs to the pool's owner")
    for table in found.tables.values():
        if table.owner != OWNER:
            why = "it belongs to the pool's owner"
            yield OwnTable(schema=POOL_SCHEMA, table=table.name, owner=OWNER, lender=table.owner, reason=why)


def _guards(shape: PoolShape, found: PoolCatalogue) -> Iterator[PoolAction]:
    if found.functions != shape.functions:
        yield RestoreDirectory(reason="a function that policies ask is not as it was made")
    known = {(policy.table, policy.name) for policy in shape.policies}
    for policy in sorted(found.policies):
        if (policy.table, policy.name) not in known:
            yield DropPolicy(table=policy.table, policy=policy.name, reason="it would let rows through")
    for table in shape.tables:
        there = found.tables.get(table)
        if there is None:
            continue  # what is gone with its rows is nothing to make anew: its tenants say DataMissing
        wanted = {policy for policy in shape.policies if policy.table == table}
        if not (there.secured and there.forced) or not wanted <= found.policies:
            why = "its row security is off, not forced, or other than it was made"
            yield GuardTable(table=table, revision=shape.revision, reason=why)


def _grants(shape: PoolShape, found: PoolCatalogue) -> Iterator[PoolAction]:
    for revoke, give, wanted, held in (
        (RevokeOnSchema, GrantOnSchema, schema_grants(), found.schema_grants),
        (RevokeOnFunction, GrantOnFunction, shape.function_grants, found.function_grants),
    ):
        yield from (revoke(grant=grant, reason=TOO_MUCH) for grant in sorted(held - wanted))
        yield from (give(grant=grant, reason=MISSING) for grant in sorted(_lacking(wanted, held)))
    there = frozenset(grant for grant in shape.table_grants if grant.on in found.tables)
    for grant in sorted(found.table_grants):
        schema, _, table = grant.on.partition(".")
        bare = Grant(table, grant.grantee, grant.privilege, grant.grantable)
        if schema != POOL_SCHEMA or bare not in there:
            yield RevokeOnTable(schema=schema, grant=bare, reason=TOO_MUCH)
    held = frozenset(
        Grant(one.on.partition(".")[2], one.grantee, one.privilege, one.grantable) for one in found.table_grants
    )
    for grant in sorted(_lacking(there, held)):
        yield GrantOnTable(schema=POOL_SCHEMA, grant=grant, reason=MISSING)


def _lacking(wanted: frozenset[Grant], held: frozenset[Grant]) -> frozenset[Grant]:
    """Return what is to be granted; a REVOKE takes a privilege with and without its grant option."""
    revoked = {(one.on, one.grantee, one.privilege) for one in held - wanted}
    return frozenset(one for one in wanted if one not in held or (one.on, one.grantee, one.privilege) in revoked)


def schema_grants() -> frozenset[Grant]:
    """Say who may name what is in the two schemas."""
    users = {role for role in POOL_ROLES.values() if role != OWNER}
    return frozenset(Grant(schema, role, "USAGE") for schema in (POOL_SCHEMA, DIRECTORY_SCHEMA) for role in users)


def function_grants(tenant_of: str, chosen_tenant: str) -> frozenset[Grant]:
    """Say who may ask which function."""
    services = {role for role in POOL_ROLES.values() if role not in (OWNER, POOL_CUSTOMERS)}
    asked = {Grant(chosen_tenant, role, "EXECUTE") for role in services}
    return frozenset(asked | {Grant(tenant_of, POOL_CUSTOMERS, "EXECUTE")})


def describe_pool(action: PoolAction) -> str:
    """Say for a person what is not as it should be."""
    match action:
        case GuardTable(table=table):
            return f"row security of {POOL_SCHEMA}.{table} is off, not forced, or other than it was made"
        case DropPolicy(table=table, policy=policy):
            return f"policy {policy} on {POOL_SCHEMA}.{table} is nobody's"
        case RestoreDirectory():
            return f"a function in schema {DIRECTORY_SCHEMA} is not as it was made"
        case GrantOnFunction(grant=g):
            return f"{g.grantee} lacks {g.privilege} on function {DIRECTORY_SCHEMA}.{g.on}"
        case RevokeOnFunction(grant=g):
            return f"{g.grantee} holds {g.privilege} on function {DIRECTORY_SCHEMA}.{g.on}"
    return describe(action)
