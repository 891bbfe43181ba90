"""A drawn sample of `make prove`: about one of twenty crash points, and a few faults, of the operator as it runs."""

import os
import random
from collections.abc import Iterator

import pytest

from tenantry_cluster import Layout
from tenantry_testing.faults.dump import difference, dump
from tenantry_testing.faults.effects import Moment
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.prove.__main__ import SEED
from tenantry_testing.prove.campaign import Campaign, Point, Verdict
from tenantry_testing.prove.faultcases import FAULTS, FaultCampaign
from tenantry_testing.prove.scenarios import SCENARIOS

DRAWN = random.Random(int(os.environ.get("TENANTRY_PROVE_SEED", str(SEED))))  # noqa: S311
POINTS = 5
SHARES = sorted(
    ((DRAWN.choice(SCENARIOS), DRAWN.random(), DRAWN.choice(list(Moment))) for _ in range(POINTS)),
    key=lambda drawn: drawn[0].name,
)
"""A scenario, how far into it, and on which side of the effect."""
FEW_FAULTS = [
    DRAWN.choice([one for one in FAULTS if not one.lasts]),
    DRAWN.choice([one for one in FAULTS if one.lasts]),
]
"""In one that lasts a busy loop shows; what wears off by itself is over before it."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with FaultWorld.open(Layout.of_checkout()) as world:
        yield world


def test_no_death_changes_the_end(world: FaultWorld) -> None:
    campaign, undisturbed, verdicts = Campaign(world), {}, []
    try:
        for scenario, share, moment in SHARES:
            if scenario.name not in undisturbed:
                undisturbed[scenario.name] = campaign.undisturbed(scenario)
            run = undisturbed[scenario.name]
            outcome = campaign.run(scenario, Point(1 + int(share * len(run.labels)), moment), run)
            print(outcome)  # noqa: T201  shown for a failed test
            assert outcome.holds, outcome
            verdicts.append(outcome.verdict)
    finally:
        campaign.close()
    # A run may have one effect less than another, but not all of them.
    assert verdicts.count(Verdict.EQUAL) >= POINTS - 1, verdicts


DIFFERENCES = (
    "CREATE ROLE stray",
    "CREATE TABLE public.stray (a int)",
    "ALTER TABLE public.stray ALTER a SET NOT NULL",
    "GRANT SELECT ON public.stray TO stray",
    "GRANT USAGE ON SCHEMA tenantry_none TO stray",
    "ALTER ROLE stray SET work_mem TO '9MB'",
    "ALTER ROLE stray CONNECTION LIMIT 9",
    "ALTER ROLE stray PASSWORD 'x'",
    "GRANT stray TO postgres",
    "GRANT CONNECT ON DATABASE app TO stray",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA tenantry_none GRANT SELECT ON TABLES TO stray",
    "COMMENT ON ROLE stray IS 'a marker'",
    "SELECT lo_create(7)",
)


def test_the_dump_tells_what_differs(world: FaultWorld) -> None:
    """The eyes of the campaign: what one statement changes is seen in it, and a second look sees nothing else."""
    with world.postgres.connect("app") as connection:
        connection.execute("CREATE SCHEMA tenantry_none")
        try:
            before = dump(world, {})
            assert not difference(before, dump(world, {}))
            for statement in DIFFERENCES:
                connection.execute(statement)
                after = dump(world, {})
                assert difference(before, after), statement
                before = after
        finally:
            connection.execute("DROP SCHEMA tenantry_none CASCADE")
            connection.execute("DROP TABLE IF EXISTS public.stray")
            connection.execute("DROP OWNED BY stray; DROP ROLE stray; SELECT lo_unlink(7)")


def test_faults_pass_without_a_restart_or_a_busy_loop(world: FaultWorld) -> None:
    with FaultCampaign(world) as campaign:
        for fault in FEW_FAULTS:
            assert campaign.run(fault) == "", fault.name
