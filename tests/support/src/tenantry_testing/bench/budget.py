"""What the operator writes at the API server for a Tenant: to make it, to change it, and to leave it alone."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tenantry_cluster import ControlPlane
from tenantry_testing.bench.api import TENANTS, Api, ReadyWatch, tenant_body
from tenantry_testing.bench.samples import write_samples
from tenantry_testing.bench.scale import Scale
from tenantry_testing.bench.world import SWEEP_SECONDS, BenchWorld

NAME = "bench-budget"
WRITES = frozenset({"create", "update", "patch", "delete"})
BUDGET = {"create": 3, "update": 1, "steady": 0}
# Counted apart, as in the design: they are bounded by time or by outcome, not by pass.
APART = frozenset({"events", "leases"})
SWEEPS = 3


async def measure_budget(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; what was written goes to `budget.json`."""
    found: dict[str, list[str]] = {}
    with world.operator():
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            counter = WriteCounter(world.plane)
            await api.create(TENANTS, tenant_body(NAME))
            await watch.all_ready([NAME])
            found["create"] = await counter.settled()
            await api.patch(f"{TENANTS}/{NAME}", {"spec": {"database": {"connectionLimit": 7}}})
            await _effective(api, 7)
            found["update"] = await counter.settled()
            await asyncio.sleep(SWEEPS * SWEEP_SECONDS)
            found["steady"] = await counter.settled()
            apart = {"events": counter.events(), "to_other_objects": counter.elsewhere()}
    counts = {phase: len(writes) for phase, writes in found.items()}
    write_samples(world.layout, "budget", {"budget": BUDGET, "counted": counts, "writes": found, **apart})
    verdict = "holds" if counts == BUDGET else f"is exceeded: {found}"
    said = ", ".join(f"{phase} {counts[phase]} of {BUDGET[phase]}" for phase in BUDGET)
    return f"Writes of the operator for one Tenant, from the audit log: {said}; the budget {verdict}"


async def _effective(api: Api, limit: int) -> None:
    """Wait until status tells the new limit."""
    async with asyncio.timeout(30):
        while True:
            status = (await api.get(f"{TENANTS}/{NAME}")).get("status", {})
            if status.get("effective", {}).get("connectionLimit") == limit:
                return
            await asyncio.sleep(0.05)


class WriteCounter:
    """Counts the operator's writes for one Tenant and its Secret since the last look."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._seen = len(plane.audited())

    async def settled(self) -> list[str]:
        """The writes since the last call, after a second without another one."""
        length = -1
        while length != len(self._plane.audited()):
            length = len(self._plane.audited())
            await asyncio.sleep(1.0)
        fresh = self._plane.audited()[self._seen :]
        self._seen += len(fresh)
        return [_told(event) for event in fresh if _is_ours(event) and _is_of_tenant(event)]

    def elsewhere(self) -> list[str]:
        """The writes to other objects, such as the number of Tenants in the status of a DatabaseServer."""
        ours = [event for event in self._plane.audited() if _is_ours(event) and _resource(event) not in APART]
        return [_told(event) for event in ours if not _is_of_tenant(event)]

    def events(self) -> int:
        """How many Events the operator wrote in all."""
        return sum(_is_ours(event) and _resource(event) == "events" for event in self._plane.audited())


def requests_by_verb(plane: ControlPlane, since: int) -> Counter[str]:
    """The requests of the audit log from entry `since` on, of whoever made them."""
    return Counter(f"{event['verb']} {_resource(event)}" for event in plane.audited()[since:])


def operator_writes(plane: ControlPlane, since: int) -> list[str]:
    """The operator's writes of the audit log from entry `since` on; Events and the Lease count apart."""
    return [_told(event) for event in plane.audited()[since:] if _is_ours(event) and _resource(event) not in APART]


def _is_ours(event: Mapping[str, Any]) -> bool:
    """Whether the operator wrote; this program and kubectl tell other user agents."""
    agent = str(event.get("userAgent", ""))
    ours = not agent.startswith(("Python/", "kubectl"))
    return ours and event["verb"] in WRITES and event.get("responseStatus", {}).get("code", 500) < 400


def _resource(event: Mapping[str, Any]) -> str:
    reference: Mapping[str, str] = event.get("objectRef", {})
    return reference.get("resource", "")


def _is_of_tenant(event: Mapping[str, Any]) -> bool:
    """Whether the write was to the Tenant or to its Secret."""
    name: str = event.get("objectRef", {}).get("name", "")
    return _resource(event) not in APART and name.startswith(NAME)


def _told(event: Mapping[str, Any]) -> str:
    reference = event["objectRef"]
    parts = [reference.get("resource", ""), reference.get("name", ""), reference.get("subresource", "")]
    return f"{event['verb']} {'/'.join(part for part in parts if part)}"
