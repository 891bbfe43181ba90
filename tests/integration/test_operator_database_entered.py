"""What keeps the operator out of a tenant's database, and what it makes of that.

A DROP DATABASE that was cut short leaves one that nobody gets into and that can only be dropped again; our own
connections that are all at work say nothing about a database.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import pytest
from psycopg import errors

from tenantry_operator.clients import postgres
from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.tenant_world import SERVER, TenantWorld

APART: Final = {"isolation": "Database"}
CHECKPOINTER: Final = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
WAITS: Final = """
SELECT pid FROM pg_stat_activity WHERE query ~ '^DROP DATABASE' AND wait_event IN ('CheckpointStart', 'CheckpointDone')
"""
STEPS: Final = 600
"""Of a twentieth of a second."""


@contextmanager
def drops_are_held(world: TenantWorld) -> Iterator[None]:
    """Hold each DROP DATABASE where it has passed the point from which it cannot be taken back."""
    checkpointer = int(world.fetch(CHECKPOINTER)[0][0])
    os.kill(checkpointer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(checkpointer, signal.SIGCONT)


async def end_what_drops(world: TenantWorld) -> None:
    """End the session that drops a database, once it is held."""
    with world.administrator() as connection:
        for _ in range(STEPS):
            held = connection.execute(WAITS).fetchall()
            if held:
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", held[0])
                return
            await asyncio.sleep(0.05)
    raise AssertionError("nothing drops a database")


def drop_by_hand(world: TenantWorld, database: str) -> None:
    with pytest.raises(errors.AdminShutdown):
        world.execute(f"DROP DATABASE {database} WITH (FORCE)")


def is_lost(world: TenantWorld, database: str) -> bool:
    return world.fetch("SELECT datconnlimit FROM pg_database WHERE datname = %s", database) == [(-2,)]


async def test_a_drop_that_was_cut_short_is_done_again(world: TenantWorld) -> None:
    await world.provision("acme", **APART)
    await world.provision("beta", **APART)
    await world.settle()
    with drops_are_held(world):
        ending = asyncio.create_task(end_what_drops(world))
        await world.leave("acme", "Delete", passes=1)
        await ending
        by_hand = asyncio.create_task(asyncio.to_thread(drop_by_hand, world, "t_beta"))
        await end_what_drops(world)
        await by_hand
    assert is_lost(world, "t_acme")
    assert is_lost(world, "t_beta")
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()

    # One that lives has lost its data; that is said, and nothing is made in its place.
    assert await world.sweep() == {"beta"}
    beta = await world.tenant("beta")
    assert world.condition(beta, "Stalled") == ("True", "DataMissing")
    assert "a DROP was cut short" in world.message(beta)
    assert is_lost(world, "t_beta")
    # There is nothing to keep.
    await world.leave("beta", "Retain")
    assert world.condition(await world.tenant("beta"), "Deleting") == ("True", "DataMissing")
    await world.leave("beta", "Delete")
    assert await world.kube.get(TENANTS, "beta") is None
    assert world.names_on_server("beta") == set()


async def test_a_database_is_not_taken_for_shut_while_our_own_connections_are_at_work(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.provision("acme", **APART)
    await world.settle()
    monkeypatch.setattr(postgres, "WAIT_LIMIT", 0.1)
    address = await world.addresses.address(SERVER)
    before = world.fetch("SELECT datallowconn, datacl, datconnlimit FROM pg_database WHERE datname = 't_acme'")
    async with AsyncExitStack() as busy:
        for _ in range(address.max_connections // 2):
            await busy.enter_async_context(world.servers.connection(address, database="postgres"))
        world.execute("ALTER ROLE t_acme_login_a CONNECTION LIMIT 3")
        assert await world.sweep() == {"acme"}
        tenant = await world.tenant("acme")
        assert world.condition(tenant, "Ready") == ("False", "ConnectionsInUse")
        assert world.condition(tenant, "Stalled") == ("False", "Reconciled")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    after = world.fetch("SELECT datallowconn, datacl, datconnlimit FROM pg_database WHERE datname = 't_acme'")
    assert after == before
