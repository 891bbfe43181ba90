"""``tenantry operator``."""

import asyncio
import sys

import typer
from pydantic import ValidationError

from tenantry_operator.logs import configure_logging
from tenantry_operator.settings import OperatorSettings

app = typer.Typer(help="The operator itself.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep `run` a sub-command, though it is the only one."""


@app.command()
def run() -> None:
    """Run the operator. It is told everything by environment variables with the prefix TENANTRY_.

    They are listed, with what they mean, in docs/reference/operator-settings.md.

    Ends with 0 when asked to stop, 2 when misconfigured, 3 when the Lease was lost, 1 for anything else.
    """
    # kopf and the API server's client take a second to load, which no other command should wait for.
    from tenantry_operator import process  # noqa: PLC0415

    try:
        settings = OperatorSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper() or "settings"
            print(f"tenantry: TENANTRY_{name}: {problem['msg']}", file=sys.stderr)
        raise typer.Exit(process.Exit.MISCONFIGURED) from error
    configure_logging(settings.log_level, settings.log_format)
    raise typer.Exit(asyncio.run(process.run(settings)))
