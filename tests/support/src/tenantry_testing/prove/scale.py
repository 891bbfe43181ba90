"""The figures of 10,000 Tenants: what an operator takes that has them, and what stays of them when they are gone."""

import asyncio
import json
from typing import Any, Final

from tenantry_cluster import Layout
from tenantry_migrations import TENANT
from tenantry_testing.bench.churn import measure_churn
from tenantry_testing.bench.footprint import measure_footprint
from tenantry_testing.bench.scale import Scale
from tenantry_testing.bench.world import BenchWorld

FILE: Final = "scale.json"


def prove_scale(layout: Layout, scale: Scale) -> str:
    """Measure both in worlds of their own; write docs/results/scale.json, and return the lines to print."""
    said: list[str] = []
    found: dict[str, Any] = {"history": {"revisions": len(TENANT.revisions), "head": TENANT.head}}
    for name, figure in (("footprint", measure_footprint), ("churn", measure_churn)):
        with BenchWorld.open(layout) as world:
            said.append(asyncio.run(figure(world, scale)))
        found[name] = json.loads((layout.state / "bench" / f"{name}.json").read_text(encoding="utf-8"))
    path = layout.root / "docs" / "results" / FILE
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return "\n".join(said)
