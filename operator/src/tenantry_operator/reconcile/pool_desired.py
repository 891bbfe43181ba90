"""What a pool should be at a revision, as values of the model."""

import hashlib
from typing import Final

from tenantry_migrations import DIRECTORY, POOL, Policy, directory_functions
from tenantry_operator.model.names import OWNER
from tenantry_operator.model.pool import POOL_ROLES
from tenantry_operator.model.pool_catalogue import PoolFunction, PoolPolicy, PoolShape
from tenantry_operator.model.tenant import Grant
from tenantry_operator.plan.pool import function_grants

SETTINGS: Final = ("search_path=pg_catalog, pg_temp",)


def pool_shape(revision: str) -> PoolShape | None:
    """Say what there should be at a revision; None when this version does not know it."""
    if revision not in POOL.revisions:
        return None
    shape, functions = POOL.shape(revision), directory_functions()
    named = {name.partition("(")[0]: name for name in functions}
    return PoolShape(
        revision=revision,
        tables=shape.tables,
        policies=frozenset(map(_policy, shape.policies)),
        table_grants=frozenset(
            Grant(held.table, POOL_ROLES[held.service], privilege)
            for held in shape.privileges
            for privilege in held.privileges
        ),
        directory_version=DIRECTORY.head,
        functions=frozenset(
            PoolFunction(name, OWNER, True, SETTINGS, _digest(text)) for name, text in functions.items()
        ),
        function_grants=function_grants(named["tenant_of"], named["chosen_tenant"]),
    )


def _policy(policy: Policy) -> PoolPolicy:
    rows = policy.rows_as_catalogued
    return PoolPolicy(
        table=policy.table,
        name=policy.name,
        permissive=True,
        command="r" if policy.reads_only else "*",
        roles=(POOL_ROLES[policy.role],),
        using=rows,
        check="" if policy.reads_only else rows,
    )


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
