"""The names that the demo gives, in one place; those of the operator's world are its own."""

from urllib.parse import urlsplit, urlunsplit

from tenantry_crds.names import SYSTEM_NAMESPACE

SYSTEM = SYSTEM_NAMESPACE
SERVER = "primary"
TENANT = "acme"
GREETING = "greeting"
REGISTRY_DATABASE = "tenantry"
CHART = "tenantry"
CRDS_CHART = "tenantry-crds"


def registry_url(postgres_url: str) -> str:
    """The same address and user, in the registry's database."""
    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{REGISTRY_DATABASE}"))
