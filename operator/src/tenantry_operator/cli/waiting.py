"""Waiting for what a command asked the operator to do to a Tenant."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Never, TypeVar

import typer

from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.cli.output import condition, console
from tenantry_operator.clients.kube import TENANTS, Kube, RawObject

LATE: Final = 3
"""The exit code of a command that asked for something which was not so in time."""
POLL: Final = 0.3
"""Seconds between two looks at what is waited for."""
TIMEOUT: Final = 60.0

TenantName = Annotated[str, typer.Argument(help="The Tenant's name.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is so, and show how it gets there.")]

T = TypeVar("T")


async def follow(
    found: T,
    look: Callable[[], Awaitable[T]],
    *,
    is_reached: Callable[[T], bool],
    said: Callable[[T], str],
    check: Callable[[T], None],
    timeout: float,
) -> T:
    """Print each change until it is so or the time is over. `check` raises CommandFailed when it cannot become so."""
    clock = asyncio.get_running_loop().time
    ends, shown = clock() + timeout, ""
    while not is_reached(found):
        if (now := said(found)) != shown:
            shown = now
            console(stderr=True).print(now)
        check(found)
        if clock() >= ends:
            break
        await asyncio.sleep(POLL)
        found = await look()
    return found


async def same(kube: Kube, asked: RawObject) -> RawObject:
    """Return the Tenant as it is now. Raises CommandFailed when it is gone, also if another has its name."""
    name = asked["metadata"]["name"]
    found = await kube.get(TENANTS, name)
    if found is None or found["metadata"]["uid"] != asked["metadata"]["uid"]:
        raise CommandFailed(f"Tenant {name} was deleted meanwhile")
    return found


def check_stays(tenant: RawObject) -> None:
    """Raise CommandFailed for a Tenant that is being deleted."""
    if tenant["metadata"].get("deletionTimestamp"):
        name = tenant["metadata"]["name"]
        raise CommandFailed(f"Tenant {name} is being deleted, nothing else is done with it any more")


def stuck(tenant: RawObject) -> CommandFailed:
    """Return what to raise for a Tenant that no retry gets further."""
    ready = condition(tenant, "Ready")
    reason, message = ready.get("reason", ""), ready.get("message", "")
    name = tenant["metadata"]["name"]
    return CommandFailed(f"{name}: {reason}: {message}\n`tenantry explain {reason}` says what to do")


def end_late(timeout: float) -> Never:
    """End the command: it was asked for, and is not so yet."""
    console(stderr=True).print(f"tenantry: not so after {timeout:g} s; the operator goes on with it")
    raise typer.Exit(LATE)
