"""A sample of the long campaign of rotations: who follows the Secret notices nothing."""

from tenantry_testing.faults.rotation import rotate_under_load
from tenantry_testing.tenant_world import TenantWorld

ROTATIONS = 3


async def test_rotations_under_load_fail_no_query(world: TenantWorld) -> None:
    run = await rotate_under_load(world, "acme", rotations=ROTATIONS)
    assert run.failed == []
    assert run.rotations == ROTATIONS
    assert len(run.usernames) >= ROTATIONS
    # Of 200 in a second; a slow machine answers fewer.
    assert run.rate > 50
