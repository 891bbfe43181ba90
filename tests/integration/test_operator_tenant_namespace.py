"""A Tenant's namespace on a real API server: made, kept, retained, deleted; and never somebody else's."""

from typing import Any

import pytest

from tenantry_crds import names as api
from tenantry_operator.clients.kube import NAMESPACES, SECRETS, TENANTS, RawObject, Resource
from tenantry_operator.clients.resources import LIMITRANGES, NETWORKPOLICIES, RESOURCEQUOTAS, ROLEBINDINGS
from tenantry_testing.namespace_hands import edit_by_hand, remove_namespace
from tenantry_testing.tenant_world import TenantWorld

NAMESPACE: dict[str, Any] = {
    "quota": {"pods": "20", "requests.cpu": "2000m", "limits.memory": "1.5Gi", "count/deployments.apps": "1000"},
    "limits": {"default": {"cpu": "0.5"}, "max": {"cpu": "1000m", "memory": "1024Mi"}, "min": {"cpu": "1m"}},
    "roleBindings": [
        {"role": "edit", "subjects": [{"kind": "Group", "name": "acme-team"}]},
        {"role": "view", "subjects": [{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "ci"}]},
    ],
}
MADE: tuple[tuple[Resource, str], ...] = (
    (RESOURCEQUOTAS, "tenantry"),
    (LIMITRANGES, "tenantry"),
    (NETWORKPOLICIES, "tenantry-default-deny"),
    (ROLEBINDINGS, "tenantry-edit"),
    (ROLEBINDINGS, "tenantry-view"),
)
WAY_IN = (ROLEBINDINGS, "tenantry-credentials")


async def namespace(world: TenantWorld, name: str = "acme") -> RawObject:
    found = await world.kube.get(NAMESPACES, name)
    assert found is not None, f"there is no namespace {name}"
    return found


async def child(world: TenantWorld, resource: Resource, name: str) -> RawObject:
    found = await world.kube.get(resource, name, namespace="acme")
    assert found is not None, f"there is no {resource.kind} {name}"
    return found


async def secret_body(world: TenantWorld, place: str) -> RawObject:
    found = await world.kube.get(SECRETS, "acme-database", namespace=place)
    assert found is not None, f"there is no Secret in {place}"
    return found


async def test_a_tenant_gets_a_namespace_with_all_that_it_asks_for(world: TenantWorld) -> None:
    tenant = await world.provision("acme", namespace=NAMESPACE)
    assert world.condition(tenant, "NamespaceReady") == ("True", "Provisioned")
    assert tenant["status"]["effective"]["namespace"] == {
        "name": "acme", "networkPolicy": "DefaultDeny", "podSecurity": "restricted",
    }  # fmt: skip
    metadata = (await namespace(world))["metadata"]
    assert metadata["labels"][api.LABEL_TENANT] == "acme"
    assert metadata["annotations"][api.ANNOTATION_OWNER_UID] == tenant["metadata"]["uid"]
    assert "ownerReferences" not in metadata
    secure = {key: text for key, text in metadata["labels"].items() if key.startswith("pod-security.kubernetes.io/")}
    assert secure == {
        f"pod-security.kubernetes.io/{mode}{suffix}": text
        for mode in ("enforce", "warn", "audit")
        for suffix, text in (("", "restricted"), ("-version", "latest"))
    }
    quota = (await child(world, *MADE[0]))["spec"]["hard"]
    assert quota == {"pods": "20", "requests.cpu": "2", "limits.memory": "1536Mi", "count/deployments.apps": "1k"}
    limits = (await child(world, *MADE[1]))["spec"]["limits"]
    assert limits == [
        {
            "type": "Container",
            "default": {"cpu": "500m", "memory": "1Gi"},
            "defaultRequest": {"cpu": "500m", "memory": "1Gi"},
            "max": {"cpu": "1", "memory": "1Gi"},
            "min": {"cpu": "1m"},
        }
    ]
    policy = (await child(world, *MADE[2]))["spec"]
    assert (policy["podSelector"], policy["policyTypes"]) == ({}, ["Ingress", "Egress"])
    assert policy["ingress"] == [{"from": [{"podSelector": {}}]}]
    assert [[port["port"] for port in rule.get("ports", [])] for rule in policy["egress"]] == [
        [], [53, 53], [world.postgres.port],
    ]  # fmt: skip
    view = await child(world, *MADE[4])
    assert view["roleRef"]["name"] == "view"
    assert [(one["kind"], one["name"], one.get("namespace")) for one in view["subjects"]] == [
        ("User", "jane", None), ("ServiceAccount", "ci", "acme"),
    ]  # fmt: skip


async def test_it_costs_one_write_for_each_object_and_none_at_rest(world: TenantWorld) -> None:
    await world.apply_tenant("acme", namespace=NAMESPACE)
    world.counted.clear()
    await world.reconcile("acme")
    # Finalizer, Secret, status, an Event; the namespace, the way to the Secret, and the objects that were asked for.
    assert sorted(world.writes()) == ["PATCH"] * 2 + ["POST"] * (2 + 2 + len(MADE))
    world.counted.clear()
    await world.refresh()
    await world.tenants.reconcile(next(iter(world.cache.keys("Tenant"))))
    assert world.writes() == []
    await world.settle()
    assert await world.swept() == set()
    assert world.writes() == []


async def test_a_change_of_the_spec_is_carried_out_and_what_is_not_wanted_any_more_goes(world: TenantWorld) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    changed = {"quota": None, "limits": None, "networkPolicy": "None", "podSecurity": "baseline", "roleBindings": []}
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"namespace": changed}})
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "NamespaceReady") == ("True", "Provisioned")
    for resource, name in MADE:
        assert await world.kube.get(resource, name, namespace="acme") is None
    assert (await namespace(world))["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"


EDITS: dict[str, tuple[Resource, str, dict[str, Any]]] = {
    "pod security": (NAMESPACES, "acme", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}),
    "tenant's label": (NAMESPACES, "acme", {"metadata": {"labels": {api.LABEL_TENANT: None}}}),
    "quota raised": (*MADE[0], {"spec": {"hard": {"pods": "999"}}}),
    "quota extended": (*MADE[0], {"spec": {"hard": {"services": "9"}}}),
    "limits removed": (*MADE[1], {"spec": {"limits": []}}),
    "policy narrowed": (*MADE[2], {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
    "policy opened": (*MADE[2], {"spec": {"egress": [{}]}}),
    "policy without label": (*MADE[2], {"metadata": {"labels": None}}),
    "subject exchanged": (
        *MADE[3],
        {"subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]},
    ),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_a_hand_edit_is_found_by_the_sweep_and_put_right(world: TenantWorld, edit: str) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    await world.settle()
    resource, name, change = EDITS[edit]
    where = None if resource is NAMESPACES else "acme"
    before = await world.kube.get(resource, name, namespace=where)
    assert before is not None
    await edit_by_hand(world.kube, resource, name, change, namespace=where)
    assert await world.sweep() == {"acme"}
    after = await world.kube.get(resource, name, namespace=where)
    assert after is not None
    assert (after.get("spec"), after.get("subjects")) == (before.get("spec"), before.get("subjects"))
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    await world.settle()


@pytest.mark.parametrize(("resource", "name"), [*MADE, WAY_IN], ids=str)
async def test_an_object_that_is_deleted_comes_back(world: TenantWorld, resource: Resource, name: str) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    await world.settle()
    await world.kube.delete(resource, name, namespace="acme")
    assert await world.sweep() == {"acme"}
    await child(world, resource, name)
    assert (await world.events("acme"))[-1][0] == "Repaired"


async def test_a_binding_to_another_role_is_made_anew(world: TenantWorld) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    binding = await child(world, *MADE[3])
    await world.kube.delete(ROLEBINDINGS, "tenantry-edit", namespace="acme")
    metadata = {"name": "tenantry-edit", "namespace": "acme"}
    reference = {**binding["roleRef"], "name": "cluster-admin"}
    await world.kube.create(ROLEBINDINGS, {**binding, "metadata": metadata, "roleRef": reference})
    await world.reconcile_once("acme")
    assert (await child(world, *MADE[3]))["roleRef"]["name"] == "edit"


async def test_what_others_have_in_the_namespace_is_left_alone(world: TenantWorld) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    theirs = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}
    made = await world.kube.create(NETWORKPOLICIES, {**theirs, "metadata": {"name": "theirs", "namespace": "acme"}})
    await world.kube.merge_patch(NAMESPACES, "acme", {"metadata": {"labels": {"team": "blue"}}})
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"namespace": {"podSecurity": "privileged"}}})
    await world.reconcile("acme")
    assert (await child(world, NETWORKPOLICIES, "theirs"))["metadata"] == made["metadata"]
    assert (await namespace(world))["metadata"]["labels"]["team"] == "blue"


async def test_a_quota_that_is_counted_asks_for_no_pass(world: TenantWorld) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    await world.settle()
    counted = {"status": {"hard": {"pods": "20"}, "used": {"pods": "3"}}}
    await world.kube.merge_patch(RESOURCEQUOTAS, "tenantry", counted, namespace="acme", subresource="status")
    assert await world.swept() == set()


async def test_a_namespace_of_somebody_else_is_not_touched_and_the_database_is_made(world: TenantWorld) -> None:
    labels = {api.LABEL_TENANT: "acme"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme", "labels": labels}}
    made = await world.kube.create(NAMESPACES, body)
    await world.apply_tenant("acme", namespace=NAMESPACE)
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "NamespaceReady") == ("False", "NotOurs")
    assert world.condition(tenant, "Ready") == ("False", "NotOurs")
    assert world.condition(tenant, "DatabaseReady") == ("True", "Provisioned")
    assert world.condition(tenant, "CredentialsReady") == ("False", "NotOurs")
    assert "binding" not in tenant["status"]
    assert await world.secret("acme-database") == {}, "nor is it made elsewhere"
    assert "namespace acme exists" in world.message(tenant, "NamespaceReady")
    await world.leave("acme", "Delete")
    assert await world.kube.get(TENANTS, "acme") is None
    assert (await namespace(world))["metadata"] == made["metadata"]
    for resource, name in (*MADE, WAY_IN, (SECRETS, "acme-database")):
        assert await world.kube.get(resource, name, namespace="acme") is None


async def test_a_foreign_namespace_that_goes_makes_room(world: TenantWorld) -> None:
    await world.kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme"}})
    await world.apply_tenant("acme", namespace={})
    await world.reconcile("acme")
    assert await world.kube.get(NETWORKPOLICIES, "tenantry-default-deny", namespace="acme") is None
    await remove_namespace(world.kube, "acme")
    await world.settle()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "NamespaceReady") == ("True", "Provisioned")
    assert world.condition(tenant, "CredentialsReady") == ("True", "Issued")
    world.login(await world.secret("acme-database", "acme")).close()
    assert "SecretLost" not in [reason for reason, _ in await world.events("acme")], "there was none before"


async def test_two_tenants_cannot_have_the_same_namespace(world: TenantWorld) -> None:
    await world.provision("acme", namespace={"name": "shared"})
    await world.apply_tenant("globex", namespace={"name": "shared"})
    await world.reconcile("globex")
    assert world.condition(await world.tenant("globex"), "NamespaceReady") == ("False", "NotOurs")
    assert (await namespace(world, "shared"))["metadata"]["labels"][api.LABEL_TENANT] == "acme"


async def test_a_quota_that_the_api_server_refuses_stops_nothing_else(world: TenantWorld) -> None:
    await world.apply_tenant("acme", namespace={**NAMESPACE, "quota": {"no such thing": "1"}})
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "NamespaceReady") == ("False", "InvalidSpec")
    assert world.condition(tenant, "Stalled") == ("True", "InvalidSpec")
    assert world.condition(tenant, "DatabaseReady") == ("True", "Provisioned")
    assert "ResourceQuota tenantry" in world.message(tenant, "NamespaceReady")
    for resource, name in MADE[1:]:
        await child(world, resource, name)
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"namespace": {"quota": {"no such thing": None}}}})
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_retain_keeps_the_namespace_for_the_next_of_the_name(world: TenantWorld) -> None:
    first = await world.provision("acme", namespace=NAMESPACE)
    made = await namespace(world)
    await world.leave("acme", "Retain")
    assert await world.secret("acme-database", "acme") == {}
    kept = await namespace(world)
    assert kept["metadata"]["uid"] == made["metadata"]["uid"]
    assert kept["metadata"]["annotations"][api.ANNOTATION_STATE] == "released"
    for resource, name in MADE:
        await child(world, resource, name)
    second = await world.provision("acme", namespace=NAMESPACE)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    taken = (await namespace(world))["metadata"]
    assert taken["annotations"][api.ANNOTATION_OWNER_UID] == second["metadata"]["uid"]
    assert api.ANNOTATION_STATE not in taken["annotations"]


async def test_delete_waits_until_the_namespace_is_gone_and_says_what_blocks_it(world: TenantWorld) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    await world.leave("acme", "Delete")
    assert (await namespace(world))["metadata"]["deletionTimestamp"]
    blocked = {
        "type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain",
        "message": "Some resources are remaining: pods. has 1 resource instances",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    await world.kube.merge_patch(NAMESPACES, "acme", {"status": {"conditions": [blocked]}}, subresource="status")
    result = await world.reconcile("acme", passes=1)
    assert result.failed, "it is tried again"
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Deleting") == ("True", "NamespaceTerminating")
    assert "pods. has 1 resource instances" in world.message(tenant, "Deleting")
    assert world.names_on_server("acme") == set(), "the data does not wait for it"
    await remove_namespace(world.kube, "acme")
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None


async def test_a_namespace_that_somebody_deletes_is_made_anew(world: TenantWorld) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    await world.kube.delete(NAMESPACES, "acme")
    await world.reconcile("acme", passes=1)
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "NamespaceReady") == ("False", "NamespaceTerminating")
    assert world.condition(tenant, "DatabaseReady") == ("True", "Provisioned")
    await remove_namespace(world.kube, "acme")
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "NamespaceReady") == ("True", "Provisioned")
    for resource, name in MADE:
        await child(world, resource, name)


async def test_a_namespace_can_be_added_later(world: TenantWorld) -> None:
    tenant = await world.provision("acme")
    assert world.condition(tenant, "NamespaceReady") is None
    assert await world.kube.get(NAMESPACES, "acme") is None
    before = await secret_body(world, world.settings.namespace)
    await world.apply_tenant("acme", namespace={"name": "acme-eu"})
    world.counted.clear()
    await world.reconcile("acme")
    # The namespace, its policy and the way in, the Secret and an Event; the old Secret; the status.
    assert sorted(world.writes()) == ["DELETE", "PATCH"] + ["POST"] * 5
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "NamespaceReady") == ("True", "Provisioned")
    assert tenant["status"]["binding"] == {"name": "acme-database", "namespace": "acme-eu"}
    await namespace(world, "acme-eu")
    after = await secret_body(world, "acme-eu")
    assert (after["data"], after["metadata"]["annotations"]) == (before["data"], before["metadata"]["annotations"])
    assert await world.secret("acme-database") == {}
    world.login(await world.secret("acme-database", "acme-eu")).close()
    assert not {"Rotated", "SecretLost"} & {reason for reason, _ in await world.events("acme")}
    await world.settle()


async def test_status_may_be_lost(world: TenantWorld) -> None:
    await world.provision("acme", namespace=NAMESPACE)
    await world.kube.json_patch(TENANTS, "acme", [{"op": "remove", "path": "/status"}], subresource="status")
    world.counted.clear()
    await world.reconcile_once("acme")
    assert world.writes() == ["PATCH"]
    assert world.condition(await world.tenant("acme"), "NamespaceReady") == ("True", "Provisioned")
