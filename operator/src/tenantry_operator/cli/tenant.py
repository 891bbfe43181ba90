"""``tenantry tenant``."""

import typer

app = typer.Typer(help="Tenants and their keys.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep `create-key` a sub-command, though it is the only one."""
