"""The histories of the tenants' schemas and of the registry, and what replays them.

A revision is an Alembic script. It is rendered to SQL by `make render`, without a database, and replayed by the caller
over its own connection, so that many schemas can be moved at the same time. Nothing here loads Alembic; who renders
imports `scripts` and `pool_rendering`.
"""

from tenantry_migrations.errors import MigrationError, NotAnUpgrade, NothingReleased, UnknownRevision, WrongHistory
from tenantry_migrations.histories import (
    DIRECTORY,
    DIRECTORY_SCHEMA,
    POOL,
    POOL_SCHEMA,
    REGISTRY,
    REGISTRY_SCHEMA,
    TENANT,
)
from tenantry_migrations.history import History, Privilege, Revision, Step
from tenantry_migrations.pool import CUSTOMERS, OWNER, TENANT_ID, Policy, PoolHistory, PoolShape
from tenantry_migrations.pool_upgrade import (
    directory_functions,
    directory_statements,
    guard_statements,
    lock_pool,
    make_pool,
    make_statements,
    move_statements,
    pool_version,
    whole_statements,
)
from tenantry_migrations.registry_upgrade import released_revision, upgrade_registry
from tenantry_migrations.replay import VERSION_TABLE, render, render_each, version_query

__all__ = [
    "CUSTOMERS",
    "DIRECTORY",
    "DIRECTORY_SCHEMA",
    "OWNER",
    "POOL",
    "POOL_SCHEMA",
    "REGISTRY",
    "REGISTRY_SCHEMA",
    "TENANT",
    "TENANT_ID",
    "VERSION_TABLE",
    "History",
    "MigrationError",
    "NotAnUpgrade",
    "NothingReleased",
    "Policy",
    "PoolHistory",
    "PoolShape",
    "Privilege",
    "Revision",
    "Step",
    "UnknownRevision",
    "WrongHistory",
    "directory_functions",
    "directory_statements",
    "guard_statements",
    "lock_pool",
    "make_pool",
    "make_statements",
    "move_statements",
    "pool_version",
    "released_revision",
    "render",
    "render_each",
    "upgrade_registry",
    "version_query",
    "whole_statements",
]
