"""Two operators, one of them stopped in the middle of a write: a short sample of `make prove ARGS=pauses`."""

from collections.abc import Iterator

import pytest

from tenantry_cluster import Layout
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.prove.pauses import PAUSED, PauseCampaign

# A Lease so short that the other one leads after seconds, and so long that a busy machine loses none.
QUICK = {
    "TENANTRY_LEASE_DURATION": "12",
    "TENANTRY_LEASE_RENEW_DEADLINE": "9",
    "TENANTRY_LEASE_RENEW_INTERVAL": "0.5",
}
IN_THE_TRANSACTION = "SQL (CREATE|GRANT|ALTER|COMMENT)"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def campaign() -> Iterator[PauseCampaign]:
    with FaultWorld.open(Layout.of_checkout()) as world, PauseCampaign(world, seconds=14, env=QUICK) as campaign:
        yield campaign


def test_a_leader_that_was_stopped_is_fenced_and_nothing_is_written_twice(campaign: PauseCampaign) -> None:
    """In the middle of the transaction that makes roles and schemas it holds locks that the other one needs."""
    scenario = next(one for one in PAUSED if one.name == "create")
    said = campaign.run(campaign.pause_at(scenario, IN_THE_TRANSACTION))
    assert said == "", said
