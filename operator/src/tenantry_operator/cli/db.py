"""``tenantry db``: a Postgres server before Tenants come to it, and after."""

import typer

from tenantry_operator.cli import db_init, db_local, db_reset

app = typer.Typer(help="A Postgres server: make it ready, run one for development, empty it.", no_args_is_help=True)
app.command("init", epilog=db_init.EPILOG)(db_init.init)
app.command("start", epilog=db_local.START_EPILOG)(db_local.start)
app.command("stop", epilog=db_local.STOP_EPILOG)(db_local.stop)
app.command("status", epilog=db_local.STATUS_EPILOG)(db_local.status)
app.command("reset", epilog=db_reset.EPILOG)(db_reset.reset)
