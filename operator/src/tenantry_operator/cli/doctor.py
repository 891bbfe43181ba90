"""``tenantry doctor``."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import typer
from rich.console import Group
from rich.text import Text

from tenantry_crds import names
from tenantry_operator.cli.cluster import CLIENT, CallersKube, ClusterPlace, cluster
from tenantry_operator.cli.detour import Detours
from tenantry_operator.cli.doctor_backups import check_backups
from tenantry_operator.cli.doctor_checks import (
    Level,
    Line,
    check_definitions,
    check_lease,
    check_operator,
    check_registry,
    check_rights,
    check_server_version,
    check_servers,
    check_tenants,
)
from tenantry_operator.cli.failure import FAILED, CommandFailed, told
from tenantry_operator.cli.operator_view import RegistryChoice
from tenantry_operator.cli.options import (
    Context,
    Kubeconfig,
    Namespace,
    Output,
    RegistryDatabase,
    RegistryServer,
    Through,
)
from tenantry_operator.cli.output import STYLES, Format, console, show
from tenantry_operator.clients.kube import ApiError, Forbidden

EPILOG = "Examples: `tenantry doctor` · `tenantry doctor --context staging -o json` · `kubectl tenantry doctor`"

Check = tuple[str, Callable[[CallersKube], Awaitable[Sequence[Line]]]]


def doctor(
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
    registry_server: RegistryServer = None,
    registry_database: RegistryDatabase = None,
    through: Through = None,
) -> None:
    """Look at an installation from here, with your rights, and say what to do about what is not well.

    Asks for the API server, the CRDs and their version, the operator and its Lease, the DatabaseServers, the registry,
    your rights, the Tenants and the volumes of their backups. One check that fails hides no other.

    Ends with 0 when nothing FAILs, 1 otherwise. WARN is for what works now, or cannot be seen from here.
    """
    place = ClusterPlace(kubeconfig, context, namespace)
    choice = RegistryChoice(registry_server, registry_database)
    with told():
        lines = asyncio.run(examine(place, choice, tuple(through or ())))
    show([line.as_value() for line in lines], output, lambda: text_of(lines))
    if any(line.level is Level.FAIL for line in lines):
        raise typer.Exit(FAILED)


async def examine(place: ClusterPlace, choice: RegistryChoice, through: Sequence[str]) -> list[Line]:
    """Run every check; without an API server there is but one line."""
    servers = Detours(CLIENT, through)
    try:
        async with cluster(place) as kube:
            first = await check_server_version(kube)
            if first.level is Level.FAIL:
                return [first]
            checks: tuple[Check, ...] = (
                ("CRDs", check_definitions),
                ("operator", lambda kube: check_operator(kube, place.namespace)),
                ("lease", lambda kube: check_lease(kube, place.namespace)),
                ("servers", check_servers),
                ("registry", lambda kube: check_registry(kube, servers, place.namespace, choice)),
                ("tenants", check_tenants),
                ("backups", lambda kube: check_backups(kube, place.namespace)),
                ("rights", lambda kube: check_rights(kube, place.namespace)),
            )
            return [first, *[line for check in checks for line in await _checked(check, kube)]]
    except CommandFailed as failure:
        todo = "name a kubeconfig by --kubeconfig or $KUBECONFIG, and a context by --context"
        return [Line(Level.FAIL, "cluster", str(failure), todo)]
    finally:
        await servers.close()


async def _checked(check: Check, kube: CallersKube) -> Sequence[Line]:
    what, run = check
    try:
        with console(stderr=True).status(f"looking at {what}"):
            return await run(kube)
    except Forbidden as error:
        return [Line(Level.WARN, what, f"you may not see this: {error.message}", "ask for the right, or who has it")]
    except (ApiError, CommandFailed) as error:
        return [Line(Level.FAIL, what, str(error), "try again; `kubectl get --raw /readyz?verbose` asks the server")]


def text_of(lines: Sequence[Line]) -> Group:
    parts = []
    for line in lines:
        level = Text(f"{line.level.value:<4}", style=STYLES[line.level.value])
        parts.append(Text.assemble(level, f"  {line.what}: {line.said}"))
        if line.todo and line.level is not Level.OK:
            parts.append(Text(f"      {line.todo}"))
    return Group(*parts)
