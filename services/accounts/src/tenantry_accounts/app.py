"""The composition root of the accounts service."""

from importlib.metadata import version

from fastapi import FastAPI

from tenantry_accounts.errors import ACCOUNTS_PROBLEMS
from tenantry_accounts.routes import router
from tenantry_kit.app import create_app
from tenantry_kit.components import Components

SERVICE = "accounts"


def accounts_app(components: Components) -> FastAPI:
    """Return the application, on components that were made for `SERVICE`."""
    return create_app(
        components,
        [router],
        title="tenantry accounts",
        version=version("tenantry-accounts"),
        description="Users of a tenant. Every request carries an API key of the tenant.",
        problems=ACCOUNTS_PROBLEMS,
    )
