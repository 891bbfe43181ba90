"""``tenantry operator``."""

import typer

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
    from tenantry_operator.starting import start  # noqa: PLC0415

    raise typer.Exit(start())
