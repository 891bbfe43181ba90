"""From a change by hand to its repair, at moments that have nothing to do with the sweep's."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import closing

from psycopg import Connection

from tenantry_testing.bench.api import Api, ReadyWatch, create_all
from tenantry_testing.bench.samples import spread, write_samples
from tenantry_testing.bench.scale import Scale, names
from tenantry_testing.bench.world import SWEEP_SECONDS, BenchWorld
from tenantry_testing.hand_edits import EVERYTHING, OTHER_OWNER, REPAIRED

TENANTS = 100
ROUNDS = 2
LIMIT = SWEEP_SECONDS + 2.0
PATIENCE = 120.0
POLL = 0.05
SEED = 4
LEFT_OUT = frozenset({"a table of another tenant is granted"})
"""It makes what no second edit can make again."""


async def measure_drift(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; samples go to `drift.json`. Seconds."""
    fleet, rounds = names("bench-drift", scale.size(TENANTS)), scale.repeat(ROUNDS)
    edits = [(kind, change) for kind, change in REPAIRED.items() if kind not in LEFT_OUT]
    drawn = random.Random(SEED)
    with world.operator(), closing(world.postgres.connect("app")) as hand:
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            await create_all(api, fleet)
            await watch.all_ready(fleet)
        hand.execute(OTHER_OWNER)
        # Two sweeps have seen all of them.
        await asyncio.sleep(2.5 * SWEEP_SECONDS)
        samples: list[dict[str, float]] = []
        for start in range(rounds):
            chosen = drawn.sample(fleet, min(len(edits), len(fleet)))
            work = [
                _one(world, kind, change, name=name, wait=drawn.uniform(0, SWEEP_SECONDS))
                for name, (kind, change) in zip(chosen, edits[start:] + edits[:start], strict=False)
            ]
            samples += await asyncio.gather(*work)
    seconds = [value for sample in samples for value in sample.values()]
    about = {"unit": "s", "tenants": len(fleet), "sweep": SWEEP_SECONDS, "limit": LIMIT}
    write_samples(world.layout, "drift", {**about, "samples": samples})
    return (
        f"{len(seconds)} changes by hand among {len(fleet)} Tenants, undone after {spread(seconds, digits=1)} s, "
        f"limit {LIMIT:.0f} s (sweep {SWEEP_SECONDS:.0f} s)"
    )


async def _one(world: BenchWorld, kind: str, change: Sequence[str], *, name: str, wait: float) -> dict[str, float]:
    await asyncio.sleep(wait)
    key = name.replace("-", "_")
    return {kind: await asyncio.to_thread(_edit, world, [one.replace("acme", key) for one in change], key=key)}


def _edit(world: BenchWorld, change: Sequence[str], *, key: str) -> float:
    with closing(world.postgres.connect("app")) as connection:
        before = _everything(connection, key)
        for statement in change:
            connection.execute(statement)
        changed = time.monotonic()
        while _everything(connection, key) != before:
            if time.monotonic() - changed > PATIENCE:
                raise TimeoutError(f"not undone after {PATIENCE:.0f} s: {'; '.join(change)}")
            time.sleep(POLL)
        return time.monotonic() - changed


def _everything(connection: Connection[tuple[object, ...]], key: str) -> list[tuple[object, ...]]:
    """All that can be changed of this Tenant."""
    facts = connection.execute(EVERYTHING.replace("acme", key)).fetchall()
    return [fact for fact in facts if key in str(fact[1])]
