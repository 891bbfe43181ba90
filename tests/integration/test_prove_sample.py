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
FEW_FAULTS = DRAWN.sample(FAULTS, 2)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world() -> Iterator[FaultWorld]:
    with FaultWorld.open(Layout.of_checkout()) as world:
        yield world


def test_no_death_changes_the_end(world: FaultWorld) -> None:
    campaign, undisturbed = Campaign(world), {}
    try:
        for scenario, share, moment in SHARES:
            if scenario.name not in undisturbed:
                undisturbed[scenario.name] = campaign.undisturbed(scenario)
            run = undisturbed[scenario.name]
            outcome = campaign.run(scenario, Point(1 + int(share * len(run.labels)), moment), run)
            print(outcome)  # noqa: T201  shown for a failed test
            assert outcome.verdict is Verdict.EQUAL, outcome
    finally:
        campaign.close()


HIDDEN_DIFFERENCES = (
    "CREATE TABLE public.stray ()",
    "CREATE ROLE stray",
    "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "ALTER ROLE tenantry_operator SET work_mem TO '9MB'",
    "ALTER ROLE tenantry_operator CONNECTION LIMIT 9",
    "GRANT CONNECT ON DATABASE app TO tenantry_operator",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO tenantry_operator",
    "COMMENT ON ROLE tenantry_operator IS 'a marker'",
    "SELECT lo_create(7)",
)


def test_the_dump_tells_what_differs(world: FaultWorld) -> None:
    """The eyes of the campaign: what one transaction changes is seen in it, and not after it."""
    before = dump(world, {})
    assert not difference(before, dump(world, {}))
    for statement in HIDDEN_DIFFERENCES:
        with world.postgres.connect("app") as connection:
            connection.execute(statement)
        after = dump(world, {})
        assert difference(before, after), statement
        before = after


def test_faults_pass_without_a_restart_or_a_busy_loop(world: FaultWorld) -> None:
    with FaultCampaign(world) as campaign:
        for fault in FEW_FAULTS:
            assert campaign.run(fault) == "", fault.name
