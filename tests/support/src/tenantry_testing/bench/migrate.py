"""Many schemas moved by a MigrationRun, against psql that is given the same SQL for each of them."""

import asyncio
import time
from collections.abc import Sequence

from tenantry_crds import absent
from tenantry_migrations import TENANT
from tenantry_operator.apply.migration import statements
from tenantry_operator.model.names import TenantNames
from tenantry_testing.bench.api import MIGRATIONRUNS, Api, ReadyWatch, create_all
from tenantry_testing.bench.footprint import until_level
from tenantry_testing.bench.samples import spread, write_samples
from tenantry_testing.bench.scale import Scale, names
from tenantry_testing.bench.world import BenchWorld
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.later_operator import HISTORY, MODULE

TENANTS = 1000
PAIRS = 5
LIMIT = 1.4
PARALLEL = absent.MIGRATION_MAX_PARALLEL
PATIENCE = 900.0
POLL = 0.02
BACK = """
BEGIN;
ALTER TABLE {schema}.users DROP COLUMN locale;
DROP TABLE {schema}.notes;
UPDATE {schema}.schema_version SET version = '{version}';
COMMIT;
"""
"""Undoes the revision of the tests, so that the next arm has the same to do."""


async def measure_migrate(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; samples go to `migrate.json`. Seconds until the last schema is moved."""
    fleet = names("bench-move", scale.size(TENANTS))
    history = write_history(world.folder / "history")
    before = TENANT.head
    with world.operator():
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            await create_all(api, fleet)
            await watch.all_ready(fleet, seconds=PATIENCE)
    with tenant_history(history):
        forward = [_moved(name, before) for name in fleet]
    backward = [BACK.format(schema=TenantNames(name).service_schema, version=before) for name in fleet]
    pairs: list[dict[str, float]] = []
    for number in range(scale.repeat(PAIRS)):
        pair: dict[str, float] = {}
        for arm in ("ours", "raw") if number % 2 == 0 else ("raw", "ours"):
            if arm == "ours":
                pair[arm] = await _ours(world, f"bench-{number}", str(history))
            else:
                pair[arm] = await _psql(world, forward)
            _expect_moved(world, fleet)
            await _psql(world, backward)
            _forget_release(world, before)
        pairs.append(pair)
    ratios = [pair["ours"] / pair["raw"] for pair in pairs]
    about = {"unit": "s", "tenants": len(fleet), "parallel": PARALLEL, "limit": LIMIT}
    write_samples(world.layout, "migrate", {**about, "pairs": pairs, "ratios": ratios})
    ours, raw = ([pair[name] for pair in pairs] for name in ("ours", "raw"))
    return (
        f"{len(fleet)} schemas moved, {len(pairs)} pairs: ratio {spread(ratios, digits=2)}, limit {LIMIT}; ours "
        f"{spread(ours, digits=2)} s, {PARALLEL} psql {spread(raw, digits=2)} s"
    )


def _moved(name: str, before: str) -> str:
    """The SQL that `tenantry migrate sql` prints, in the one transaction that it is meant for."""
    said = ";\n".join(statement.as_string(None) for statement in statements(TenantNames(name), before, EXPAND))
    return f"BEGIN;\n{said};\nCOMMIT;\n"


async def _ours(world: BenchWorld, name: str, history: str) -> float:
    """From the creation of the run to its end; the operator is of the later version and has nothing else to do."""
    body = {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "MigrationRun",
        "metadata": {"name": name},
        "spec": {"to": EXPAND, "phase": "expand"},
    }
    with world.operator(env={HISTORY: history}, module=MODULE) as operator:
        await until_level(operator, since=time.monotonic())
        async with Api.of(world.plane) as api:
            started = time.monotonic()
            await api.create(MIGRATIONRUNS, body)
            phase = await _end(api, name)
            took = time.monotonic() - started
            if phase == "Failed":
                raise RuntimeError(f"the run failed: {(await api.get(f'{MIGRATIONRUNS}/{name}'))['status']}")
            await api.delete(f"{MIGRATIONRUNS}/{name}")
    return took


async def _end(api: Api, name: str) -> str:
    """Wait until the run is over; return how it ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            phase = (await api.get(f"{MIGRATIONRUNS}/{name}")).get("status", {}).get("phase")
            if phase in {"Succeeded", "Failed"}:
                return str(phase)
            await asyncio.sleep(POLL)


async def _psql(world: BenchWorld, scripts: Sequence[str]) -> float:
    """Run the scripts, as many psql at a time as the operator moves tenants."""
    files = []
    for number in range(PARALLEL):
        files.append(world.folder / f"share-{number}.sql")
        files[-1].write_text("".join(scripts[number::PARALLEL]), encoding="utf-8")
    program = str(world.postgres.bin_dir / "psql")
    command = [program, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={world.operator_url('app')}"]
    started = time.monotonic()
    running = [
        await asyncio.create_subprocess_exec(*command, f"--file={file}", stdout=asyncio.subprocess.DEVNULL)
        for file in files
    ]
    codes = await asyncio.gather(*(one.wait() for one in running))
    if any(codes):
        raise RuntimeError(f"psql ended with {max(codes)}")
    return time.monotonic() - started


def _expect_moved(world: BenchWorld, fleet: Sequence[str]) -> None:
    with world.postgres.connect("app") as connection:
        for name in (fleet[0], fleet[-1]):
            schema = TenantNames(name).service_schema
            row = connection.execute(f"SELECT version FROM {schema}.schema_version").fetchone()
            assert row == (EXPAND,), f"{name} is at {row}"


def _forget_release(world: BenchWorld, before: str) -> None:
    with world.postgres.connect("tenantry") as registry:
        registry.execute("UPDATE tenantry.released SET revision = %s", [before])
        registry.execute("UPDATE tenantry.tenants SET version = %s", [before])
