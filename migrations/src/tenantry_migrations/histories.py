"""The two histories of the project."""

from pathlib import Path
from typing import Final

from tenantry_migrations.history import History

_HERE = Path(__file__).parent

REGISTRY_SCHEMA: Final = "tenantry"
"""The schema of the registry database in which everything of the registry lives."""

TENANT: Final = History(_HERE / "tenant")
"""What stands in each tenant's services' schema. Tables are unqualified: the caller sets the search_path."""

REGISTRY: Final = History(_HERE / "registry", grants_in_steps=False)
"""What stands in the schema `tenantry` of the registry database."""
