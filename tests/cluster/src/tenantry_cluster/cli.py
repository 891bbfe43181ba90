"""`python -m tenantry_cluster`: the cluster for the demo and the tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from tenantry_cluster import doctor as examination
from tenantry_cluster.binaries import EVERYTHING, ensure_binaries
from tenantry_cluster.cluster import ensure_cluster, take_down
from tenantry_cluster.errors import ClusterError
from tenantry_cluster.layout import Layout
from tenantry_cluster.lock import alone
from tenantry_cluster.steps import Steps

app = typer.Typer(
    help="The cluster for the demo and the tests: one that TENANTRY_KUBECONFIG names, else kind, else a local node.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def up() -> None:
    """Bring the cluster up, or heal it; prints how to reach it."""
    layout = Layout.of_checkout()
    with _told():
        cluster = ensure_cluster(Steps(), layout)
        typer.echo(f"\nThe cluster is up ({cluster.kind}). Reach it with:\n  export KUBECONFIG={cluster.kubeconfig}")


@app.command()
def down() -> None:
    """Take down what `up` brought up, also after a crash."""
    with _told():
        take_down(Steps(), Layout.of_checkout())


@app.command()
def doctor() -> None:
    """Say what this machine has, lacks, and how to cure it. Exit code 1 when no cluster can come up."""
    findings = examination.examine(Layout.of_checkout())
    for finding in findings:
        typer.echo(f"  {'OK  ' if finding.good else 'FAIL' if finding.fatal else 'LACK'}  {finding.text}")
        if not finding.good and finding.cure:
            typer.echo(f"        cure: {finding.cure}")
    raise typer.Exit(code=int(any(finding.fatal and not finding.good for finding in findings)))


@app.command()
def binaries(
    programs: Annotated[list[str] | None, typer.Argument(help="Only these; absent: all.", show_default=False)] = None,
) -> None:
    """Build the programs: controlplane, coredns, kubectl, helm, and bucket for the tests."""
    layout, steps = Layout.of_checkout(), Steps()
    with _told(), alone(steps, layout):
        ensure_binaries(steps, layout, programs=programs or tuple(EVERYTHING))
        typer.echo(f"The programs are in {layout.bin}")


@contextmanager
def _told() -> Iterator[None]:
    """An expected failure is told in words, with its cure, and not as a stack of calls."""
    try:
        yield
    except ClusterError as error:
        typer.echo(f"\n{error}", err=True)
        if error.cure:
            typer.echo(f"cure: {error.cure}", err=True)
        sys.exit(1)
