"""``tenantry migrate``."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from psycopg import sql

from tenantry_crds import MigrationPhase
from tenantry_crds import names as api
from tenantry_migrations import TENANT, MigrationError
from tenantry_operator.apply.migration import pool_statements, statements
from tenantry_operator.cli.cluster import ClusterPlace
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.migrate_shown import is_over, line, reason_and_message, sentence, table
from tenantry_operator.cli.options import Context, Kubeconfig
from tenantry_operator.clients.kube import (
    MIGRATIONRUNS,
    TENANTS,
    ApiError,
    ConfigurationError,
    Kube,
    RawObject,
    load_configuration,
)
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import TenantNames
from tenantry_operator.reconcile.migration_desired import plan_hash, tenant_line

app = typer.Typer(help="Move all tenants' schemas to another revision.", no_args_is_help=True)

POLL = 0.3
"""Seconds between two looks at a run."""
EXAMPLE = "example"
WAVE = re.compile(r"(?:(?P<percent>\d{1,3})%|(?P<rest>rest)|(?P<labels>[^:%]+=[^:%]*))(?::(?P<parallel>\d{1,3}))?")

To = Annotated[str, typer.Option(help="The revision of the tenant history.")]


@app.callback()
def group() -> None:
    """Move all tenants' schemas to another revision."""


@app.command(
    epilog="Examples: `tenantry migrate run --to <revision> --dry-run` · `tenantry migrate run --to <revision> "
    "--wave tier=canary --wave 10%:8 --wave rest`"
)
def run(
    to: To,
    phase: Annotated[MigrationPhase | None, typer.Option(help="Absent: what the revision declares.")] = None,
    wave: Annotated[
        list[str] | None,
        typer.Option(
            help="10%, or labels as in tier=canary, or rest; with a colon how many at once, as in 10%:8. May be "
            "repeated, in order. Absent: all in one wave."
        ),
    ] = None,
    failure_budget: Annotated[int, typer.Option(min=0, help="Tenants that may fail; one more stops the run.")] = 0,
    lock_timeout: Annotated[str | None, typer.Option(help="Such as 500ms. Absent: 3s.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL and count the tenants of each wave; change nothing.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the MigrationRun. Absent: a new one.")] = None,
    wait: Annotated[bool, typer.Option(help="Show the progress until the run is over.")] = True,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Make a MigrationRun and show its progress. Ends with 1 if it fails, or waits for somebody to act."""
    spec: dict[str, Any] = {"to": to, "phase": (phase or _phase_of(to)).value}
    spec |= {"waves": [_wave(text) for text in wave]} if wave else {}
    spec |= {"failureBudget": failure_budget} if failure_budget else {}
    spec |= {"lockTimeout": lock_timeout} if lock_timeout else {}
    spec |= {"dryRun": True} if dry_run else {}
    with told():
        asyncio.run(_run(spec, name, wait=wait, place=ClusterPlace(kubeconfig, context)))


@app.command(epilog="Examples: `tenantry migrate status` · `tenantry migrate status <run> -o json`")
def status(
    name: Annotated[str | None, typer.Argument(help="One MigrationRun. Absent: all.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="text or json.")] = "text",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show how far MigrationRuns are. Ends with 1 if the one that is named failed."""
    if output not in {"text", "json"}:
        raise typer.BadParameter("text or json", param_hint="--output")
    with told():
        found = asyncio.run(_found(name, ClusterPlace(kubeconfig, context)))
        if output == "json":
            print(json.dumps(found[0] if name else found, indent=2))
        else:
            print(table(found) if name is None else sentence(found[0]))
        if name is not None and _failed(found[0]):
            raise typer.Exit(1)


@app.command("sql", epilog="Example: `tenantry migrate sql --to <revision> --tenant acme`")
def sql_command(
    to: To,
    start: Annotated[
        str | None, typer.Option("--from", help="The revision that the schema has. Absent: the one before.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="The Tenant whose names stand in it.")] = EXAMPLE,
    pool: Annotated[
        bool, typer.Option("--pool", help="What moves the pooled Tenants of a server, all at once.")
    ] = False,
) -> None:
    """Print the SQL that moves one tenant. A dry run says by `planHash` whether the operator has the same one."""
    with told():
        print(_sql(start or _before(to), to, tenant=None if pool else tenant))


def _phase_of(to: str) -> MigrationPhase:
    declared = tenant_line().phases.get(to)
    if declared is None:
        raise typer.BadParameter(
            f"this command knows no revision {to}; its newest is {TENANT.head}. If the operator is newer, give --phase",
            param_hint="--to",
        )
    return MigrationPhase(declared)


def _wave(text: str) -> dict[str, Any]:
    match = WAVE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text}: 10%, tier=canary or rest, and then :8 if need be", param_hint="--wave")
    wave: dict[str, Any] = {"maxParallel": int(match["parallel"])} if match["parallel"] else {}
    if match["percent"]:
        return wave | {"percent": int(match["percent"])}
    if match["labels"]:
        pairs = (pair.partition("=") for pair in match["labels"].split(","))
        return wave | {"selector": {"matchLabels": {key: value for key, _, value in pairs}}}
    return wave


async def _run(spec: Mapping[str, Any], name: str | None, *, wait: bool, place: ClusterPlace) -> None:
    metadata = {"name": name} if name else {"generateName": f"to-{str(spec['to']).replace('_', '-')}-"}
    body = {"apiVersion": api.API_VERSION, "kind": MIGRATIONRUNS.kind, "metadata": metadata, "spec": dict(spec)}
    async with _cluster(place) as kube:
        if spec.get("dryRun"):
            _print_sql(str(spec["to"]), await kube.list(TENANTS))
        made = await kube.create(MIGRATIONRUNS, body)
        print(f"migrationrun.tenantry.dev/{made['metadata']['name']} created", file=sys.stderr)
        if not wait:
            return
        over = await _follow(kube, made["metadata"]["name"])
    _conclude(over, str(spec["to"]), dry=bool(spec.get("dryRun")))


async def _follow(kube: Kube, name: str) -> RawObject:
    """Print each change of the progress until the run is over, or waits for somebody to act."""
    shown = ""
    while True:
        found = await kube.get(MIGRATIONRUNS, name)
        if found is None:
            raise CommandFailed(f"MigrationRun {name} was deleted")
        if (now := line(found)) != shown:
            shown = now
            print(now, file=sys.stderr, flush=True)
        if is_over(found):
            return found
        await asyncio.sleep(POLL)


def _conclude(body: RawObject, to: str, *, dry: bool) -> None:
    reason, message = reason_and_message(body)
    if _failed(body) or not is_over(body, ended=True):
        raise CommandFailed(f"{reason}: {message}")
    theirs = (body.get("status") or {}).get("planHash")
    if dry and theirs != plan_hash(to):
        raise CommandFailed("the SQL above is not the operator's: this command is of another version than it is")
    print(message, file=sys.stderr)


def _failed(body: RawObject) -> bool:
    return (body.get("status") or {}).get("phase") == "Failed"


def _print_sql(to: str, tenants: Iterable[RawObject]) -> None:
    """Print what would run, once for each revision that a Tenant or a pool is at, with the names of one Tenant."""
    if to not in TENANT.revisions:
        return
    there = TENANT.revisions.index(to)
    starts: dict[tuple[str, bool], str] = {}
    for tenant in tenants:
        pooled = tenant["spec"].get("isolation") == Isolation.POOLED.value
        current = ((tenant.get("status") or {}).get("migration") or {}).get("current")
        if current in TENANT.revisions[:there]:
            starts.setdefault((current, pooled), tenant["metadata"]["name"])
    for (start, pooled), name in sorted(starts.items()):
        print(_sql(start, to, tenant=None if pooled else name))


def _before(to: str) -> str:
    if to not in TENANT.revisions:
        raise CommandFailed(f"this command knows no revision {to}; its newest is {TENANT.head}")
    position = TENANT.revisions.index(to)
    if position == 0:
        raise CommandFailed(f"{to} is the first revision: new tenants are made at it, and none is moved to it")
    return TENANT.revisions[position - 1]


def _sql(start: str, to: str, *, tenant: str | None) -> str:
    """Return the SQL for a tenant of this name, or, without one, for a pool."""
    try:
        made = statements(TenantNames(tenant), start, to) if tenant else pool_statements(start, to)
    except MigrationError as error:
        raise CommandFailed(str(error)) from error
    whom = f"tenant {tenant}" if tenant else "a server's pool"
    head = f"-- plan {plan_hash(to)}: {whom} from {start} to {to}, in one transaction"
    return "\n".join((head, *(f"{_text(one)};" for one in made)))


def _text(statement: sql.Composable) -> str:
    return statement.as_string(None)


async def _found(name: str | None, place: ClusterPlace) -> list[RawObject]:
    async with _cluster(place) as kube:
        if name is None:
            return sorted(await kube.list(MIGRATIONRUNS), key=lambda one: str(one["metadata"]["creationTimestamp"]))
        found = await kube.get(MIGRATIONRUNS, name)
    if found is None:
        raise CommandFailed(f"there is no MigrationRun {name}")
    return [found]


@asynccontextmanager
async def _cluster(place: ClusterPlace) -> AsyncIterator[Kube]:
    """Reach the API server. Raises CommandFailed with what it refuses."""
    try:
        async with Kube(await load_configuration(place.kubeconfig, place.context), instance="tenantry-cli") as kube:
            yield kube
    except (ApiError, ConfigurationError) as error:
        raise CommandFailed(str(error)) from error
