"""Who waits for whom: a Tenant that comes last behind many, and many beside such as fail again and again."""

import time
from collections.abc import Sequence

from tenantry_testing.bench.api import DATABASESERVERS, Api, ReadyWatch, create_all, delete_all, server_body
from tenantry_testing.bench.samples import spread, write_samples
from tenantry_testing.bench.scale import Scale, names
from tenantry_testing.bench.world import BenchWorld

QUEUED = 1000
FAILING_SHARE = 5
"""One that fails for each so many that wait: 200 beside 1,000."""
PAIRS = 5
LATE_LIMIT = 2.0
SLOWER_LIMIT = 1.10
BROKEN = "broken"
PATIENCE = 600.0


async def measure_fairness(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; samples go to `fairness.json`. Seconds."""
    queued, pairs = scale.size(QUEUED), scale.repeat(PAIRS)
    failing = names("bench-failing", queued // FAILING_SHARE)
    samples: list[dict[str, float]] = []
    with world.operator():
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            await api.create(DATABASESERVERS, server_body(world.server_spec(), name=BROKEN, port=1))
            for number in range(pairs):
                pair: dict[str, float] = {}
                for arm in ("alone", "beside") if number % 2 == 0 else ("beside", "alone"):
                    pair |= await _arm(api, watch, arm, number, queued=queued, failing=failing)
                samples.append(pair)
    late = [pair[f"{arm}_late"] for pair in samples for arm in ("alone", "beside")]
    ratios = [pair["beside"] / pair["alone"] for pair in samples]
    about = {"unit": "s", "queued": queued, "failing": len(failing), "pairs": samples, "ratios": ratios}
    limits = {"late": LATE_LIMIT, "ratio": SLOWER_LIMIT}
    write_samples(world.layout, "fairness", {**about, "limits": limits})
    return (
        f"one Tenant behind {queued}: Ready {spread(late)} s after the last of them, limit {LATE_LIMIT:.0f} s; beside "
        f"{len(failing)} that fail, {pairs} pairs: ratio {spread(ratios, digits=2)}, limit {SLOWER_LIMIT:.2f}; "
        f"alone {spread([pair['alone'] for pair in samples], digits=2)} s"
    )


async def _arm(
    api: Api, watch: ReadyWatch, arm: str, number: int, *, queued: int, failing: Sequence[str]
) -> dict[str, float]:
    """Those that fail are there before the clock starts, and have failed once: they are tried again often."""
    watch.forget()
    if arm == "beside":
        await create_all(api, failing, databaseServer=BROKEN)
        await watch.all_failed(failing, seconds=PATIENCE)
    before, last = names(f"bench-{arm}-{number}", queued), f"bench-{arm}-{number}-last"
    started = time.monotonic()
    await create_all(api, before)
    await create_all(api, [last])
    await watch.all_ready([*before, last], seconds=PATIENCE)
    turn = max(watch.ready[name] for name in before)
    found = {arm: turn - started, f"{arm}_late": watch.ready[last] - turn}
    gone = [*before, last, *(failing if arm == "beside" else ())]
    await delete_all(api, gone)
    await watch.all_gone(gone, seconds=PATIENCE)
    return found
