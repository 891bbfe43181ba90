"""`make bench`: all figures, or those that are named: latency, fleet, budget."""

import argparse
import asyncio
import sys

from tenantry_cluster import Layout
from tenantry_testing.bench.budget import measure_budget
from tenantry_testing.bench.fleet import measure_fleet
from tenantry_testing.bench.latency import measure_latency
from tenantry_testing.bench.world import BenchWorld

FIGURES = {"latency": measure_latency, "fleet": measure_fleet, "budget": measure_budget}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tenantry_testing.bench", description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], default=[], help="absent: all")
    named = parser.parse_args().figures or list(FIGURES)
    layout = Layout.of_checkout()
    for name in named:
        with BenchWorld.open(layout) as world:
            print(asyncio.run(FIGURES[name](world)), flush=True)
    print(f"raw samples: {layout.state / 'bench'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
