"""A process that dies between the writes of a namespace leaves nothing that the next one does not put right."""

import pytest

from tenantry_crds import names as api
from tenantry_operator.clients.kube import NAMESPACES, SECRETS, TENANTS
from tenantry_operator.clients.resources import NAMESPACE_CHILDREN
from tenantry_testing.namespace_hands import remove_namespace
from tenantry_testing.tenant_crash import until_it_dies
from tenantry_testing.tenant_world import TenantWorld

NAMESPACE = {
    "quota": {"pods": "20"},
    "limits": {"default": {"cpu": "500m"}},
    "roleBindings": [{"role": "edit", "subjects": [{"kind": "User", "name": "jane"}]}],
}
STEPS = range(18)
"""More than a pass has writes and transactions."""


async def contents(world: TenantWorld) -> list[tuple[str, str]]:
    """Return kind and name of all that is in the namespace."""
    lists = [await world.kube.list(resource, namespace="acme") for resource in NAMESPACE_CHILDREN]
    return [(body["kind"], body["metadata"]["name"]) for bodies in lists for body in bodies]


WHOLE = [
    ("ResourceQuota", "tenantry"),
    ("LimitRange", "tenantry"),
    ("NetworkPolicy", "tenantry-default-deny"),
    ("RoleBinding", "tenantry-credentials"),
    ("RoleBinding", "tenantry-edit"),
]


@pytest.mark.parametrize("calls", STEPS)
async def test_provisioning_survives_a_crash(world: TenantWorld, calls: int) -> None:
    await world.apply_tenant("acme", namespace=NAMESPACE)
    await until_it_dies(world, "acme", calls)
    await world.restart()
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("True", "Provisioned"), tenant["status"]
    assert world.condition(tenant, "NamespaceReady") == ("True", "Provisioned")
    assert await contents(world) == WHOLE
    assert tenant["status"]["binding"]["namespace"] == "acme"
    world.login(await world.secret("acme-database", "acme")).close()
    assert await world.secret("acme-database") == {}
    await world.settle()


async def test_a_secret_moves_into_the_namespace_through_crashes(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await world.kube.get(SECRETS, "acme-database", namespace=world.settings.namespace)
    assert before is not None
    await world.apply_tenant("acme", namespace=NAMESPACE)
    died = 0
    for calls in STEPS:
        died += await until_it_dies(world, "acme", calls)
        await world.restart()
        if calls % 2:
            removed = [{"op": "add", "path": "/status", "value": {}}]
            await world.kube.json_patch(TENANTS, "acme", removed, subresource="status")
        held = [await world.secret("acme-database", place) for place in (world.settings.namespace, "acme")]
        assert any(held), "at any time there is one"
        world.login(held[1] or held[0]).close()
    assert died >= 5
    await world.reconcile("acme")
    after = await world.kube.get(SECRETS, "acme-database", namespace="acme")
    assert after is not None
    assert (after["data"], after["metadata"]["annotations"]) == (before["data"], before["metadata"]["annotations"])
    assert await world.secret("acme-database") == {}
    await world.settle()


@pytest.mark.parametrize("calls", range(3, 12))
async def test_what_was_half_made_goes_with_its_tenant(world: TenantWorld, calls: int) -> None:
    await world.apply_tenant("acme", namespace=NAMESPACE)
    await until_it_dies(world, "acme", calls)
    await world.restart()
    await world.leave("acme", "Delete")
    if await world.kube.get(NAMESPACES, "acme") is not None:
        await remove_namespace(world.kube, "acme")
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert await world.kube.get(NAMESPACES, "acme") is None
    assert world.names_on_server("acme") == set()


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_deletion_survives_crashes(world: TenantWorld, policy: str) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    changes = {"spec": {"deletionPolicy": policy, "deletionProtection": "Disabled"}}
    await world.kube.merge_patch(TENANTS, "acme", changes)
    await world.kube.delete(TENANTS, "acme")
    died = 0
    for calls in STEPS:
        if await world.kube.get(TENANTS, "acme") is not None:
            died += await until_it_dies(world, "acme", calls)
    assert died >= 5
    await world.restart()
    await world.reconcile("acme")
    left = await world.kube.get(NAMESPACES, "acme")
    assert left is not None
    if policy == "Delete":
        assert left["metadata"]["deletionTimestamp"]
        assert world.condition(await world.tenant("acme"), "Deleting") == ("True", "NamespaceTerminating")
        await remove_namespace(world.kube, "acme")
        await world.reconcile("acme")
    else:
        assert left["metadata"]["annotations"][api.ANNOTATION_STATE] == "released"
        assert await contents(world) == WHOLE
    assert await world.secret("acme-database", "acme") == {}
    assert await world.kube.get(TENANTS, "acme") is None
