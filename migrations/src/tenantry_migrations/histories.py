"""The histories of the project, as they were rendered."""

from functools import partial
from typing import Final

from tenantry_migrations.history import History
from tenantry_migrations.pool import PoolHistory
from tenantry_migrations.rendered import read_rendered

REGISTRY_SCHEMA: Final = "tenantry"
"""The schema of the registry database in which everything of the registry lives."""

TENANT: Final = History(partial(read_rendered, "tenant"))
"""What stands in each tenant's services' schema. Tables are unqualified: the caller sets the search_path."""

REGISTRY: Final = History(partial(read_rendered, "registry"))
"""What stands in the schema `tenantry` of the registry database."""

POOL_SCHEMA: Final = "tenantry_pool"
"""The schema that the pooled tenants of a server share."""

DIRECTORY_SCHEMA: Final = "tenantry"
"""The schema beside the pool, of the functions that its policies ask."""

POOL: Final = PoolHistory(partial(read_rendered, "pool"))
"""The tenant history once more, for the schema that tenants share: the same columns, and each row guarded."""

DIRECTORY: Final = History(partial(read_rendered, "directory"))
"""Who is who in the pool."""

NAMES: Final = ("tenant", "registry", "directory", "pool")
"""Of the folders under `rendered/`."""
