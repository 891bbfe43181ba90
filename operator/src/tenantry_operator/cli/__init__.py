"""The command ``tenantry``."""

from tenantry_operator.cli.app import main

__all__ = ["main"]
