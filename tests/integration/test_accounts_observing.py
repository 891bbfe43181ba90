"""What operators see of the service: log lines, metrics, probes, and the page of its API."""

import re

import pytest

from tenantry_accounts.repository import UserRepository

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = {"X-Request-ID": "req-1", "X-Session-ID": "sess-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


async def test_a_request_leaves_one_line_with_its_ids_and_outcome(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        answer = await service.client.get("/v1/users", headers=tenant.headers | SENT)
        (line,) = service.logged("request")
    assert answer.headers["x-request-id"] == "req-1"
    known = {
        "level": "info", "service": "accounts", "method": "GET", "route": "/v1/users", "path": "/v1/users",
        "status": 200, "request_id": "req-1", "trace_id": TRACE, "session_id": "sess-1", "tenant": tenant.name,
        "principal": tenant.key.public_id,
    }  # fmt: skip
    assert {name: line[name] for name in known} == known
    assert re.fullmatch(r"[0-9a-f]{16}", line["span_id"])
    assert line["duration_ms"] >= 0
    assert line["response_bytes"] == len(answer.content)


async def test_without_ids_of_the_caller_they_are_made_and_the_key_is_the_session(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        await service.client.get("/v1/users", headers=tenant.headers)
        await service.client.get("/v1/users")
        known, unknown = service.logged("request")
    assert known["session_id"] == f"key-{tenant.key.public_id}"
    assert known["request_id"] != unknown["request_id"]
    assert known["trace_id"] != unknown["trace_id"]
    assert (unknown["session_id"], unknown["tenant"]) == (None, None)


async def test_the_level_of_a_line_is_that_of_its_outcome(accounts_world, monkeypatch):
    tenant = accounts_world.add_tenant()

    async def fail(*_arguments, **_options):
        raise RuntimeError("nobody foresaw this")

    async with accounts_world.service() as service:
        await service.client.get("/v1/users", headers=tenant.headers)
        await service.client.get("/v1/users")
        await service.client.get("/livez")
        monkeypatch.setattr(UserRepository, "list_after", fail)
        failed = await service.client.get("/v1/users", headers=tenant.headers)
        lines = [(line["status"], line["level"]) for line in service.logged("request")]
        (cause,) = service.logged("request_failed")
    assert lines == [(200, "info"), (401, "warning"), (200, "debug"), (500, "error")]
    assert "nobody foresaw this" in cause["exception"]
    assert (failed.status_code, failed.json()["type"]) == (500, "/problems/internal")
    assert "nobody foresaw this" not in failed.text
    assert failed.json()["request_id"] == cause["request_id"]


async def test_no_key_no_password_and_no_address_gets_into_the_log(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        await service.client.post("/v1/users", json={"email": "ada@example.com"}, headers=tenant.headers)
        await service.client.post("/v1/users", json={"email": "ada@example.com"}, headers=tenant.headers)
        await service.client.get(f"/v1/{tenant.key.text}?key={tenant.key.text}", headers=tenant.headers)
        await service.client.get("/v1/users", headers={"Authorization": f"Bearer {tenant.key.text[:-2]}00"})
        with accounts_world.app() as database:
            database.execute(
                f"ALTER TABLE {tenant.schema}.users ADD CONSTRAINT short CHECK (length(email) < 5) NOT VALID"
            )
        failed = await service.client.post("/v1/users", json={"email": "eve@example.com"}, headers=tenant.headers)
        text = service.lines.getvalue()
    assert failed.status_code == 500
    assert "short" in text, "the cause is named"
    for secret in (tenant.key.secret, accounts_world.login.password, "ada@example.com", "eve@example.com"):
        assert secret not in text


@pytest.mark.parametrize("format_", ["json", "pretty"])
async def test_both_formats_carry_the_ids(accounts_world, format_):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service(log_format=format_) as service:
        await service.client.get("/v1/users", headers=tenant.headers | SENT)
        text = service.lines.getvalue()
    assert all(part in text for part in ("req-1", TRACE, "sess-1", "/v1/users", tenant.name))


async def test_metrics_count_by_route_template_and_status(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        for number in range(3):
            await service.client.get(f"/v1/users/0190f1f0-0000-7000-8000-00000000000{number}", headers=tenant.headers)
        await service.client.get("/no/such/place/1")
        await service.client.request("BREW", "/v1/users")
        answer = await service.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    figures = answer.text
    counted = 'tenantry_http_requests_total{method="GET",route="/v1/users/{user_id}",status="404"} 3.0'
    assert counted in figures
    assert 'route="unmatched"' in figures
    assert 'method="other"' in figures
    assert "/no/such" not in figures
    assert "tenantry_http_request_duration_seconds_bucket" in figures
    assert "tenantry_http_requests_in_flight 1.0" in figures, "the one that asks"


async def test_every_answer_forbids_sniffing_and_storing(accounts_world):
    async with accounts_world.service() as service:
        for path in ("/v1/users", "/livez", "/nothing"):
            headers = (await service.client.get(path)).headers
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


async def test_the_page_of_the_api_needs_nothing_from_outside(accounts_world):
    async with accounts_world.service() as service:
        page = await service.client.get("/docs")
        assert page.status_code == 200
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page.text)
        addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
        assert len(addresses) == 3
        for address in [*addresses, "openapi.json"]:
            assert f"{address}" in page.text
            asset = await service.client.get(f"/{address}")
            assert asset.status_code == 200, address
            assert len(asset.content) > 1000, address
        document = (await service.client.get("/openapi.json")).json()
    assert "/v1/users" in document["paths"]


async def test_without_mounted_secrets_it_lives_but_is_not_ready(accounts_world, tmp_path):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service(databases_dir=tmp_path) as service:
        assert (await service.client.get("/livez")).status_code == 200
        ready = await service.client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        answer = await service.client.get("/v1/users", headers=tenant.headers)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-unavailable")
