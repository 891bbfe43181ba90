"""What a pass over a server does about its pool, decided from what was seen."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tenantry_migrations import POOL
from tenantry_operator.model.names import OWNER, TenantNames, service_login
from tenantry_operator.model.pool import POOL_CUSTOMERS, POOL_SCHEMA, pool_role
from tenantry_operator.model.pool_catalogue import PoolCatalogue, PoolPolicy, PoolTable, pool_members
from tenantry_operator.model.tenant import Grant, Membership, Role
from tenantry_operator.plan import actions as do
from tenantry_operator.plan import pool as plan
from tenantry_operator.plan.pool_isolation import pool_ways
from tenantry_operator.plan.tenant_isolation import find_holes
from tenantry_operator.reconcile.pool_desired import pool_shape

SHAPE = pool_shape(POOL.head)
assert SHAPE is not None

LOGINS = frozenset({service_login("accounts", 1), service_login("accounts", 2)})

WHOLE = PoolCatalogue(
    version=POOL.head,
    directory_version=SHAPE.directory_version,
    roles={name: Role(name, 1) for name in (POOL_CUSTOMERS, pool_role("accounts"))},
    memberships=pool_members(LOGINS),
    service_logins=LOGINS,
    schemas={"tenantry": OWNER, POOL_SCHEMA: OWNER},
    schema_grants=plan.schema_grants(),
    tables={name: PoolTable(name, OWNER) for name in (*SHAPE.tables,)},
    table_grants=frozenset(replace(one, on=f"{POOL_SCHEMA}.{one.on}") for one in SHAPE.table_grants),
    policies=SHAPE.policies,
    functions=SHAPE.functions,
    function_grants=SHAPE.function_grants,
)

STRAY = PoolPolicy("users", "open", True, "*", ("PUBLIC",), "true", "")


def _table(**changes: object) -> PoolCatalogue:
    return replace(WHOLE, tables={"users": replace(WHOLE.tables["users"], **changes)})  # type: ignore[arg-type]


def _without_function() -> PoolCatalogue:
    return replace(WHOLE, functions=frozenset(sorted(WHOLE.functions)[1:]))


DAMAGES: dict[str, tuple[Callable[[], PoolCatalogue], type]] = {
    "row security off": (lambda: _table(secured=False), plan.GuardTable),
    "not forced": (lambda: _table(forced=False), plan.GuardTable),
    "another's table": (lambda: _table(owner="postgres"), do.OwnTable),
    "a policy gone": (lambda: replace(WHOLE, policies=WHOLE.policies - {min(WHOLE.policies)}), plan.GuardTable),
    "a stray policy": (lambda: replace(WHOLE, policies=WHOLE.policies | {STRAY}), plan.DropPolicy),
    "a changed function": (_without_function, plan.RestoreDirectory),
    "a function for all": (
        lambda: replace(WHOLE, function_grants=WHOLE.function_grants | {Grant("chosen_tenant()", "PUBLIC", "EXECUTE")}),
        plan.RevokeOnFunction,
    ),
    "a function for nobody": (lambda: replace(WHOLE, function_grants=frozenset()), plan.GrantOnFunction),
    "a stranger in a service's role": (
        lambda: replace(WHOLE, memberships=WHOLE.memberships | {Membership(pool_role("accounts"), "t_acme_login_a")}),
        do.RevokeMembership,
    ),
    "a service outside": (lambda: replace(WHOLE, memberships=frozenset()), do.GrantMembership),
    "a role that logs in": (
        lambda: replace(WHOLE, roles={POOL_CUSTOMERS: Role(POOL_CUSTOMERS, 1, login=True)}),
        do.AlterRole,
    ),
    "a role that bypasses": (
        lambda: replace(WHOLE, roles={POOL_CUSTOMERS: Role(POOL_CUSTOMERS, 1, elevated=frozenset({"BYPASSRLS"}))}),
        do.StripRole,
    ),
    "a table for all": (
        lambda: replace(WHOLE, table_grants=WHOLE.table_grants | {Grant("tenantry_pool.users", "PUBLIC", "SELECT")}),
        do.RevokeOnTable,
    ),
    "the directory for all": (
        lambda: replace(WHOLE, table_grants=WHOLE.table_grants | {Grant("tenantry.pooled", "PUBLIC", "SELECT")}),
        do.RevokeOnTable,
    ),
    "a table for nobody": (lambda: replace(WHOLE, table_grants=frozenset()), do.GrantOnTable),
    "another's schema": (lambda: replace(WHOLE, schemas={POOL_SCHEMA: "postgres"}), do.OwnSchema),
    "a schema for all": (
        lambda: replace(WHOLE, schema_grants=WHOLE.schema_grants | {Grant("tenantry", "PUBLIC", "USAGE")}),
        do.RevokeOnSchema,
    ),
    "a schema for nobody": (lambda: replace(WHOLE, schema_grants=frozenset()), do.GrantOnSchema),
}


def test_a_whole_pool_needs_nothing() -> None:
    assert plan.plan_pool(SHAPE, WHOLE) == ()


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_each_damage_is_answered_and_named(damage: str) -> None:
    made, wanted = DAMAGES[damage]
    actions = plan.plan_pool(SHAPE, made())
    assert {type(action) for action in actions} == {wanted}
    assert all(plan.describe_pool(action) for action in actions)


def test_a_grant_with_its_option_is_taken_and_given_without() -> None:
    grant = min(SHAPE.function_grants)
    held = (WHOLE.function_grants - {grant}) | {replace(grant, grantable=True)}
    actions = plan.plan_pool(SHAPE, replace(WHOLE, function_grants=held))
    assert [type(action) for action in actions] == [plan.RevokeOnFunction, plan.GrantOnFunction]


def test_of_a_pool_of_a_newer_version_only_the_roles_are_kept() -> None:
    newer = replace(_table(secured=False), version="t9999", memberships=frozenset())
    assert pool_shape(newer.version) is None
    assert {type(action) for action in plan.plan_pool(None, newer)} == {do.GrantMembership}


def test_a_table_that_is_gone_is_not_made_anew() -> None:
    gone = replace(WHOLE, tables={}, policies=frozenset(), table_grants=frozenset())
    assert plan.plan_pool(SHAPE, gone) == ()


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_opens_the_pool_is_a_way_for_each_of_its_tenants_and_what_is_missing_is_none(damage: str) -> None:
    made, kind = DAMAGES[damage]
    ways = pool_ways(plan.plan_pool(SHAPE, made()))
    assert bool(ways) is (kind not in (plan.GrantOnFunction, do.GrantMembership, do.GrantOnTable, do.GrantOnSchema))
    for hole in find_holes(TenantNames("acme"), ways, (), None):
        assert hole.kind == "PoolGuard"
        assert "DatabaseServer" in hole.remedy


def test_a_whole_pool_opens_no_way() -> None:
    assert pool_ways(plan.plan_pool(SHAPE, WHOLE)) == frozenset()
