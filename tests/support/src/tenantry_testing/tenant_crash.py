"""A process that dies in the middle of a Tenant's pass."""

from tenantry_testing.tenant_world import TenantWorld


class Killed(BaseException):
    """The process ends here: nothing catches it, as nothing catches SIGKILL."""


def crash_after(world: TenantWorld, calls: int) -> None:
    """Let so many more requests and transactions through, and then none; `calls` counts both."""
    left = iter(range(calls))

    def guard() -> None:
        if next(left, None) is None:
            raise Killed

    world.kube._guard = guard
    world.servers._guard = guard


async def until_it_dies(world: TenantWorld, name: str, calls: int) -> bool:
    """Run a pass that dies; say whether it did."""
    await world.refresh()
    crash_after(world, calls)
    try:
        await world.tenants.reconcile(next(key for key in world.cache.keys("Tenant") if key.name == name))
    except Killed:
        return True
    finally:
        world.kube._guard = None
        world.servers._guard = None
    return False
