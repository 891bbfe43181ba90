"""The commands, and those that other packages add by the entry point ``tenantry.commands``."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated

import typer

from tenantry_operator.cli import breaker, db, migrate, operator, tenant, uninstall
from tenantry_operator.cli.doctor import EPILOG as DOCTOR_EPILOG
from tenantry_operator.cli.doctor import doctor
from tenantry_operator.cli.explain import EPILOG as EXPLAIN_EPILOG
from tenantry_operator.cli.explain import explain
from tenantry_operator.cli.plan import EPILOG as PLAN_EPILOG
from tenantry_operator.cli.plan import PlanCommand, plan

ENTRY_POINTS = "tenantry.commands"
DISTRIBUTION = "tenantry-operator"
KUBECTL_PLUGIN = "kubectl-tenantry"
"""The name by which kubectl finds `kubectl tenantry`."""


def application() -> typer.Typer:
    """Build the command with everything that is installed."""
    app = own_commands()
    add_plugins(app)
    return app


def own_commands() -> typer.Typer:
    """Build the command without plug-ins."""
    app = typer.Typer(
        name="tenantry",
        help="Customers as Kubernetes objects: Tenants, their databases and their services.\n\n"
        "As kubectl-tenantry on PATH this is `kubectl tenantry` too. Commands end with 0 when done, 1 when not, 2 for "
        "a mistake in the command line; where it is otherwise, their help says so.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.add_typer(operator.app, name="operator")
    app.add_typer(tenant.app, name="tenant")
    app.add_typer(migrate.app, name="migrate")
    app.command(name="doctor", epilog=DOCTOR_EPILOG)(doctor)
    app.command(name="plan", epilog=PLAN_EPILOG, cls=PlanCommand)(plan)
    app.command(name="explain", epilog=EXPLAIN_EPILOG)(explain)
    app.add_typer(breaker.app, name="breaker")
    app.add_typer(db.app, name="db")
    app.command(name="uninstall", epilog=uninstall.EPILOG)(uninstall.uninstall)
    app.command(name="version")(version)
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
    """Run the command, under the name by which it was called."""
    as_plugin = Path(sys.argv[0]).name.startswith(KUBECTL_PLUGIN)
    application()(prog_name="kubectl tenantry" if as_plugin else "tenantry")
