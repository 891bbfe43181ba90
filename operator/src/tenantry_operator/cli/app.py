"""The commands, and those that other packages add by the entry point ``tenantry.commands``."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from tenantry_operator.cli import migrate, operator, tenant

ENTRY_POINTS = "tenantry.commands"
DISTRIBUTION = "tenantry-operator"


def application() -> typer.Typer:
    """Build the command with everything that is installed."""
    app = typer.Typer(
        name="tenantry",
        help="Customers as Kubernetes objects: Tenants, their databases and their services.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.add_typer(operator.app, name="operator")
    app.add_typer(tenant.app, name="tenant")
    app.add_typer(migrate.app, name="migrate")
    app.command(name="version")(version)
    add_plugins(app)
    return app


def version(short: Annotated[bool, typer.Option("--short", help="Print the number alone.")] = False) -> None:
    """Print the version of this command."""
    number = importlib.metadata.version(DISTRIBUTION)
    print(number if short else f"tenantry {number} (Python {sys.version.split()[0]})")


def add_plugins(app: typer.Typer) -> None:
    """Add each plug-in: a typer application under its entry point's name. A broken one is named and left out."""
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        try:
            plugin = entry.load()
        except Exception as error:
            print(f"tenantry: the plug-in {entry.name} ({entry.value}) cannot be loaded: {error}", file=sys.stderr)
            continue
        if isinstance(plugin, typer.Typer):
            app.add_typer(plugin, name=entry.name)
        else:
            app.command(name=entry.name)(plugin)


def main() -> None:
    application()()
