"""From `kubectl apply` of a Tenant to Ready=True, one at a time on an idle operator."""

import asyncio
import time
from pathlib import Path

import yaml

from tenantry_testing.bench.api import Api, ReadyWatch, tenant_body
from tenantry_testing.bench.samples import spread, write_samples
from tenantry_testing.bench.scale import Scale
from tenantry_testing.bench.world import BenchWorld

RUNS = 20
LIMIT = 1.0


async def measure_latency(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; samples go to `latency.json`. Seconds, from the start of the program kubectl."""
    runs = scale.size(RUNS)
    with world.operator():
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            await _one(world, watch, "bench-warm")
            samples = [await _one(world, watch, f"bench-latency-{number}") for number in range(runs)]
    seconds = [sample["seconds"] for sample in samples]
    applies = [sample["kubectl"] for sample in samples]
    write_samples(world.layout, "latency", {"unit": "s", "limit": LIMIT, "samples": samples})
    return (
        f"kubectl apply to Ready, {runs} Tenants: median {spread(seconds)} s, limit {LIMIT:.0f} s; "
        f"of which kubectl itself {spread(applies)} s"
    )


async def _one(world: BenchWorld, watch: ReadyWatch, name: str) -> dict[str, float]:
    manifest = _manifest(world.folder, name)
    started = time.monotonic()
    command = [str(world.layout.bin / "kubectl"), f"--kubeconfig={world.plane.kubeconfig}", "apply", "-f", manifest]
    kubectl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    if await kubectl.wait() != 0:
        raise RuntimeError(f"kubectl apply of {name} ended with {kubectl.returncode}")
    applied = time.monotonic()
    await watch.all_ready([name])
    return {"seconds": watch.ready[name] - started, "kubectl": applied - started}


def _manifest(folder: Path, name: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tenant_body(name)), encoding="utf-8")
    return str(path)
