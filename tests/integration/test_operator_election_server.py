"""The election on a real API server, with a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.clients.kube import LEASES, NAMESPACES, Conflict, Kube, load_configuration
from tenantry_operator.engine.election import LEASE_NAME, Election, ElectionTimes, NotLeading
from tenantry_testing.fake_clock import FakeClock

TIMES = ElectionTimes(lease_duration=15, renew_deadline=10, renew_interval=0.01)


class Ring:
    """One namespace with its Lease, and candidates for it."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        self.clock = FakeClock()

    def candidate(self, identity: str) -> Election:
        return Election(self.kube, namespace=self.namespace, identity=identity, clock=self.clock, times=TIMES)

    async def spec(self) -> dict[str, Any]:
        lease = await self.kube.get(LEASES, LEASE_NAME, namespace=self.namespace)
        assert lease is not None
        spec: dict[str, Any] = lease["spec"]
        return spec


@pytest.fixture
async def ring(control_plane: ControlPlane) -> AsyncIterator[Ring]:
    async with Kube(await load_configuration(control_plane.kubeconfig)) as kube:
        namespace = f"ring-{uuid4().hex[:8]}"
        await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        yield Ring(kube, namespace)


async def gives_up(waiting: asyncio.Task[None]) -> bool:
    """Whether a candidate is still waiting after a few looks at the Lease."""
    await asyncio.sleep(0.3)
    return not waiting.done()


async def test_the_first_candidate_leads(ring: Ring) -> None:
    first = ring.candidate("a")
    assert not first.leading()
    assert first.transitions == 0
    await first.acquire()
    assert first.leading()
    first.check()
    assert (await ring.spec())["holderIdentity"] == "a"
    assert first.transitions == 1


async def test_another_waits_until_the_lease_did_not_change_for_its_duration(ring: Ring) -> None:
    await ring.candidate("a").acquire()
    other = ring.candidate("b")
    waiting = asyncio.create_task(other.acquire())
    assert await gives_up(waiting)
    ring.clock.advance(14)
    assert await gives_up(waiting)
    ring.clock.advance(1.1)
    async with asyncio.timeout(5):
        await waiting
    assert other.transitions == 2
    assert (await ring.spec())["holderIdentity"] == "b"


async def test_a_renewed_lease_is_not_taken(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(ring.candidate("b").acquire())
    for _ in range(4):
        await asyncio.sleep(0.2)
        ring.clock.advance(5)
    assert await gives_up(waiting)
    assert first.leading()
    for task in (holding, waiting):
        task.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)


async def test_a_restarted_pod_leads_at_once_under_a_new_number(ring: Ring) -> None:
    await ring.candidate("a").acquire()
    again = ring.candidate("a")
    async with asyncio.timeout(5):
        await again.acquire()
    assert again.transitions == 2


async def test_a_leader_that_slept_may_not_write_though_nobody_told_it(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    ring.clock.advance(10.1)
    assert not first.leading()
    with pytest.raises(NotLeading):
        first.check()


async def test_holding_ends_when_another_took_the_lease(ring: Ring) -> None:
    first, other = ring.candidate("a"), ring.candidate("a")
    await first.acquire()
    await other.acquire()
    async with asyncio.timeout(5):
        await first.hold()
    assert not first.leading()
    assert other.leading()


async def test_holding_goes_on_when_only_the_lease_was_touched(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    await ring.kube.merge_patch(LEASES, LEASE_NAME, {"metadata": {"labels": {"x": "y"}}}, namespace=ring.namespace)
    holding = asyncio.create_task(first.hold())
    assert await gives_up(holding)
    ring.clock.advance(9)
    assert await gives_up(holding)
    ring.clock.advance(9)
    assert first.leading(), "renewed since"
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_holding_ends_when_the_lease_is_deleted(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    await ring.kube.delete(LEASES, LEASE_NAME, namespace=ring.namespace)
    # A deleted Lease answers the renewal with NotFound: another candidate may be making it anew right now.
    holding = asyncio.create_task(first.hold())
    await asyncio.sleep(0.1)
    ring.clock.advance(10.1)
    async with asyncio.timeout(5):
        await holding
    assert not first.leading()


async def test_a_released_lease_is_taken_at_once(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    await first.release()
    assert not first.leading()
    other = ring.candidate("b")
    async with asyncio.timeout(5):
        await other.acquire()
    assert other.transitions == 2


async def test_who_does_not_lead_releases_nothing(ring: Ring) -> None:
    first, other = ring.candidate("a"), ring.candidate("b")
    await first.acquire()
    ring.clock.advance(10.1)
    await first.release()
    assert (await ring.spec())["holderIdentity"] == "a", "it could be another's by now"
    del other


async def test_of_many_candidates_one_leads(ring: Ring) -> None:
    candidates = [ring.candidate(f"pod-{number}") for number in range(6)]
    tasks = [asyncio.create_task(candidate.acquire()) for candidate in candidates]
    await asyncio.sleep(1)
    assert sum(candidate.leading() for candidate in candidates) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_stale_write_is_refused(ring: Ring) -> None:
    """What the election stands on: the API server takes a Lease only at its current resourceVersion."""
    await ring.candidate("a").acquire()
    lease = await ring.kube.get(LEASES, LEASE_NAME, namespace=ring.namespace)
    assert lease is not None
    await ring.kube.replace(LEASES, lease)
    await ring.kube.merge_patch(LEASES, LEASE_NAME, {"spec": {"leaseTransitions": 9}}, namespace=ring.namespace)
    with pytest.raises(Conflict):
        await ring.kube.replace(LEASES, lease)
