"""Many Tenants made and deleted again: what stays behind, and what the operator's memory does."""

import asyncio
from collections.abc import Sequence

from tenantry_testing.bench.api import SECRETS, Api, ReadyWatch, create_all, delete_all
from tenantry_testing.bench.process import mebibytes, memory
from tenantry_testing.bench.samples import write_samples
from tenantry_testing.bench.scale import Scale, names
from tenantry_testing.bench.world import SWEEP_SECONDS, BenchWorld

TENANTS = 10_000
BATCHES = 20
WARM = 4
"""Batches after which the memory is that of an operator at work: buffers and arenas have grown."""
LIMIT = 0.02
PATIENCE = 1800.0
PREFIX = "bench-churn"


async def measure_churn(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; samples go to `churn.json`. Bytes after each batch. The breaker is set open."""
    batches = split(names(PREFIX, scale.size(TENANTS)), BATCHES)
    sizes: list[int] = []
    with world.operator() as operator:
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            for batch in batches:
                await create_all(api, batch)
                await watch.all_ready(batch, seconds=PATIENCE)
                await delete_all(api, batch)
                await watch.all_gone(batch, seconds=PATIENCE)
                sizes.append(memory(operator.pid))
            await asyncio.sleep(2 * SWEEP_SECONDS)
            sizes.append(memory(operator.pid))
            orphans = await _orphans(world, api)
    warm = sizes[min(WARM, len(batches)) - 1]
    growth = sizes[-1] / warm - 1
    count = sum(map(len, batches))
    about = {"tenants": count, "batches": len(batches), "warm_after": WARM, "limit": LIMIT}
    write_samples(world.layout, "churn", {**about, "memory": sizes, "growth": growth, "orphans": orphans})
    left = f"left behind: {', '.join(orphans[:5])} and {len(orphans)} in all" if orphans else "nothing left behind"
    return (
        f"{count} Tenants made and deleted: {left}; memory from {mebibytes(warm):.0f} MiB (after {WARM} of "
        f"{len(batches)} batches) to {mebibytes(sizes[-1]):.0f} MiB, {100 * growth:+.1f} %, limit {100 * LIMIT:.0f} %"
    )


def split(fleet: Sequence[str], parts: int) -> list[Sequence[str]]:
    """Cut into parts of one size, but for the last."""
    size = max(1, -(-len(fleet) // parts))
    return [fleet[start : start + size] for start in range(0, len(fleet), size)]


async def _orphans(world: BenchWorld, api: Api) -> list[str]:
    """Name what is there of them, wherever: schemas, roles, rows that are not deleted, Secrets."""
    pattern = f"^[ts]_{PREFIX.replace('-', '_')}"
    with world.postgres.connect("app") as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ %s", [pattern]).fetchall()
        roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ %s", [pattern]).fetchall()
    left = [f"{name} in Postgres" for (name,) in schemas + roles]
    with world.postgres.connect("tenantry") as registry:
        rows = registry.execute("SELECT name FROM tenantry.tenants WHERE name ^@ %s AND state <> 'deleted'", [PREFIX])
        left += [f"row {name}" for (name,) in rows]
    secrets = (await api.get(SECRETS))["items"]
    return left + [f"Secret {one['metadata']['name']}" for one in secrets if one["metadata"]["name"].startswith(PREFIX)]
