"""A sample of `make prove ARGS=walks`: Tenants that walk through drawn specs are as those that were made with them."""

import os

import pytest

from tenantry_cluster import Layout
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.prove.__main__ import SEED
from tenantry_testing.prove.walks import WalkCampaign

ROUNDS = 2

pytestmark = pytest.mark.timeout(600)


def test_where_a_tenant_comes_from_does_not_show() -> None:
    seed = os.environ.get("TENANTRY_PROVE_SEED", str(SEED))
    with FaultWorld.open(Layout.of_checkout()) as world, WalkCampaign(world, seed=f"{seed} walks") as campaign:
        for _ in range(ROUNDS):
            assert campaign.round() == []
