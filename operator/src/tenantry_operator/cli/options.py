"""The options that commands share, under the same names and with the same meaning everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from tenantry_operator.cli.output import Format

Kubeconfig = Annotated[
    Path | None, typer.Option("--kubeconfig", help="Absent: $KUBECONFIG or ~/.kube/config; in a pod its own account.")
]
Context = Annotated[str | None, typer.Option("--context", help="A context of the kubeconfig. Absent: its current one.")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="The operator's namespace.", envvar="TENANTRY_NAMESPACE")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="table for people, json and yaml for programs.")]
RegistryServer = Annotated[
    str | None,
    typer.Option(
        "--registry-server",
        help="The DatabaseServer with the registry. Absent: what the chart says, else the only one.",
        envvar="TENANTRY_REGISTRY_SERVER",
    ),
]
RegistryDatabase = Annotated[
    str | None,
    typer.Option(
        "--registry-database",
        help="The registry's database. Absent: what the chart says, else tenantry.",
        envvar="TENANTRY_REGISTRY_DATABASE",
    ),
]
Through = Annotated[
    list[str] | None,
    typer.Option(
        "--through",
        metavar="[SERVER=]HOST:PORT",
        help="Reach a DatabaseServer by another address, such as a port-forward's; may be repeated. Certificates are "
        "still checked for the server's own name.",
        envvar="TENANTRY_THROUGH",
    ),
]
Seconds = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.", min=0.0)]
