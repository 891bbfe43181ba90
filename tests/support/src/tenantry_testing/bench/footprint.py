"""What an operator takes that has many Tenants and nothing to do: beside a bare kopf operator that keeps nothing."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tenantry_testing.bench.api import Api, ReadyWatch, create_all
from tenantry_testing.bench.budget import operator_writes
from tenantry_testing.bench.process import cpu, mebibytes, memory
from tenantry_testing.bench.samples import spread, write_samples
from tenantry_testing.bench.scale import Scale, names
from tenantry_testing.bench.world import SWEEP_SECONDS, BenchWorld
from tenantry_testing.operator_process import OperatorProcess

TENANTS: Final = 10_000
PAIRS: Final = 5
BASELINE: Final = Path("tests/load/baseline/kopf_events.py")
BATCH: Final = 200
"""So many are asked for at once, for nobody asks for all of them at once."""
PATIENCE: Final = 1800.0
SETTLE_SWEEPS: Final = 3
IDLE_SWEEPS: Final = 3
MEMORY_LIMIT: Final = 1.2
IDLE_LIMIT: Final = 0.02
LEVEL_LIMIT: Final = 10.0
KOPF_SETTLES: Final = 10.0
"""Seconds; kopf ends the worker of an object that has been quiet for five."""


async def measure_footprint(world: BenchWorld, scale: Scale) -> str:
    """The lines that are printed; samples go to `footprint.json`. Bytes, seconds, and seconds of CPU in a second."""
    fleet, pairs = names("bench-foot", scale.size(TENANTS)), scale.repeat(PAIRS)
    provisioned = await _provision(world, fleet)
    samples = []
    for number in range(pairs):
        pair: dict[str, float] = {}
        for arm in (_ours, _bare) if number % 2 == 0 else (_bare, _ours):
            pair |= await arm(world, len(fleet))
        samples.append(pair)
    return _told(world, samples, tenants=len(fleet), provisioned=provisioned)


def _told(world: BenchWorld, samples: Sequence[dict[str, float]], *, tenants: int, provisioned: float) -> str:
    def all_of(key: str) -> list[float]:
        return [sample[key] for sample in samples]

    ratios = [sample["ours"] / sample["bare"] for sample in samples]
    limits = {"memory": MEMORY_LIMIT, "idle": IDLE_LIMIT, "level": LEVEL_LIMIT}
    about = {"tenants": tenants, "provisioned_seconds": provisioned, "limits": limits, "ratios": ratios}
    write_samples(world.layout, "footprint", {**about, "pairs": list(samples)})
    ours, bare = ([mebibytes(size) for size in all_of(key)] for key in ("ours", "bare"))
    return "\n".join(
        [
            f"{tenants} Tenants, {len(samples)} pairs: memory ratio {spread(ratios, digits=2)}, limit {MEMORY_LIMIT}; "
            f"ours {spread(ours, digits=0)} MiB, a bare kopf operator {spread(bare, digits=0)} MiB",
            f"idle with a sweep every {SWEEP_SECONDS:.0f} s: {spread([100 * one for one in all_of('idle')], digits=1)} "
            f"% of a core, limit {100 * IDLE_LIMIT:.0f} %",
            f"from the start of the process to level: {spread(all_of('level'), digits=1)} s, limit {LEVEL_LIMIT:.0f} "
            f"s; writes: {max(all_of('writes')):.0f}",
        ]
    )


async def _provision(world: BenchWorld, fleet: Sequence[str]) -> float:
    """Make the Tenants, in batches; return the seconds it took."""
    with world.operator():
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            started = time.monotonic()
            for start in range(0, len(fleet), BATCH):
                batch = fleet[start : start + BATCH]
                await create_all(api, batch)
                await watch.all_ready(batch, seconds=PATIENCE)
            took = time.monotonic() - started
            # What is counted in the status of the DatabaseServer is written by a sweep.
            await asyncio.sleep(2 * SWEEP_SECONDS)
            return took


async def _ours(world: BenchWorld, tenants: int) -> dict[str, float]:
    since = len(world.plane.audited())
    started = time.monotonic()
    with world.operator() as operator:
        level = await until_level(operator, since=started)
        await asyncio.sleep(SETTLE_SWEEPS * SWEEP_SECONDS)
        before, began = cpu(operator.pid), time.monotonic()
        await asyncio.sleep(IDLE_SWEEPS * SWEEP_SECONDS)
        idle = (cpu(operator.pid) - before) / (time.monotonic() - began)
        held = memory(operator.pid)
    writes = operator_writes(world.plane, since)
    if writes:
        print(f"written after a restart: {', '.join(writes[:5])}")
    return {"level": level, "idle": idle, "ours": held, "writes": len(writes)}


async def until_level(operator: OperatorProcess, *, since: float) -> float:
    """Return the seconds until nothing waits to be looked at. All Tenants wait when the operator says that it works."""
    while operator.metric("tenantry_queue_depth"):
        if time.monotonic() - since > PATIENCE:
            raise TimeoutError(f"not level after {PATIENCE:.0f} s")
        # To answer, the operator counts all its objects.
        await asyncio.sleep(0.5)
    return time.monotonic() - since


async def _bare(world: BenchWorld, tenants: int) -> dict[str, float]:
    async with _bare_operator(world, tenants) as pid:
        await asyncio.sleep(KOPF_SETTLES)
        return {"bare": memory(pid)}


@asynccontextmanager
async def _bare_operator(world: BenchWorld, tenants: int) -> AsyncIterator[int]:
    """Start it, and wait until it has seen all Tenants."""
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(world.plane.kubeconfig), "EXPECTED": str(tenants)}
    script = str(world.layout.root / BASELINE)
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            if not (await process.stdout.readline()).strip():
                raise RuntimeError(f"the bare operator ended with {await process.wait()}")
        yield process.pid
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
