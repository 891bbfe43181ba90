"""The histories of the tenants' schemas and of the registry, and what replays them.

A revision is an Alembic script. It is rendered to SQL once in a process, without a database, and replayed by the
caller over its own connection, so that many schemas can be moved at the same time.
"""

from tenantry_migrations.errors import MigrationError, NotAnUpgrade, NothingReleased, UnknownRevision, WrongHistory
from tenantry_migrations.histories import REGISTRY, REGISTRY_SCHEMA, TENANT
from tenantry_migrations.history import History, Privilege, Step
from tenantry_migrations.registry_upgrade import released_revision, upgrade_registry
from tenantry_migrations.replay import VERSION_TABLE, render, render_each, version_query

__all__ = [
    "REGISTRY",
    "REGISTRY_SCHEMA",
    "TENANT",
    "VERSION_TABLE",
    "History",
    "MigrationError",
    "NotAnUpgrade",
    "NothingReleased",
    "Privilege",
    "Step",
    "UnknownRevision",
    "WrongHistory",
    "released_revision",
    "render",
    "render_each",
    "upgrade_registry",
    "version_query",
]
