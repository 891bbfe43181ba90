"""`make prove`: kill the operator at each write, break what it talks to, stop it for a minute, rotate under load.

Each scenario and each fault prints a line, and is written to docs/results/prove.json at once. The exit code is 1 when
one does not hold, and what differs is printed.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from tenantry_cluster import Layout
from tenantry_testing.bench.scale import Scale
from tenantry_testing.faults.rotation import rotate_in_a_world
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.postgres import VERSION
from tenantry_testing.postgres_versions import RELEASES
from tenantry_testing.prove.campaign import Campaign, Outcome, Point, second_deaths
from tenantry_testing.prove.faultcases import FAULTS, FaultCampaign, FaultCase
from tenantry_testing.prove.pauses import PAUSED, PauseCampaign
from tenantry_testing.prove.results import CrashResults, ResultFile
from tenantry_testing.prove.scale import prove_scale
from tenantry_testing.prove.scenarios import SCENARIOS, Scenario
from tenantry_testing.prove.walks import SIDE, WalkCampaign

SEED = 20261122
ROTATIONS = 50
SPECS = 304
"""That Tenants walk through, eight side by side."""
FAILURES_SHOWN = 10
HELD = "fenced, and nothing written twice"
PAIRS = 3
"""Pairs of deaths that are drawn for each scenario."""
PAUSES = 2
"""Writes that are drawn for each scenario, at which one of two operators is stopped."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.postgres:
        os.environ[VERSION] = str(given.postgres)
    layout = Layout.of_checkout()
    if given.part == "scale":
        print(prove_scale(layout, Scale(given.tenants, given.pairs if given.pairs != PAIRS else None)))
        return 0
    path = layout.root / "docs" / "results" / "prove.json"
    began = time.monotonic()
    failed = 0
    if given.part not in {"rotation", "pauses", "walks"}:
        with FaultWorld.open(layout) as world:
            versions = world.versions()
            results = ResultFile(path, versions["postgres"])
            results.write_about(kubernetes=versions["kubernetes"], seed=given.seed)
            if given.part in {"all", "crash"}:
                failed += crash_points(world, _scenarios(given, results), results, pairs=given.pairs, seed=given.seed)
            if given.part in {"all", "faults"}:
                failed += run_faults(world, [one for one in FAULTS if given.only in one.name], results)
    if given.part in {"all", "pauses"}:
        postgres, stopped = run_pauses(layout, given.only, count=given.pauses, seed=given.seed)
        failed += sum(said != HELD for said in stopped.values())
        if not given.only:
            ResultFile(path, postgres).write_part("pauses", stopped)
    if given.part in {"all", "walks"} and not given.only:
        postgres, walked = run_walks(layout, given.specs, seed=given.seed)
        failed += len(walked["differ"])
        ResultFile(path, postgres).write_part("walks", walked)
    if given.part in {"all", "rotation"} and given.rotations and not given.only:
        postgres, run = rotate_in_a_world(layout, given.rotations)
        failed += len(run.failed)
        print("\n".join([*run.failed[:FAILURES_SHOWN], run.total()]), flush=True)
        ResultFile(path, postgres).write_part("rotation", run.as_json())
    print(f"{'all held' if not failed else f'{failed} did not hold'}, {(time.monotonic() - began) / 60:.0f} min")
    return 1 if failed else 0


def _scenarios(given: argparse.Namespace, results: ResultFile) -> list[Scenario]:
    chosen = [one for one in SCENARIOS if given.only in one.name]
    return [one for one in chosen if not (given.resume and results.has_held(one.name))]


def _first(said: str) -> str:
    """The first line of what was wrong; the rest is the operator's log."""
    return said.partition("\n")[0] or "converged"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tenantry_testing.prove", description=__doc__)
    parts = ["all", "crash", "faults", "pauses", "rotation", "scale", "walks"]
    parser.add_argument("part", nargs="?", choices=parts, default="all")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--resume", action="store_true", help="leave out the scenarios that held by the result file")
    versions = [15, *RELEASES]
    parser.add_argument("--postgres", type=int, choices=versions, help="absent: the newest that Debian's packages have")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"pairs of deaths for each scenario; absent: {PAIRS}")
    said = f"writes of each scenario at which an operator is stopped; absent: {PAUSES}"
    parser.add_argument("--pauses", type=int, default=PAUSES, help=said)
    said = f"specs that Tenants walk through; absent: {SPECS}"
    parser.add_argument("--specs", type=int, default=SPECS, help=said)
    said = f"rotations under load; absent: {ROTATIONS}"
    parser.add_argument("--rotations", type=int, default=ROTATIONS, help=said)
    said = "of part scale, which takes an hour and is no part of all; absent: 10,000"
    parser.add_argument("--tenants", type=int, help=said)
    parser.add_argument("--seed", type=int, default=SEED, help=f"what draws the pairs; absent: {SEED}")
    return parser


def crash_points(world: FaultWorld, scenarios: Sequence[Scenario], file: ResultFile, *, pairs: int, seed: int) -> int:
    """Die at each point of each scenario; return how many did not hold."""
    results = CrashResults()
    campaign = Campaign(world)
    try:
        for scenario in scenarios:
            undisturbed = results.scenarios[scenario.name] = campaign.undisturbed(scenario)
            drawn = second_deaths(undisturbed, pairs, random.Random(f"{seed} {scenario.name}"))
            for point in (*undisturbed.points(), *drawn):
                results.outcomes.append(_run(campaign, scenario, point, results))
            file.write_scenario(scenario.name, results.scenario_as_json(scenario.name))
            print(results.line(scenario.name), flush=True)
    finally:
        campaign.close()
    print(file.total(), flush=True)
    return len(results.failed)


def _run(campaign: Campaign, scenario: Scenario, point: Point, results: CrashResults) -> Outcome:
    outcome = campaign.run(scenario, point, results.scenarios[scenario.name])
    if not outcome.holds:
        print(outcome, flush=True)
    return outcome


def run_faults(world: FaultWorld, faults: Sequence[FaultCase], file: ResultFile) -> int:
    """Break one thing after the other; return how many it did not come through."""
    failed = 0
    with FaultCampaign(world) as campaign:
        for fault in faults:
            wrong = campaign.run(fault)
            failed += bool(wrong)
            file.write_fault(fault.name, _first(wrong))
            print(f"{fault.name}: {wrong or 'converged'}", flush=True)
    return failed


def run_pauses(layout: Layout, only: str, *, count: int, seed: int) -> tuple[str, dict[str, str]]:
    """Stop one of two operators in the middle of a write, for a minute; return the version, and what was wrong."""
    postgres, found = "", {}
    for scenario in PAUSED:
        if only not in scenario.name:
            continue
        # A world for each scenario: what does not hold in one is not in the way of the next.
        with FaultWorld.open(layout) as world, PauseCampaign(world) as campaign:
            postgres = world.postgres.version()
            for pause in campaign.drawn(scenario, count, random.Random(f"{seed} {scenario.name}")):
                said = campaign.run(pause)
                print(f"{pause}: {said or HELD}", flush=True)
                found[str(pause)] = said.partition("\n")[0] or HELD
                if said:
                    break
    return postgres, found


def run_walks(layout: Layout, specs: int, *, seed: int) -> tuple[str, dict[str, Any]]:
    """Let Tenants walk through drawn specs; return the version, how many, and what differs from Tenants made so."""
    differ: list[str] = []
    with FaultWorld.open(layout) as world, WalkCampaign(world, seed=f"{seed} walks") as campaign:
        postgres = world.postgres.version()
        for number in range(1, specs // SIDE + 1):
            found = campaign.round()
            print(f"walks: {number * SIDE} specs, {len(found)} of these {SIDE} differ", *found, sep="\n", flush=True)
            differ += found
    return postgres, {"specs": specs // SIDE * SIDE, "differ": [one.partition("\n")[0] for one in differ]}


if __name__ == "__main__":
    sys.exit(main())
