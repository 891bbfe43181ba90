"""Objects that a newer API has let in: they are named, cost nothing, and hold up nobody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tenantry_operator.clients.kube import CUSTOMRESOURCEDEFINITIONS, DATABASESERVERS, TENANTS, Invalid, Kube, Resource
from tenantry_testing.tenant_world import TenantWorld

OPEN = "x-kubernetes-preserve-unknown-fields"


async def patch_schema(kube: Kube, op: str) -> None:
    """Let both kinds have fields that we do not know, or no more."""
    for resource in (TENANTS, DATABASESERVERS):
        at = "/spec/versions/0/schema/openAPIV3Schema/properties"
        operations = [{"op": op, "path": f"{at}/{part}/{OPEN}", "value": True} for part in ("spec", "status")]
        await kube.json_patch(CUSTOMRESOURCEDEFINITIONS, f"{resource.plural}.{resource.group}", operations)


@pytest.fixture
async def newer_world(world: TenantWorld) -> AsyncIterator[TenantWorld]:
    await patch_schema(world.kube, "add")
    yield world
    await patch_schema(world.kube, "remove")
    for resource in (TENANTS, DATABASESERVERS):
        await until_closed(world.kube, resource)


async def until_closed(kube: Kube, resource: Resource) -> None:
    """Wait until the API server refuses fields again, lest another test's are taken."""
    unknown = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "newer"}}
    for _ in range(100):
        try:
            await kube.apply(resource, {**unknown, "spec": {"future": "yes"}}, dry_run=True)
        except Invalid as error:
            if "future" in str(error):
                return
        await asyncio.sleep(0.1)
    raise AssertionError("the schema stayed open")


async def add_field(kube: Kube, resource: Resource, name: str, *, part: str = "spec") -> None:
    """Add a field of the newer API, as soon as the API server takes it."""
    for _ in range(100):
        subresource = "status" if part == "status" else None
        body = await kube.merge_patch(resource, name, {part: {"future": "yes"}}, subresource=subresource)
        if "future" in body[part]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the schema stayed closed")


async def test_a_tenant_that_cannot_be_read_says_so_once(newer_world: TenantWorld) -> None:
    world = newer_world
    await world.provision("acme")
    await add_field(world.kube, TENANTS, "acme")
    world.counted.clear()
    for _ in range(3):
        await world.reconcile_once("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "InvalidSpec")
    assert world.condition(tenant, "Stalled") == ("True", "InvalidSpec")
    assert "spec.future" in world.message(tenant)
    assert tenant["status"]["observedGeneration"] == tenant["metadata"]["generation"]
    assert sorted(world.writes()) == ["PATCH", "POST"]  # the status and one Event
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"future": None}})
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_a_status_that_cannot_be_read_is_written_anew(newer_world: TenantWorld) -> None:
    world = newer_world
    await world.provision("acme")
    for resource, name in ((TENANTS, "acme"), (DATABASESERVERS, "primary")):
        await add_field(world.kube, resource, name, part="status")
    await world.reconcile("acme")
    await world.reconcile_server()
    for body in (await world.tenant("acme"), await world.server()):
        assert "future" not in body["status"]
        assert (world.condition(body, "Ready") or ())[:1] == ("True",)


async def test_a_server_that_cannot_be_read_is_named_by_its_tenants(newer_world: TenantWorld) -> None:
    world = newer_world
    await world.provision("acme")
    await world.settle()
    await add_field(world.kube, DATABASESERVERS, "primary")
    assert await world.sweep() == {"acme"}
    await world.reconcile_server()
    assert world.condition(await world.server(), "Ready") == ("False", "InvalidSpec")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "RegistryUnavailable")
    assert "DatabaseServer primary cannot be read: spec.future" in world.message(tenant)
    world.counted.clear()
    await world.sweep()
    await world.reconcile_server()
    assert world.writes() == []
