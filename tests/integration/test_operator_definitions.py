"""An operator that notices a definition older than itself, on a real API server."""

import copy
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tenantry_cluster.controlplane import ControlPlane
from tenantry_cluster.waiting import wait_until
from tenantry_operator.clients.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    EVENTS,
    NAMESPACES,
    AlreadyExists,
    Kube,
    RawObject,
    load_configuration,
)
from tenantry_operator.metrics import Metrics
from tenantry_operator.reconcile.definitions import Definitions
from tenantry_testing.operator_process import OperatorProcess

NAME = "servicedeployments.tenantry.dev"
NAMESPACE = "definitions-test"
SECONDS = 60.0


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    async with Kube(await load_configuration(control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
async def older(kube: Kube) -> AsyncIterator[str]:
    """The definition of ServiceDeployments without two fields, as of an older chart; put right afterwards."""
    whole = await kube.get(CUSTOMRESOURCEDEFINITIONS, NAME)
    assert whole is not None
    changed = copy.deepcopy(whole)
    properties = schema(changed)["properties"]
    del properties["spec"]["properties"]["progressDeadlineSeconds"]
    del properties["status"]["properties"]["history"]
    changed["metadata"]["labels"]["app.kubernetes.io/version"] = "0.0.9"
    await kube.replace(CUSTOMRESOURCEDEFINITIONS, changed)
    try:
        yield NAME
    finally:
        await restore(kube, whole)
        for event in await told(kube):
            await kube.delete(EVENTS, event["metadata"]["name"], namespace="default")


async def restore(kube: Kube, whole: RawObject) -> None:
    now = await kube.get(CUSTOMRESOURCEDEFINITIONS, NAME)
    assert now is not None
    version = now["metadata"]["resourceVersion"]
    body = {**whole, "metadata": {**whole["metadata"], "resourceVersion": version}}
    await kube.replace(CUSTOMRESOURCEDEFINITIONS, body)


def schema(body: RawObject) -> dict[str, Any]:
    found: dict[str, Any] = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


async def told(kube: Kube) -> list[RawObject]:
    """The Events about the definition, oldest first."""
    found = [one for one in await kube.list(EVENTS, namespace="default") if one["regarding"].get("name") == NAME]
    return sorted(found, key=lambda one: str(one["eventTime"]))


def outdated(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("tenantry_crd_outdated", {"crd": name})


async def test_definitions_of_this_version_are_well(kube: Kube) -> None:
    metrics = Metrics()
    assert not await Definitions(kube, metrics).look()
    assert outdated(metrics, NAME) == 0
    assert await told(kube) == []


async def test_an_older_definition_is_told_by_log_metric_and_one_event(
    kube: Kube, older: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    definitions = Definitions(kube, metrics)
    with caplog.at_level(logging.ERROR):
        assert await definitions.look(), "it looks again soon"
        assert await definitions.look()
    assert outdated(metrics, older) == 1
    assert outdated(metrics, "tenants.tenantry.dev") == 0
    assert [record.message for record in caplog.records] == ["a definition is older than this operator"] * 2
    (event,) = await told(kube)
    assert (event["type"], event["reason"]) == ("Warning", "CrdOutdated")
    assert "is of version 0.0.9" in event["note"]
    assert ".spec.progressDeadlineSeconds, .status.history" in event["note"]


async def test_an_upgraded_definition_is_noticed(kube: Kube, control_plane: ControlPlane) -> None:
    metrics = Metrics()
    definitions = Definitions(kube, metrics)
    whole = await kube.get(CUSTOMRESOURCEDEFINITIONS, NAME)
    assert whole is not None
    changed = copy.deepcopy(whole)
    del schema(changed)["properties"]["status"]["properties"]["history"]
    await kube.replace(CUSTOMRESOURCEDEFINITIONS, changed)
    try:
        assert await definitions.look()
        assert outdated(metrics, NAME) == 1
    finally:
        await restore(kube, whole)
    assert not await definitions.look()
    assert outdated(metrics, NAME) == 0
    for event in await told(kube):
        await kube.delete(EVENTS, event["metadata"]["name"], namespace="default")


async def test_a_running_operator_looks_at_its_start(
    kube: Kube, control_plane: ControlPlane, older: str, tmp_path: Path
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    with suppress(AlreadyExists):
        await kube.create(NAMESPACES, namespace)
    with OperatorProcess(control_plane.kubeconfig, tmp_path / "operator.log", env=environment()) as operator:
        wait_until(
            lambda: operator.metric("tenantry_crd_outdated", crd=older) == 1, seconds=SECONDS, what="nothing is told"
        )
        assert any(line.get("event") == "a definition is older than this operator" for line in operator.lines())


def environment() -> dict[str, str]:
    return {"TENANTRY_NAMESPACE": NAMESPACE, "TENANTRY_REGISTRY_SERVER": "none"}
