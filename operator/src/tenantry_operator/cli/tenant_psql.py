"""``tenantry tenant psql``: psql with the Tenant's own log-in."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from tenantry_crds import names
from tenantry_operator.cli.cluster import ClusterPlace, cluster, get_tenant
from tenantry_operator.cli.detour import parse_through
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace
from tenantry_operator.cli.tenant_show import TenantName, read_secret
from tenantry_operator.observe.secrets import decode

EPILOG = (
    "Examples: `tenantry tenant psql acme` · `tenantry tenant psql acme -- -c 'SELECT 1'` · "
    "`kubectl port-forward service/postgres 15432:5432 &` and `tenantry tenant psql acme --through 127.0.0.1:15432`"
)

VARIABLES: Final = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGDATABASE": "database",
    "PGUSER": "username",
    "PGPASSWORD": "password",
    "PGSSLMODE": "sslmode",
}
"""libpq's variables and the Secret's keys. Everybody on the machine sees a command line, nobody an environment."""


def psql(
    name: TenantName,
    words: Annotated[list[str] | None, typer.Argument(metavar="[-- PSQL OPTIONS]", help="Handed to psql.")] = None,
    through: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Reach the server by this address, such as a port-forward's."),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Open psql as the Tenant's login, with the Secret's password in its environment alone.

    Ends as psql does; with 1 when there is no Tenant, no Secret or no psql.
    """
    with told():
        program = shutil.which("psql")
        if program is None:
            raise CommandFailed("there is no psql on PATH; it is in Debian's package postgresql-client")
        data = asyncio.run(_secret(ClusterPlace(kubeconfig, context, namespace), name))
        with tempfile.TemporaryDirectory(prefix="tenantry-") as folder:
            environment = psql_environment(os.environ, data, folder=Path(folder), through=through)
            code = run_psql([program, *(words or [])], environment)
    raise typer.Exit(code)


async def _secret(place: ClusterPlace, name: str) -> dict[str, str]:
    async with cluster(place) as kube:
        tenant = await get_tenant(kube, name)
        secret = await read_secret(kube, tenant)
    if secret is None:
        raise CommandFailed(f"Tenant {name} has no Secret yet; `tenantry tenant status {name}` says why")
    data = decode(secret)
    lacking = sorted(key for key in VARIABLES.values() if not data.get(key))
    if lacking:
        raise CommandFailed(f"the Secret of {name} lacks {', '.join(lacking)}")
    return data


def psql_environment(
    ours: Mapping[str, str], data: Mapping[str, str], *, folder: Path, through: str | None = None
) -> dict[str, str]:
    """Return psql's environment: ours without any PG variable, and what the Secret says.

    The certificate authority is written to a file in `folder`, for libpq takes it from a file only.
    """
    environment = {key: value for key, value in ours.items() if not key.startswith("PG")}
    environment |= {variable: data[key] for variable, key in VARIABLES.items()}
    environment["PGAPPNAME"] = "tenantry-psql"
    if "ca.crt" in data:
        authority = folder / "ca.crt"
        authority.write_text(data["ca.crt"])
        environment["PGSSLROOTCERT"] = str(authority)
    if through is not None:
        # The host stays as it is: the certificate is for it.
        _, host, port = parse_through(through)
        environment |= {"PGHOSTADDR": host, "PGPORT": str(port)}
    return environment


def run_psql(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run psql in the foreground; Ctrl-C is its own, as it cancels a query there."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with subprocess.Popen(
            command,
            env=dict(environment),
            preexec_fn=_default_interrupt,  # noqa: PLW1509
        ) as process:
            return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
