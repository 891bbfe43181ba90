"""The Secret of a Tenant with a namespace: kept in it, found by turns, and never somebody else's."""

from typing import Any

import psycopg
import pytest

from tenantry_crds import names as api
from tenantry_operator.clients.kube import NAMESPACES, SECRETS, TENANTS, RawObject
from tenantry_operator.clients.resources import NETWORKPOLICIES, ROLEBINDINGS
from tenantry_operator.reconcile import tenant_secrets
from tenantry_testing.namespace_hands import edit_by_hand, remove_namespace
from tenantry_testing.tenant_world import TenantWorld

NAME = "acme-database"


async def secret_body(world: TenantWorld, namespace: str = "acme") -> RawObject:
    found = await world.kube.get(SECRETS, NAME, namespace=namespace)
    assert found is not None, f"there is no Secret in {namespace}"
    return found


def told(events: list[tuple[str, str]]) -> set[str]:
    return {reason for reason, _ in events}


async def provisioned(world: TenantWorld) -> dict[str, str]:
    """Make a level Tenant with a namespace; return its Secret's data."""
    await world.provision("acme", namespace={})
    await world.settle()
    return await world.secret(NAME, "acme")


async def test_it_is_in_the_namespace_and_nowhere_else(world: TenantWorld) -> None:
    tenant = await world.provision("acme", namespace={})
    assert tenant["status"]["binding"] == {"name": NAME, "namespace": "acme"}
    assert await world.secret(NAME) == {}
    world.login(await world.secret(NAME, "acme")).close()
    binding = await world.kube.get(ROLEBINDINGS, "tenantry-credentials", namespace="acme")
    assert binding is not None
    assert binding["roleRef"]["name"] == "tenantry-tenant-secrets"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "tenantry-operator", "namespace": world.settings.namespace}
    ]


async def test_at_rest_it_is_read_once_a_sweep_and_nothing_is_written(world: TenantWorld) -> None:
    await provisioned(world)
    await world.refresh()
    world.counted.clear()
    assert [key async for key in world.tenants.sweep()] == []
    assert (world.writes(), len(world.counted)) == ([], 2), "the breaker and the Secret"


@pytest.mark.parametrize("way", ["deleted", "edited", "without label"])
async def test_what_a_hand_does_to_it_is_found_by_the_sweep(world: TenantWorld, way: str) -> None:
    before = await provisioned(world)
    if way == "deleted":
        await world.kube.delete(SECRETS, NAME, namespace="acme")
    else:
        label: dict[str, Any] = {"metadata": {"labels": {api.LABEL_TENANT: None}}}
        change = {"stringData": {"host": "evil.example"}} if way == "edited" else label
        await edit_by_hand(world.kube, SECRETS, NAME, change, namespace="acme")
    assert await world.sweep() == {"acme"}
    after = await world.secret(NAME, "acme")
    assert {**after, "password": "", "uri": ""} == {**before, "password": "", "uri": ""}
    assert (after["password"] == before["password"]) == (way != "deleted")
    assert ("SecretLost" in told(await world.events("acme"))) == (way == "deleted")
    world.login(after).close()
    await world.settle()


async def test_many_are_read_in_turns(world: TenantWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_secrets, "TURN", 1)
    for name in ("acme", "globex", "initech"):
        await world.provision(name, namespace={})
    await world.settle()
    await world.kube.delete(SECRETS, "globex-database", namespace="globex")
    await world.refresh()
    for _ in range(3):
        world.counted.clear()
        found = [key.name async for key in world.tenants.sweep()]
        assert len(world.counted) == 2, "the breaker and one Secret"
        if found:
            break
    assert found == ["globex"]
    await world.reconcile("globex")
    world.login(await world.secret("globex-database", "globex")).close()


async def test_a_process_that_resumes_finds_what_was_done_to_it_meanwhile(world: TenantWorld) -> None:
    before = await provisioned(world)
    await world.restart()
    await world.refresh()
    await world.tenants._resume()
    assert world.tenants._sweep.is_settled("acme"), "it is believed until its turn"
    await world.kube.delete(SECRETS, NAME, namespace="acme")
    assert await world.sweep() == {"acme"}
    assert (await world.secret(NAME, "acme"))["password"] != before["password"]


@pytest.mark.parametrize("namespace", ["", "acme-eu"])
async def test_a_foreign_secret_in_its_place_is_left_as_it_is(world: TenantWorld, namespace: str) -> None:
    """Be the Tenant new, or its Secret on the way into the namespace."""
    place = namespace or "acme"
    first = await world.provision("first", namespace={"name": place}, credentials={"secretName": "other"})
    theirs = {"metadata": {"name": NAME, "namespace": place}, "stringData": {"password": "theirs"}}
    made = await world.kube.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", **theirs})
    await world.leave("first", "Retain")
    body = await world.kube.get(NAMESPACES, place)
    assert body is not None
    assert body["metadata"]["annotations"][api.ANNOTATION_OWNER_UID] == first["metadata"]["uid"]
    # The namespace passes to the Tenant by a hand that knows what it does.
    labels = {"metadata": {"labels": {api.LABEL_TENANT: "acme"}}}
    await world.kube.merge_patch(NAMESPACES, place, labels)
    kept = None
    if namespace:
        await world.provision("acme")
        kept = await world.secret(NAME)
    await world.apply_tenant("acme", namespace={"name": place})
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "NotOurs")
    assert f"Secret {place}/{NAME} exists" in world.message(tenant, "CredentialsReady")
    assert (await secret_body(world, place))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    if kept is not None:
        assert await world.secret(NAME) == kept
        world.login(kept).close()


async def test_beside_a_namespace_of_somebody_else_it_lives_on_where_it_was(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await world.secret(NAME)
    await world.kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme"}})
    await world.apply_tenant("acme", namespace={})
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "NamespaceReady") == ("False", "NotOurs")
    assert world.condition(tenant, "CredentialsReady") == ("True", "Issued")
    assert tenant["status"]["binding"]["namespace"] == world.settings.namespace
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})
    await world.reconcile("acme")
    rotated = await world.secret(NAME)
    assert rotated["username"] != before["username"]
    await remove_namespace(world.kube, "acme")
    await world.settle()
    assert await world.secret(NAME, "acme") == rotated
    assert await world.secret(NAME) == {}


async def test_a_namespace_whose_mark_is_taken_keeps_the_secret_as_it_is(world: TenantWorld) -> None:
    before = await provisioned(world)
    mark = {"metadata": {"annotations": {api.ANNOTATION_OWNER_UID: None}}}
    held = await secret_body(world)
    await world.kube.merge_patch(NAMESPACES, "acme", mark)
    rotate = {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}}
    await world.kube.merge_patch(TENANTS, "acme", rotate)
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "CredentialsReady") == ("False", "NotOurs")
    assert (await secret_body(world))["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]
    world.login(before).close()
    mark["metadata"]["annotations"][api.ANNOTATION_OWNER_UID] = (await world.tenant("acme"))["metadata"]["uid"]  # type: ignore[assignment]
    await world.kube.merge_patch(NAMESPACES, "acme", mark)
    await world.settle()
    after = await world.secret(NAME, "acme")
    assert after["username"] != before["username"], "then it is rotated"
    world.login(after).close()


@pytest.mark.parametrize("hand", ["deleted", "emptied"])
async def test_a_way_in_that_is_taken_is_made_again_before_the_secret_is_judged(world: TenantWorld, hand: str) -> None:
    before = await provisioned(world)
    if hand == "deleted":
        await world.kube.delete(ROLEBINDINGS, "tenantry-credentials", namespace="acme")
    else:
        await edit_by_hand(world.kube, ROLEBINDINGS, "tenantry-credentials", {"subjects": []}, namespace="acme")
    assert await world.sweep() == {"acme"}
    assert await world.secret(NAME, "acme") == before
    assert "SecretLost" not in told(await world.events("acme"))
    binding = await world.kube.get(ROLEBINDINGS, "tenantry-credentials", namespace="acme")
    assert binding is not None
    assert len(binding["subjects"]) == 1
    await world.settle()


async def test_retain_drops_it_also_when_the_way_in_was_taken(world: TenantWorld) -> None:
    await provisioned(world)
    await world.kube.delete(ROLEBINDINGS, "tenantry-credentials", namespace="acme")
    await world.leave("acme", "Retain")
    assert await world.kube.get(TENANTS, "acme") is None
    assert await world.secret(NAME, "acme") == {}
    assert await world.kube.get(NAMESPACES, "acme") is not None


async def test_retain_takes_access_though_somebody_keeps_us_from_the_secret(world: TenantWorld) -> None:
    before = await provisioned(world)
    binding = await world.kube.get(ROLEBINDINGS, "tenantry-credentials", namespace="acme")
    assert binding is not None
    await world.kube.delete(ROLEBINDINGS, "tenantry-credentials", namespace="acme")
    kept = {"name": "tenantry-credentials", "namespace": "acme", "finalizers": ["example.com/held"]}
    role = {**binding["roleRef"], "name": "view"}
    await world.kube.create(ROLEBINDINGS, binding | {"metadata": kept, "roleRef": role})
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"deletionProtection": "Disabled"}})
    await world.kube.delete(TENANTS, "acme")
    for _ in range(2):
        await world.reconcile("acme")
    with pytest.raises(psycopg.OperationalError):
        world.login(before)
    tenant = await world.tenant("acme")
    assert "finalizers: example.com/held" in world.message(tenant, "Deleting")
    assert await world.secret(NAME, "acme") == before
    free = {"metadata": {"finalizers": None}}
    await world.kube.merge_patch(ROLEBINDINGS, "tenantry-credentials", free, namespace="acme")
    for _ in range(2):
        await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert await world.secret(NAME, "acme") == {}


async def test_a_foreign_secret_does_not_keep_the_tenant_from_repair(world: TenantWorld) -> None:
    await provisioned(world)
    await world.kube.delete(SECRETS, NAME, namespace="acme")
    theirs = {"metadata": {"name": NAME, "namespace": "acme"}, "stringData": {"password": "theirs"}}
    await world.kube.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", **theirs})
    await world.kube.delete(NETWORKPOLICIES, "tenantry-default-deny", namespace="acme")
    world.execute("GRANT USAGE ON SCHEMA s_acme TO PUBLIC")
    await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "NotOurs")
    assert world.condition(tenant, "CredentialsReady") == ("False", "NotOurs")
    assert world.condition(tenant, "DatabaseReady") == ("True", "Provisioned")
    assert await world.kube.get(NETWORKPOLICIES, "tenantry-default-deny", namespace="acme") is not None
    assert world.fetch("SELECT has_schema_privilege('public', 's_acme', 'USAGE')") == [(False,)]
    await world.reconcile("acme")
    await world.kube.delete(SECRETS, NAME, namespace="acme")
    for _ in range(2):
        await world.sweep()
    world.login(await world.secret(NAME, "acme")).close()
    await world.settle()


async def test_it_is_suspended_archived_and_rotated_where_it_is(world: TenantWorld) -> None:
    before = await provisioned(world)
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": "Suspended"}})
    await world.reconcile("acme")
    assert await world.secret(NAME, "acme") == before
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": "Archived"}})
    await world.reconcile("acme")
    assert await world.secret(NAME, "acme") == {}
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": "Active"}})
    await world.reconcile("acme")
    back = await world.secret(NAME, "acme")
    world.login(back).close()
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})
    await world.reconcile("acme")
    rotated = await world.secret(NAME, "acme")
    assert rotated["username"] != back["username"]
    world.login(rotated).close()
    await world.settle()


@pytest.mark.parametrize("released", [True, False])
async def test_after_an_orphaning_it_is_taken_over_with_a_released_namespace(
    world: TenantWorld, released: bool
) -> None:
    before = await provisioned(world)
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"finalizers": None}})
    await world.kube.delete(TENANTS, "acme")
    if released:
        await world.kube.merge_patch(
            NAMESPACES, "acme", {"metadata": {"annotations": {api.ANNOTATION_STATE: "released"}}}
        )
    await world.apply_tenant("acme", namespace={}, adoptionPolicy="Force")
    await world.reconcile("acme")
    if not released:
        tenant = await world.tenant("acme")
        assert world.condition(tenant, "DatabaseReady") == ("True", "Provisioned")
        assert world.condition(tenant, "CredentialsReady") == ("False", "NotOurs")
        assert await world.secret(NAME, "acme") == before
        world.login(before).close()
        return
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("True", "Provisioned"), tenant["status"]
    assert await world.secret(NAME, "acme") == before
    assert (await secret_body(world))["metadata"]["annotations"][api.ANNOTATION_OWNER_UID] == tenant["metadata"]["uid"]


async def test_another_name_is_another_secret_in_the_same_namespace(world: TenantWorld) -> None:
    await provisioned(world)
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"credentials": {"secretName": "renamed"}}})
    await world.reconcile("acme")
    assert await world.secret(NAME, "acme") == {}
    world.login(await world.secret("renamed", "acme")).close()


@pytest.mark.parametrize("way", ["immutable", "lingering", "another type"])
async def test_one_that_nobody_can_change_is_made_anew_and_keeps_no_login(world: TenantWorld, way: str) -> None:
    """Whoever may edit it may also have it refuse every other edit."""
    before = await provisioned(world)
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})
    await world.reconcile("acme")
    rotated = await world.secret(NAME, "acme")
    world.login(before).close()
    held = await secret_body(world)
    planted = {key: held["metadata"][key] for key in ("name", "namespace", "annotations", "labels")}
    planted["finalizers"] = ["example.com/linger"] if way == "lingering" else []
    kind = "Opaque" if way == "another type" else held["type"]
    body = {**held, "metadata": planted, "type": kind, "immutable": way != "another type"}
    await world.kube.delete(SECRETS, NAME, namespace="acme")
    await world.kube.create(SECRETS, {**body, "data": {**held["data"], "extra": "MQ=="}})
    await world.apply_tenant("acme", namespace={}, credentials={"rotation": {"overlap": "0s"}})
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")
    assert await world.secret(NAME, "acme") == rotated
    after = await secret_body(world)
    assert (after["type"], after.get("immutable")) == (held["type"], None)
    world.login(rotated).close()
    assert world.fetch("SELECT FROM pg_roles WHERE rolname = %s", before["username"]) == []
    await world.settle()
