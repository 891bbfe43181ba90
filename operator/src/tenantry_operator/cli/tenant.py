"""``tenantry tenant``."""

import asyncio
import difflib
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tenantry_crds import names
from tenantry_kit.keys import ENVIRONMENT_PATTERN, EVERY_SCOPE, SCOPES, ApiKey, create_key
from tenantry_operator.cli import tenant_lifecycle, tenant_psql, tenant_restore, tenant_rotate, tenant_show
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace, RegistryDatabase, RegistryServer
from tenantry_operator.cli.registry_access import RegistryPlace, registry

app = typer.Typer(help="Tenants and their keys.", no_args_is_help=True)
app.command("list", epilog=tenant_show.LIST_EPILOG)(tenant_show.list_tenants)
app.command("status", epilog=tenant_show.STATUS_EPILOG)(tenant_show.status)
app.command("report", epilog=tenant_show.REPORT_EPILOG)(tenant_show.report)
app.command("psql", epilog=tenant_psql.EPILOG)(tenant_psql.psql)
app.command("rotate", epilog=tenant_rotate.EPILOG)(tenant_rotate.rotate)
app.command("suspend", epilog=tenant_lifecycle.SUSPEND_EPILOG)(tenant_lifecycle.suspend)
app.command("archive", epilog=tenant_lifecycle.ARCHIVE_EPILOG)(tenant_lifecycle.archive)
app.command("restore", epilog=tenant_restore.EPILOG)(tenant_restore.restore)
app.command("resume", epilog=tenant_lifecycle.RESUME_EPILOG)(tenant_lifecycle.resume)

CREATE_KEY_EPILOG = (
    "Examples: `key=$(tenantry tenant create-key acme)` · "
    "`tenantry tenant create-key acme --scope users:read --expires-in 90d`"
)

DURATION = re.compile(r"(\d{1,6})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

FIND = "SELECT id, state FROM tenantry.tenants WHERE name = %s AND state NOT IN ('released', 'deleted')"
INSERT = """
    INSERT INTO tenantry.api_keys (public_id, tenant_id, kind, secret_hash, scopes, expires_at)
    VALUES (%s, %s, 'tenant', %s, %s, %s)
"""


@app.callback()
def group() -> None:
    """Tenants and their keys."""


@app.command("create-key", epilog=CREATE_KEY_EPILOG)
def create_key_command(
    name: Annotated[str, typer.Argument(help="The Tenant's name.")],
    environment: Annotated[
        str, typer.Option(help="Which services accept the key.", envvar="TENANTRY_ENVIRONMENT")
    ] = "dev",
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What the key may do: {', '.join(SCOPES)}; may be repeated. Absent: all."),
    ] = None,
    expires_in: Annotated[str | None, typer.Option(help="Such as 90d, 12h or 30m. Absent: never.")] = None,
    postgres_url: Annotated[
        str | None,
        typer.Option(help="Reaches the registry's database from here.", envvar="TENANTRY_REGISTRY_URL"),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
    registry_server: RegistryServer = None,
    registry_database: RegistryDatabase = None,
) -> None:
    """Make an API key for a Tenant and print it. It is shown this once; only a hash of it is stored.

    Ends with 0, 1 when there is no such Tenant or no way to the registry, 2 for an option that makes no sense.
    """
    _check_scopes(scope or ())
    if not re.fullmatch(ENVIRONMENT_PATTERN, environment):
        raise typer.BadParameter("2 to 8 letters a-z", param_hint="--environment")
    place = RegistryPlace(namespace, registry_server, registry_database, kubeconfig, postgres_url, context)
    with told():
        key = create_key(environment)
        asyncio.run(_store(place, name, key=key, scopes=scope or [EVERY_SCOPE], lifetime=_lifetime(expires_in)))
    print(key.text)
    print(f"A key of tenant {name}. Keep it now: it cannot be shown again.", file=sys.stderr)


async def _store(
    place: RegistryPlace, name: str, *, key: ApiKey, scopes: list[str], lifetime: timedelta | None
) -> None:
    expires = datetime.now(UTC) + lifetime if lifetime else None
    async with registry(place) as connection, connection.transaction():
        tenant = await (await connection.execute(FIND, [name])).fetchone()
        if tenant is None:
            raise CommandFailed(f"there is no tenant {name} in the registry; is the Tenant Ready?")
        if tenant[1] in {"suspended", "archived"}:
            raise CommandFailed(
                f"tenant {name} is {tenant[1]}: a key would be refused. `tenantry tenant resume {name}` first"
            )
        await connection.execute(INSERT, [key.public_id, tenant[0], key.secret_hash, scopes, expires])


def _check_scopes(scopes: Iterable[str]) -> None:
    """Refuse what no route asks for: a key of such a scope would be of no use, and nobody would know why."""
    for scope in scopes:
        if scope not in (*SCOPES, EVERY_SCOPE):
            near = difflib.get_close_matches(scope, SCOPES, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            known = ", ".join(SCOPES)
            raise typer.BadParameter(f"{scope} is no scope; {hint}known are {known}", param_hint="--scope")


def _lifetime(text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = DURATION.fullmatch(text)
    if match is None or int(match.group(1)) == 0:
        raise typer.BadParameter("a number and one of s, m, h, d, such as 90d", param_hint="--expires-in")
    return timedelta(**{UNITS[match.group(2)]: int(match.group(1))})
