"""``tenantry breaker``."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tenantry_crds import ConditionType, names
from tenantry_crds.reasons import Reason
from tenantry_operator.cli.cluster import ClusterPlace, cluster
from tenantry_operator.cli.failure import CommandFailed, told
from tenantry_operator.cli.options import Context, Kubeconfig, Namespace
from tenantry_operator.clients.kube import TENANTS, Kube, RawObject
from tenantry_operator.engine.breaker import BreakerStore
from tenantry_operator.model.breaker import BreakerState
from tenantry_operator.plan.breaker import reset
from tenantry_operator.plan.status import reason_shown

app = typer.Typer(
    help="The breaker that stops the dropping of data when too many Tenants are deleted at once.", no_args_is_help=True
)

SHOWN = 20


@app.command("status", epilog="Example: `tenantry breaker status`")
def status_command(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Say whether the breaker is open, why, and which Tenants it holds."""
    place = ClusterPlace(kubeconfig, context, namespace)
    with told():
        state, held = asyncio.run(_look(place))
    if state.latch is None:
        print("The breaker is closed: Tenants that are deleted with deletionPolicy Delete are dropped.")
    else:
        print(f"The breaker is OPEN since {state.latch.since:%Y-%m-%dT%H:%M:%SZ}: {state.latch.message}.")
        print("No data is dropped. If it is meant: tenantry breaker reset, with --approve for those that wait.")
    if held:
        print(f"It holds {len(held)}: {_named(held)}")


@app.command("reset", epilog="Examples: `tenantry breaker reset` · `tenantry breaker reset --approve`")
def reset_command(
    approve: Annotated[bool, typer.Option("--approve", help="Let all go that wait now.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = names.SYSTEM_NAMESPACE,
) -> None:
    """Close the breaker, so that deletions go on. Without --approve it opens again when too many still wait."""
    place = ClusterPlace(kubeconfig, context, namespace)
    with told():
        state, held = asyncio.run(_look(place))
        if state.latch is None:
            print("The breaker is closed already.")
            return
        if approve and held:
            print(f"The data of {len(held)} Tenants will be dropped: {_named(held)}", file=sys.stderr)
            _confirm(len(held), yes=yes)
        approved = [body["metadata"]["uid"] for body in held] if approve else []
        asyncio.run(_reset(place, approved))
    print("The breaker is closed; the operator goes on within its next sweep.")


def _confirm(count: int, *, yes: bool) -> None:
    if yes:
        return
    if input(f"Type {count} to go on: ").strip() != str(count):
        raise CommandFailed("nothing was changed")


async def _look(place: ClusterPlace) -> tuple[BreakerState, Sequence[RawObject]]:
    async with cluster(place) as kube:
        return await BreakerStore(kube, place.namespace).read(), await _held(kube)


async def _reset(place: ClusterPlace, approved: Sequence[str]) -> None:
    async with cluster(place) as kube:
        await BreakerStore(kube, place.namespace).change(lambda state: reset(state, approved=approved))


async def _held(kube: Kube) -> Sequence[RawObject]:
    """Return those that say of themselves that the breaker holds them."""
    return [
        body
        for body in await kube.list(TENANTS)
        if body["metadata"].get("deletionTimestamp")
        and reason_shown(body.get("status") or {}, ConditionType.DELETING) == Reason.BREAKER_OPEN
    ]


def _named(held: Sequence[RawObject]) -> str:
    names = sorted(body["metadata"]["name"] for body in held)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
