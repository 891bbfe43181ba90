"""The election on a real API server, with a clock that the test moves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.clients.kube import LEASES, NAMESPACES, Conflict, Kube, load_configuration
from tenantry_operator.engine.election import LEASE_NAME, Election, ElectionTimes, NotLeading
from tenantry_testing.fake_clock import FakeClock

TIMES = ElectionTimes(lease_duration=15, renew_deadline=10, renew_interval=0.01)
SECONDS = 30.0
"""More than anything takes here: the election's own time is the test's."""


class Ring:
    """One namespace with its Lease, and candidates for it."""

    def __init__(self, kube: Kube, namespace: str, answered: Counter[str]) -> None:
        self.kube = kube
        self.namespace = namespace
        self._answered = answered
        self.clock = FakeClock()

    def candidate(self, identity: str) -> Election:
        return Election(self.kube, namespace=self.namespace, identity=identity, clock=self.clock, times=TIMES)

    async def spec(self) -> dict[str, Any]:
        lease = await self.kube.get(LEASES, LEASE_NAME, namespace=self.namespace)
        assert lease is not None
        spec: dict[str, Any] = lease["spec"]
        return spec

    async def goes_on(self, task: asyncio.Task[None], method: str) -> bool:
        """Whether a candidate's task has not ended after a few more of its requests.

        Candidates look by GET and renew by PUT. Of three, the second was both begun and taken in since the call.
        """
        enough = self._answered[method] + 3
        async with asyncio.timeout(SECONDS):
            while self._answered[method] < enough and not task.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return not task.done()


@pytest.fixture
async def ring(control_plane: ControlPlane) -> AsyncIterator[Ring]:
    answered: Counter[str] = Counter()
    configuration = await load_configuration(control_plane.kubeconfig)
    async with Kube(configuration, answered=lambda method, _: answered.update([method])) as kube:
        namespace = f"ring-{uuid4().hex[:8]}"
        await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        yield Ring(kube, namespace, answered)


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
    assert await ring.goes_on(waiting, "GET")
    ring.clock.advance(14)
    assert await ring.goes_on(waiting, "GET")
    ring.clock.advance(1.1)
    async with asyncio.timeout(SECONDS):
        await waiting
    assert other.transitions == 2
    assert (await ring.spec())["holderIdentity"] == "b"


async def test_a_renewed_lease_is_not_taken(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(ring.candidate("b").acquire())
    for _ in range(4):
        assert await ring.goes_on(holding, "PUT")
        assert await ring.goes_on(waiting, "GET")
        ring.clock.advance(5)
    assert await ring.goes_on(waiting, "GET")
    assert first.leading()
    for task in (holding, waiting):
        task.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)


async def test_a_restarted_pod_leads_at_once_under_a_new_number(ring: Ring) -> None:
    await ring.candidate("a").acquire()
    again = ring.candidate("a")
    async with asyncio.timeout(SECONDS):
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
    async with asyncio.timeout(SECONDS):
        await first.hold()
    assert not first.leading()
    assert other.leading()


async def test_holding_goes_on_when_only_the_lease_was_touched(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    await ring.kube.merge_patch(LEASES, LEASE_NAME, {"metadata": {"labels": {"x": "y"}}}, namespace=ring.namespace)
    holding = asyncio.create_task(first.hold())
    assert await ring.goes_on(holding, "PUT")
    ring.clock.advance(9)
    assert await ring.goes_on(holding, "PUT")
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
    async with asyncio.timeout(SECONDS):
        await holding
    assert not first.leading()


async def test_a_released_lease_is_taken_at_once(ring: Ring) -> None:
    first = ring.candidate("a")
    await first.acquire()
    await first.release()
    assert not first.leading()
    other = ring.candidate("b")
    async with asyncio.timeout(SECONDS):
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
    await asyncio.wait(tasks, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for _ in candidates:
        assert all([await ring.goes_on(task, "GET") for task in tasks if not task.done()])
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
