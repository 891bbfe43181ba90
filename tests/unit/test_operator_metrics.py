"""/metrics and /healthz over HTTP."""

import re

import aiohttp
import pytest

from tenantry_crds.render import ROOT
from tenantry_operator.cli.metrics_page import ALERTS
from tenantry_operator.clients.kube import ApiUnreachable, Conflict
from tenantry_operator.clients.sqlstate import Failure, FailureKind, ServerUnreachable
from tenantry_operator.engine.errors import error_word
from tenantry_operator.engine.fence import FenceError
from tenantry_operator.engine.status_server import StatusServer
from tenantry_operator.metrics import LABELS, Metrics


async def answer(server: StatusServer, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_healthz_fails_while_there_are_problems_and_names_them() -> None:
    problems: list[str] = []
    server = StatusServer(Metrics(), lambda: problems)
    await server.start("127.0.0.1", 0)
    try:
        assert await answer(server, "/healthz") == (200, "ok\n")
        problems.append("the watch is dead")
        assert await answer(server, "/healthz") == (503, "the watch is dead\n")
    finally:
        await server.close()


async def test_objects_are_counted_by_condition() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    stalled = {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Stalled", "status": "True"}]}}
    metrics = Metrics()
    metrics.observe_objects(lambda: [("Tenant", [ready, ready, stalled, {}])])
    server = StatusServer(metrics, list)
    await server.start("127.0.0.1", 0)
    try:
        _, text = await answer(server, "/metrics")
    finally:
        await server.close()
    assert 'tenantry_objects{kind="Tenant"} 4.0' in text
    assert 'tenantry_conditions{condition="Ready",kind="Tenant",status="True"} 2.0' in text
    assert 'tenantry_conditions{condition="Stalled",kind="Tenant",status="True"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_the_oldest_rotation_is_told_by_condition_and_not_by_tenant() -> None:
    def tenant(rotated_at: str, ready: str) -> dict[str, object]:
        conditions = [{"type": "CredentialsReady", "status": ready}]
        return {"status": {"credentials": {"activeSlot": "a", "rotatedAt": rotated_at}, "conditions": conditions}}

    metrics = Metrics()
    tenants = [
        tenant("2026-01-03T00:00:00Z", "True"),
        tenant("2026-01-02T00:00:00Z", "True"),
        tenant("2026-01-01T00:00:00Z", "False"),
        {"status": {}},
    ]
    metrics.observe_objects(lambda: [("Tenant", tenants)])
    told = [line for line in metrics.render().decode().splitlines() if line.startswith("tenantry_oldest_rotation")]
    assert told == [
        'tenantry_oldest_rotation_timestamp_seconds{credentials_ready="False"} 1.7672256e+09',
        'tenantry_oldest_rotation_timestamp_seconds{credentials_ready="True"} 1.767312e+09',
    ]


def test_no_label_can_have_as_many_values_as_there_are_tenants() -> None:
    for one in Metrics().described:
        assert set(one.labels) <= LABELS.keys(), f"say in metrics.LABELS which values {one.name} has"
        assert not {"tenant", "name", "object"} & set(one.labels), one.name


def test_an_alert_names_metrics_and_labels_that_there_are() -> None:
    known = {one.name: set(one.labels) for one in Metrics().described}
    for alert in ALERTS:
        told = re.findall(r"(tenantry_\w+)(?:\{([^}]*)\})?", alert.expression)
        assert told, alert.name
        for name, selected in told:
            assert set(re.findall(r"(\w+)=", selected)) <= known[name], alert.name


def test_each_metric_is_looked_at_over_http_by_an_integration_test() -> None:
    asked = "".join(path.read_text() for path in (ROOT / "tests/integration").glob("test_operator_*.py"))
    missing = [one.name for one in Metrics().described if f'"{one.name}' not in asked]
    assert not missing, f"add these to tests/integration/test_operator_metrics_process.py: {missing}"


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (Conflict(409, "Conflict", "another was first"), "Conflict"),
        (ApiUnreachable(0, "Timeout", "no answer"), "ApiUnreachable"),
        (FenceError("held"), "FenceError"),
        (ServerUnreachable(Failure(FailureKind.UNREACHABLE, "NotReachable", "gone")), "NotReachable"),
        (TimeoutError(), "Timeout"),
    ],
)
def test_an_error_is_counted_under_one_of_few_words(error: Exception, word: str) -> None:
    assert error_word(error) == word
