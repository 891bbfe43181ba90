"""The histories of the project."""

from pathlib import Path
from typing import Final

from tenantry_migrations.history import History
from tenantry_migrations.pool import PoolHistory

_HERE = Path(__file__).parent

REGISTRY_SCHEMA: Final = "tenantry"
"""The schema of the registry database in which everything of the registry lives."""

TENANT: Final = History(_HERE / "tenant")
"""What stands in each tenant's services' schema. Tables are unqualified: the caller sets the search_path."""

REGISTRY: Final = History(_HERE / "registry", grants_in_steps=False)
"""What stands in the schema `tenantry` of the registry database."""

POOL_SCHEMA: Final = "tenantry_pool"
"""The schema that the pooled tenants of a server share."""

DIRECTORY_SCHEMA: Final = "tenantry"
"""The schema beside the pool, of the functions that its policies ask."""

POOL: Final = PoolHistory(_HERE / "tenant")
"""The tenant history once more, for the schema that tenants share: the same columns, and each row guarded."""

DIRECTORY: Final = History(_HERE / "directory", grants_in_steps=False)
"""Who is who in the pool."""
