"""`make bench`: the figures of one sitting, or those that are named. The others take long."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tenantry_cluster import Layout
from tenantry_testing.bench.budget import measure_budget
from tenantry_testing.bench.churn import measure_churn
from tenantry_testing.bench.drift import measure_drift
from tenantry_testing.bench.fairness import measure_fairness
from tenantry_testing.bench.fleet import measure_fleet
from tenantry_testing.bench.footprint import measure_footprint
from tenantry_testing.bench.latency import measure_latency
from tenantry_testing.bench.migrate import measure_migrate
from tenantry_testing.bench.outage import measure_outage
from tenantry_testing.bench.scale import Scale
from tenantry_testing.bench.world import BenchWorld

Figure = Callable[[BenchWorld, Scale], Awaitable[str]]

SITTING: Final[Mapping[str, Figure]] = {
    "latency": measure_latency,
    "fleet": measure_fleet,
    "budget": measure_budget,
    "fairness": measure_fairness,
    "drift": measure_drift,
    "outage": measure_outage,
    "migrate": measure_migrate,
}
LONG: Final[Mapping[str, Figure]] = {"footprint": measure_footprint, "churn": measure_churn}
"""Of 10,000 Tenants."""
FIGURES: Final = {**SITTING, **LONG}


def main() -> int:
    given = _parser().parse_args()
    scale = Scale(given.tenants, given.pairs)
    layout = Layout.of_checkout()
    for name in given.figures or SITTING:
        with BenchWorld.open(layout) as world:
            print(asyncio.run(_measured(FIGURES[name], world, scale)), flush=True)
    print(f"raw samples: {layout.state / 'bench'}")
    return 0


async def _measured(figure: Figure, world: BenchWorld, scale: Scale) -> str:
    return await figure(world, scale)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tenantry_testing.bench", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], default=[], help=f"absent: {', '.join(SITTING)}")
    parser.add_argument("--tenants", type=int, help="how many, in the place of what the figure says")
    parser.add_argument("--pairs", type=int, help="how many pairs or rounds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
