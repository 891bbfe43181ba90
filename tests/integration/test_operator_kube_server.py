"""The client on a real API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_operator.clients.kube import (
    DEPLOYMENTS,
    EVENTS,
    HTTPROUTES,
    NAMESPACES,
    SECRETS,
    TENANTS,
    AlreadyExists,
    Conflict,
    Invalid,
    Kube,
    NotFound,
    RawObject,
    load_configuration,
)


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    async with Kube(await load_configuration(control_plane.kubeconfig), instance="pod-a") as kube:
        yield kube


@pytest.fixture
async def namespace(kube: Kube) -> str:
    name = f"kube-{uuid4().hex[:8]}"
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def secret(namespace: str, name: str = "s", **labels: str) -> RawObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "stringData": {"password": "hunter2"},
    }


def deployment(namespace: str, **spec: object) -> RawObject:
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


async def test_an_object_is_made_once_read_and_deleted(kube: Kube, namespace: str) -> None:
    made = await kube.create(SECRETS, secret(namespace))
    assert made["metadata"]["resourceVersion"]
    with pytest.raises(AlreadyExists):
        await kube.create(SECRETS, secret(namespace))
    assert await kube.get(SECRETS, "s", namespace=namespace) == made
    assert await kube.delete(SECRETS, "s", namespace=namespace)
    assert not await kube.delete(SECRETS, "s", namespace=namespace)
    assert await kube.get(SECRETS, "s", namespace=namespace) is None


async def test_an_object_of_another_uid_is_not_deleted(kube: Kube, namespace: str) -> None:
    await kube.create(SECRETS, secret(namespace))
    with pytest.raises(Conflict):
        await kube.delete(SECRETS, "s", namespace=namespace, uid=str(uuid4()))
    assert await kube.get(SECRETS, "s", namespace=namespace)


async def test_a_list_is_by_label_and_says_what_its_items_are(kube: Kube, namespace: str) -> None:
    await kube.create(SECRETS, secret(namespace, "a", team="red"))
    await kube.create(SECRETS, secret(namespace, "b", team="blue"))
    found = await kube.list(SECRETS, namespace=namespace, labels={"team": "red"})
    assert [(item["kind"], item["apiVersion"], item["metadata"]["name"]) for item in found] == [("Secret", "v1", "a")]
    assert {item["metadata"]["name"] for item in await kube.list(SECRETS, namespace=namespace, labels="team")} == {
        "a",
        "b",
    }


async def test_a_list_of_metadata_brings_no_secret(kube: Kube, namespace: str) -> None:
    await kube.create(SECRETS, secret(namespace))
    (item,) = await kube.list(SECRETS, namespace=namespace, metadata_only=True)
    assert item["metadata"]["name"] == "s"
    assert "data" not in item


async def test_a_type_that_the_cluster_does_not_have_has_no_objects(kube: Kube) -> None:
    assert await kube.list(HTTPROUTES) == []
    assert await kube.get(HTTPROUTES, "a", namespace="default") is None


async def test_a_stale_replacement_is_refused(kube: Kube, namespace: str) -> None:
    made = await kube.create(SECRETS, secret(namespace))
    await kube.replace(SECRETS, {**made, "stringData": {"password": "new"}})
    with pytest.raises(Conflict):
        await kube.replace(SECRETS, {**made, "stringData": {"password": "newer"}})


async def test_an_apply_is_ours_by_name_and_may_be_tried_without_effect(kube: Kube, namespace: str) -> None:
    tried = await kube.apply(DEPLOYMENTS, deployment(namespace), dry_run=True)
    assert tried["spec"]["template"]
    assert await kube.get(DEPLOYMENTS, "d", namespace=namespace) is None
    made = await kube.apply(DEPLOYMENTS, deployment(namespace))
    assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["tenantry"]


async def test_an_unknown_field_in_an_apply_is_invalid(kube: Kube, namespace: str) -> None:
    with pytest.raises(Invalid, match="unknownField"):
        await kube.apply(DEPLOYMENTS, deployment(namespace, unknownField=1))


async def test_a_wrong_value_names_its_field(kube: Kube, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"spec\.replicas"):
        await kube.create(DEPLOYMENTS, deployment(namespace, replicas=-1))


async def test_replicas_are_set_by_scaling_and_an_apply_leaves_them(kube: Kube, namespace: str) -> None:
    await kube.apply(DEPLOYMENTS, deployment(namespace))
    await kube.scale(DEPLOYMENTS, "d", 3, namespace=namespace)
    again = await kube.apply(DEPLOYMENTS, deployment(namespace, revisionHistoryLimit=2))
    assert again["spec"]["replicas"] == 3


async def test_patches_of_a_subresource(kube: Kube) -> None:
    name = f"t{uuid4().hex[:8]}"
    tenant = {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"displayName": "T", "isolation": "Schema", "deletionProtection": "Disabled"},
    }
    made = await kube.create(TENANTS, tenant)
    assert made["status"] == {"observedGeneration": -1}
    operations = [{"op": "add", "path": "/status/observedGeneration", "value": 1}]
    patched = await kube.json_patch(TENANTS, name, operations, subresource="status")
    assert patched["status"]["observedGeneration"] == 1
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": "1"}
    with pytest.raises(Invalid):
        await kube.json_patch(TENANTS, name, [test, *operations], subresource="status")
    merged = await kube.merge_patch(TENANTS, name, {"metadata": {"labels": {"a": "b"}}})
    assert merged["metadata"]["labels"] == {"a": "b"}
    with pytest.raises(NotFound):
        await kube.merge_patch(TENANTS, "none-such", {})
    await kube.delete(TENANTS, name)


async def test_an_event_says_who_about_what_and_why(kube: Kube, namespace: str) -> None:
    about = await kube.create(SECRETS, secret(namespace))
    await kube.event(about=about, type="Normal", reason="Repaired", message="m" * 3000, action="Repair")
    (event,) = await kube.list(EVENTS, namespace=namespace)
    assert event["regarding"]["uid"] == about["metadata"]["uid"]
    assert (event["reason"], event["type"], event["reportingInstance"]) == ("Repaired", "Normal", "pod-a")
    assert len(event["note"]) == 1024


async def test_an_event_about_an_object_without_a_namespace_is_in_the_default_one(kube: Kube, namespace: str) -> None:
    about = await kube.get(NAMESPACES, namespace)
    assert about is not None
    await kube.event(
        about={"apiVersion": "v1", "kind": "Namespace", **about}, type="Warning", reason="R", message="m", action="A"
    )
    events = await kube.list(EVENTS, namespace="default")
    assert any(event["regarding"]["name"] == namespace for event in events)


async def test_the_version_is_told(kube: Kube) -> None:
    assert (await kube.version()).startswith("v1.")


def open_sockets() -> set[str]:
    """The sockets of this process."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(descriptor.readlink()))
    return {one for one in found if one.startswith("socket:")}


@pytest.mark.parametrize("given_up_after", [0.0, 0.005, 0.01, 0.02])
async def test_what_was_given_up_midway_is_closed_with_the_client(
    control_plane: ControlPlane, given_up_after: float
) -> None:
    before = open_sockets()
    async with Kube(await load_configuration(control_plane.kubeconfig)) as kube:
        requests = [asyncio.create_task(kube.list(NAMESPACES)) for _ in range(12)]
        await asyncio.wait(requests, timeout=given_up_after)
        for one in requests:
            one.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
    assert open_sockets() <= before
