"""How soon everything is Ready again when Postgres was away and comes back."""

import asyncio
import time

from tenantry_testing.bench.api import Api, ReadyWatch, create_all
from tenantry_testing.bench.samples import spread, write_samples
from tenantry_testing.bench.scale import Scale, names
from tenantry_testing.bench.world import SWEEP_SECONDS, BenchWorld

TENANTS = 100
OUTAGES = 5
AWAY_SECONDS = (5.0, 30.0, 90.0)
"""In turn: a restart, and two that retries with a doubling delay would wait out."""
LIMIT = 3.0
PATIENCE = 120.0


async def measure_outage(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; samples go to `outage.json`. Seconds from when Postgres answers again."""
    fleet = names("bench-outage", scale.size(TENANTS))
    samples: list[dict[str, float]] = []
    with world.operator():
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            await create_all(api, fleet)
            await watch.all_ready(fleet)
            await asyncio.sleep(2 * SWEEP_SECONDS)
            for number in range(scale.repeat(OUTAGES)):
                samples.append(await _one(world, watch, away=AWAY_SECONDS[number % len(AWAY_SECONDS)]))
    seconds = [sample["ready"] for sample in samples]
    about = {"unit": "s", "tenants": len(fleet), "limit": LIMIT}
    write_samples(world.layout, "outage", {**about, "samples": samples})
    away = ", ".join(f"{sample['away']:.0f}" for sample in samples)
    return (
        f"{len(fleet)} Tenants after Postgres was away for {away} s: all Ready {spread(seconds, digits=2)} s after it "
        f"answers, limit {LIMIT:.0f} s"
    )


async def _one(world: BenchWorld, watch: ReadyWatch, *, away: float) -> dict[str, float]:
    watch.forget()
    await asyncio.to_thread(world.postgres.stop)
    await asyncio.sleep(away)
    # Only who was seen not to be Ready can be Ready again.
    waiting = set(watch.unready)
    watch.forget()
    await asyncio.to_thread(world.postgres.start)
    back = time.monotonic()
    await watch.all_ready(waiting, seconds=PATIENCE)
    last = max((watch.ready[name] for name in waiting), default=back)
    return {"away": away, "unready": len(waiting), "ready": max(0.0, last - back)}
