"""Many Tenants at once, against a raw script that sends the same SQL and makes the fewest API calls."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenantry_testing.bench.api import (
    CONCURRENCY,
    SECRETS,
    TENANTS,
    Api,
    ReadyWatch,
    create_all,
    delete_all,
    tenant_body,
)
from tenantry_testing.bench.budget import requests_by_verb
from tenantry_testing.bench.recording import Message, Renaming, batches, recorded, values_of
from tenantry_testing.bench.samples import spread, write_samples
from tenantry_testing.bench.scale import Scale, names
from tenantry_testing.bench.world import BenchWorld

FLEET = 500
LIMIT = 1.25
PATIENCE = 600.0
PAIRS = 5
BASELINE = Path("tests/load/baseline/tenants.py")
SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink")


@dataclass(frozen=True)
class Specimen:
    """All that the operator did for one Tenant, and what of it belongs to the installation."""

    name: str
    messages: tuple[Message, ...]
    secret: dict[str, Any]
    status: dict[str, Any]
    kept: frozenset[str]

    def for_tenant(self, name: str) -> dict[str, Any]:
        """The same for another Tenant, as an entry of the raw script's job."""
        renaming = Renaming(self.name, name, kept=self.kept)
        return {
            "name": name,
            "batches": batches([renaming.message(message) for message in self.messages]),
            "secret": json.loads(renaming.text(json.dumps(self.secret))),
            "status": json.loads(renaming.text(json.dumps(self.status))),
        }


@dataclass(frozen=True)
class Arm:
    """One arm of a pair: how long it took, and what was asked of the API server meanwhile, by whomever."""

    seconds: float
    requests: Counter[str]


async def measure_fleet(world: BenchWorld, scale: Scale) -> str:
    """The line that is printed; both arms' samples go to `fleet.json`. Seconds until the last Tenant is Ready."""
    specimen = await _record(world)
    pairs: list[dict[str, Arm]] = []
    size = scale.size(FLEET)
    for number in range(scale.repeat(PAIRS)):
        arms = [_ours, _raw] if number % 2 == 0 else [_raw, _ours]
        fleets = {arm: names(f"bench-{arm.__name__[1]}{number}", size) for arm in arms}
        pairs.append({arm.__name__.strip("_"): await arm(world, specimen, fleets[arm]) for arm in arms})
    return _told(world, specimen, pairs, size=size)


def _told(world: BenchWorld, specimen: Specimen, pairs: Sequence[dict[str, Arm]], *, size: int) -> str:
    ratios = [pair["ours"].seconds / pair["raw"].seconds for pair in pairs]
    samples = {
        "unit": "s",
        "tenants": size,
        "limit": LIMIT,
        "pairs": [{name: arm.seconds for name, arm in pair.items()} for pair in pairs],
        "ratios": ratios,
        "postgres_messages_per_tenant": len(specimen.messages),
        "api_requests_of_the_last_pair": {name: arm.requests for name, arm in pairs[-1].items()},
    }
    write_samples(world.layout, "fleet", samples)
    ours, raw = ([pair[name].seconds for pair in pairs] for name in ("ours", "raw"))
    return (
        f"{size} Tenants at once, {len(pairs)} pairs: ratio {spread(ratios, digits=2)}, limit {LIMIT}; "
        f"ours {spread(ours, digits=2)} s, the raw script {spread(raw, digits=2)} s; "
        f"{len(specimen.messages)} messages to Postgres for a Tenant"
    )


async def _record(world: BenchWorld) -> Specimen:
    """Two Tenants are recorded: ids and numbers that both share belong to neither."""
    with world.operator(sweep_seconds=3600):
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            first = await _recorded(world, api, watch, name="bench-rec-a")
            second = await _recorded(world, api, watch, name="bench-rec-b")
            secret = await api.get(f"{SECRETS}/bench-rec-a-database")
            status = (await api.get(f"{TENANTS}/bench-rec-a"))["status"]
    for key in SERVERS_OWN:
        secret["metadata"].pop(key, None)
    kept = values_of(first) & values_of(second)
    return Specimen("bench-rec-a", first, secret=secret, status=status, kept=kept)


async def _recorded(world: BenchWorld, api: Api, watch: ReadyWatch, *, name: str) -> tuple[Message, ...]:
    with recorded(world.postgres) as messages:
        await api.create(TENANTS, tenant_body(name))
        await watch.all_ready([name])
        # The last statements, such as the end of a lock, follow the status.
        await asyncio.sleep(0.5)
        return tuple(message for message in messages() if message.application.startswith("tenantry:"))


async def _ours(world: BenchWorld, specimen: Specimen, fleet: Sequence[str]) -> Arm:
    with world.operator():
        async with Api.of(world.plane) as api, ReadyWatch.of(api) as watch:
            since, started = len(world.plane.audited()), time.monotonic()
            await create_all(api, fleet)
            await watch.all_ready(fleet, seconds=PATIENCE)
            arm = Arm(max(watch.ready[name] for name in fleet) - started, requests_by_verb(world.plane, since))
            await delete_all(api, fleet)
            await watch.all_gone(fleet, seconds=PATIENCE)
    return arm


async def _raw(world: BenchWorld, specimen: Specimen, fleet: Sequence[str]) -> Arm:
    """The Tenant objects are made before the clock starts: the script has a status to write, and no list to make."""
    prefix = fleet[0].rpartition("-")[0].replace("-", "_") + "_"
    async with Api.of(world.plane) as api:
        await create_all(api, fleet)
        since = len(world.plane.audited())
        arm = Arm(await _run_script(world, specimen, fleet), requests_by_verb(world.plane, since))
        world.expect_tenants(prefix, len(fleet))
        await delete_all(api, fleet)
        await asyncio.gather(*(api.delete(f"{SECRETS}/{name}-database") for name in fleet))
    world.drop_tenants(prefix)
    return arm


async def _run_script(world: BenchWorld, specimen: Specimen, fleet: Sequence[str]) -> float:
    job = world.folder / "job.json"
    job.write_text(json.dumps(_job(world, specimen, fleet)), encoding="utf-8")
    script = await asyncio.create_subprocess_exec(
        sys.executable, str(world.layout.root / BASELINE), str(job), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await script.communicate()
    if script.returncode != 0:
        raise RuntimeError(f"the raw script ended with {script.returncode}")
    return float(json.loads(printed)["seconds"])


def _job(world: BenchWorld, specimen: Specimen, fleet: Sequence[str]) -> dict[str, Any]:
    """A pool for each session that the operator used: with one for both, two of a Tenant could wait for each other."""
    databases = {message.session: world.operator_url(message.database) for message in specimen.messages}
    tenants = [specimen.for_tenant(name) for name in fleet]
    for tenant in tenants:
        for batch in tenant["batches"]:
            batch["database"] = batch["session"]
    pair = world.plane.trust.admin
    return {
        "databases": databases,
        "connections": world.operator_connections,
        "concurrency": CONCURRENCY,
        "api": {
            "url": world.plane.url,
            "ca": str(world.plane.trust.authority.pair.certificate),
            "certificate": str(pair.certificate),
            "key": str(pair.key),
        },
        "namespace": "tenantry-system",
        "tenants": tenants,
    }
