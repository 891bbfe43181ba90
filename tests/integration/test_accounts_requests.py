"""Requests that are refused: credentials, bodies, fields. Each answer is a problem, and nothing is stored."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from tenantry_kit.keys import create_key
from tenantry_kit.problems import MEDIA_TYPE
from tenantry_testing.accounts_world import ENVIRONMENT

GOOD = {"email": "ada@example.com"}


def _assert_problem(answer, status, name):
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE), answer.text
    body = answer.json()
    assert (body["type"], body["status"]) == (f"/problems/{name}", status)
    assert body["title"]
    assert body["request_id"] == answer.headers["x-request-id"]


BAD_BODIES = {
    "NUL": '{"email": "a@example.com", "display_name": "a\\u0000b"}',
    "escape": '{"email": "a@example.com", "display_name": "a\\u001bb"}',
    "line end": '{"email": "a@example.com", "display_name": "a\\n"}',
    "C1 control": '{"email": "a@example.com", "display_name": "a\\u0085b"}',
    "half a surrogate pair": '{"email": "a@example.com", "display_name": "a\\ud800b"}',
    "turned direction": '{"email": "a@example.com", "display_name": "a\\u202eb"}',
    "NUL in the address": '{"email": "a\\u0000@example.com"}',
    "line end in the address": '{"email": "a@example.com\\n"}',
    "address with a name": '{"email": "Ada <a@example.com>"}',
    "no address": '{"email": "ada"}',
    "address missing": "{}",
    "address null": '{"email": null}',
    "number for text": '{"email": 5}',
    "list for text": '{"email": ["a@example.com"]}',
    "number for the name": '{"email": "a@example.com", "display_name": 5}',
    "empty name": '{"email": "a@example.com", "display_name": ""}',
    "long name": '{"email": "a@example.com", "display_name": "' + "x" * 254 + '"}',
    "unknown field": '{"email": "a@example.com", "role": "admin"}',
    "tenant_id from outside": '{"email": "a@example.com", "tenant_id": "0190f1f0-0000-7000-8000-000000000000"}',
    "name of a field that is no text": '{"email": "a@example.com", "\\ud800": 1}',
    "many unknown fields": '{"email": "a@example.com"' + "".join(f', "f{n}": 1' for n in range(3_000)) + "}",
    "long name of a field": '{"email": "a@example.com", "' + "f" * 60_000 + '": 1}',
    "list for an object": "[]",
    "text for an object": '"a@example.com"',
    "number for an object": "7",
    "no body": "",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_body_that_does_not_fit_is_refused_and_nothing_is_stored(accounts_world, body):
    tenant = accounts_world.add_tenant()
    headers = tenant.headers | {"Content-Type": "application/json"}
    async with accounts_world.service() as service:
        answer = await service.client.post("/v1/users", content=body, headers=headers)
        _assert_problem(answer, 422, "invalid-request")
        assert answer.json()["errors"]
        assert len(answer.content) < 8_000, "a refusal does not echo"
        good = await service.client.post("/v1/users", json=GOOD, headers=tenant.headers)
        refused = await service.client.patch(good.headers["location"], content=body or "[]", headers=headers)
        if body not in {"{}"}:
            _assert_problem(refused, 422, "invalid-request")
    assert [(row["email"], row["version"]) for row in accounts_world.users_of(tenant)] == [("ada@example.com", 1)]


NO_JSON = {
    "cut short": b'{"email": ',
    "raw NUL": b'{"email": "a\x00b@example.com"}',
    "no UTF-8": b'{"email": "\xff\xfe@example.com"}',
    "deep list": b"[" * 33 + b"]" * 33,
    "deep object": b'{"email":' * 33 + b"1" + b"}" * 33,
    "deep beyond any stack": b"[" * 60_000,
    "long number": b'{"email": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
async def test_a_body_that_is_no_json_or_too_deep_is_refused(accounts_world, body):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        answer = await service.client.post(
            "/v1/users", content=body, headers=tenant.headers | {"Content-Type": "application/json"}
        )
    _assert_problem(answer, 400, "malformed-body")
    assert accounts_world.users_of(tenant) == []


async def _in_pieces(total):
    for _ in range(total // 1024):
        yield b" " * 1024


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_beyond_the_limit_is_refused(accounts_world, declared):
    tenant = accounts_world.add_tenant()
    content = b" " * 70_000 if declared else _in_pieces(70_000)
    async with accounts_world.service() as service:
        answer = await service.client.post(
            "/v1/users", content=content, headers=tenant.headers | {"Content-Type": "application/json"}
        )
    _assert_problem(answer, 413, "body-too-large")
    assert answer.json()["limit"] == 65_536


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_of_another_media_type_is_refused(accounts_world, media_type):
    tenant = accounts_world.add_tenant()
    headers = tenant.headers | ({"Content-Type": media_type} if media_type else {})
    async with accounts_world.service() as service:
        answer = await service.client.post("/v1/users", content=b'{"email": "a@example.com"}', headers=headers)
    _assert_problem(answer, 415, "unsupported-media-type")
    assert accounts_world.users_of(tenant) == []


@pytest.mark.parametrize(
    ("path", "status", "name"),
    [
        ("/v1/users?limit=0", 422, "invalid-request"),
        ("/v1/users?limit=201", 422, "invalid-request"),
        ("/v1/users?limit=many", 422, "invalid-request"),
        ("/v1/users?cursor=%00", 400, "invalid-cursor"),
        ("/v1/users?cursor=abc", 400, "invalid-cursor"),
        ("/v1/users?cursor=" + "A" * 201, 422, "invalid-request"),
        ("/v1/users/no-uuid", 422, "invalid-request"),
        ("/v1/users/%00", 422, "invalid-request"),
        ("/v1/nothing", 404, "not-found"),
        ("/", 404, "not-found"),
    ],
)
async def test_a_wrong_address_is_refused(accounts_world, path, status, name):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        _assert_problem(await service.client.get(path, headers=tenant.headers), status, name)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/users", "GET, POST"),
        ("/v1/users/0190f1f0-0000-7000-8000-000000000000", "DELETE, GET, PATCH"),
        ("/livez", "GET"),
    ],
    ids=["list", "user", "probe"],
)
async def test_a_wrong_method_is_refused(accounts_world, path, allowed):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        answer = await service.client.put(path, json=GOOD, headers=tenant.headers)
    _assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


def _wrong_keys(world, tenant):
    """Yield every kind of credentials that is no valid key."""
    now = datetime.now(UTC)
    other_secret = create_key(ENVIRONMENT)
    expired, revoked, foreign = create_key(ENVIRONMENT), create_key(ENVIRONMENT), create_key("live")
    world.store_key(tenant, expired, expires_at=now - timedelta(seconds=1))
    world.store_key(tenant, revoked, revoked_at=now)
    world.store_key(tenant, foreign)
    yield "none", {}
    yield "empty", {"Authorization": ""}
    yield "no scheme", {"Authorization": tenant.key.text}
    yield "basic", {"Authorization": f"Basic {tenant.key.text}"}
    yield "mistyped", {"Authorization": f"Bearer {tenant.key.text[:-1]}{'0' if tenant.key.text[-1] != '0' else '1'}"}
    yield "unknown", {"Authorization": f"Bearer {create_key(ENVIRONMENT).text}"}
    wrong = type(tenant.key)(ENVIRONMENT, tenant.key.public_id, other_secret.secret)
    yield "wrong secret", {"Authorization": f"Bearer {wrong.text}"}
    yield "expired", {"Authorization": f"Bearer {expired.text}"}
    yield "revoked", {"Authorization": f"Bearer {revoked.text}"}
    yield "another environment's", {"Authorization": f"Bearer {foreign.text}"}


async def test_a_missing_or_wrong_key_is_refused_everywhere_and_nothing_is_stored(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        for kind, headers in _wrong_keys(accounts_world, tenant):
            for method, path in (("POST", "/v1/users"), ("GET", "/v1/users")):
                body = GOOD if method == "POST" else None
                answer = await service.client.request(method, path, json=body, headers=headers)
                assert answer.status_code == 401, kind
                _assert_problem(answer, 401, "unauthenticated")
                assert answer.headers["www-authenticate"].startswith("Bearer")
    assert accounts_world.users_of(tenant) == []


async def test_every_operation_needs_a_key(accounts_world):
    async with accounts_world.service() as service:
        for path, item in service.app.openapi()["paths"].items():
            for method in item:
                url = path.replace("{user_id}", "0190f1f0-0000-7000-8000-000000000000")
                answer = await service.client.request(method, url, json={"email": "a@example.com"})
                assert answer.status_code == 401, f"{method} {path}"


@pytest.mark.parametrize("named", ["other-tenant", "", "ACME", "a\tb", "x" * 300])
async def test_a_tenant_header_that_names_another_tenant_is_refused_alike_for_known_and_unknown(accounts_world, named):
    tenant, other = accounts_world.add_tenant(), accounts_world.add_tenant()
    async with accounts_world.service() as service:
        agreed = await service.client.get("/v1/users", headers=tenant.headers | {"X-Tenant-ID": tenant.name})
        unknown = await service.client.post("/v1/users", json=GOOD, headers=tenant.headers | {"X-Tenant-ID": named})
        known = await service.client.post("/v1/users", json=GOOD, headers=tenant.headers | {"X-Tenant-ID": other.name})
    assert agreed.status_code == 200
    _assert_problem(unknown, 403, "tenant-mismatch")
    _assert_problem(known, 403, "tenant-mismatch")
    strip = {"request_id"}
    assert {k: v for k, v in known.json().items() if k not in strip} == {
        k: v for k, v in unknown.json().items() if k not in strip
    }
    assert accounts_world.users_of(tenant) == accounts_world.users_of(other) == []


@pytest.mark.parametrize("first", [True, False])
async def test_a_header_that_is_sent_twice_is_not_read_once(accounts_world, first):
    tenant, other = accounts_world.add_tenant(), accounts_world.add_tenant()
    (key,), (other_key,) = tenant.headers.items(), other.headers.items()
    tenants = [("X-Tenant-ID", tenant.name), ("X-Tenant-ID", other.name)]
    keys = [key, other_key]
    if not first:
        tenants.reverse()
        keys.reverse()
    async with accounts_world.service() as service:
        two_tenants = await service.client.post("/v1/users", json=GOOD, headers=[key, *tenants])
        two_keys = await service.client.post("/v1/users", json=GOOD, headers=keys)
    _assert_problem(two_tenants, 403, "tenant-mismatch")
    _assert_problem(two_keys, 401, "unauthenticated")
    assert accounts_world.users_of(tenant) == accounts_world.users_of(other) == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_path_with_a_slash_too_many_leads_nowhere(accounts_world, method):
    tenant = accounts_world.add_tenant()
    headers = tenant.headers | {"Host": "elsewhere.example"}
    async with accounts_world.service() as service:
        answer = await service.client.request(method, "/v1/users/", json=GOOD, headers=headers)
    _assert_problem(answer, 404, "not-found")
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("state", "status", "name"),
    [
        ("provisioning", 503, "tenant-unavailable"),
        ("suspended", 403, "tenant-suspended"),
        ("archived", 403, "tenant-suspended"),
        ("released", 401, "unauthenticated"),
        ("deleted", 401, "unauthenticated"),
    ],
)
async def test_a_tenant_that_is_not_active_is_closed(accounts_world, state, status, name):
    tenant = accounts_world.add_tenant(state=state)
    async with accounts_world.service() as service:
        _assert_problem(await service.client.post("/v1/users", json=GOOD, headers=tenant.headers), status, name)
    assert accounts_world.users_of(tenant) == []


@pytest.mark.parametrize(("scopes", "read", "write"), [([], 403, 403), (["users:read"], 200, 403), (["*"], 200, 201)])
async def test_a_key_does_what_its_scopes_say(accounts_world, scopes, read, write):
    tenant, key = accounts_world.add_tenant(), create_key(ENVIRONMENT)
    accounts_world.store_key(tenant, key, scopes=scopes)
    headers = {"Authorization": f"Bearer {key.text}"}
    async with accounts_world.service() as service:
        listed = await service.client.get("/v1/users", headers=headers)
        made = await service.client.post("/v1/users", json=GOOD, headers=headers)
    assert (listed.status_code, made.status_code) == (read, write)
    if write == 403:
        _assert_problem(made, 403, "insufficient-scope")
        assert made.json()["required_scope"] == "users:write"


async def test_a_revoked_key_ends_within_the_cache_time(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        clock = [0.0]
        service.components.registry._monotonic = lambda: clock[0]
        assert (await service.client.get("/v1/users", headers=tenant.headers)).status_code == 200
        with accounts_world.registry() as registry:
            registry.execute("UPDATE tenantry.api_keys SET revoked_at = now() WHERE tenant_id = %s", (tenant.id,))
        clock[0] = 5.0
        assert (await service.client.get("/v1/users", headers=tenant.headers)).status_code == 401


async def test_a_problem_explains_itself_at_its_type(accounts_world):
    async with accounts_world.service() as service:
        answer = await service.client.get("/v1/users")
        page = await service.client.get(answer.json()["type"])
        assert page.status_code == 200
        assert "create-key" in page.text
        _assert_problem(await service.client.get("/problems/nonsense"), 404, "not-found")


def _anything(source):
    """Make a value that callers should not send, or a good one now and then."""
    texts = [
        "ada@example.com",
        "",
        "\x00",
        "\ud800",
        "\u202e",
        "x" * 300,
        "'; DROP TABLE users; --",
        "%s",
        "{0}",
        "null",
    ]
    makers = [
        lambda: source.choice(texts),
        lambda: source.choice([0, -1, 2**63, 2**1000, 1.5, float("nan"), float("inf")]),
        lambda: source.choice([None, True, False]),
        lambda: [_anything(source) for _ in range(source.randrange(3))],
        lambda: {source.choice(["email", "status", *texts]): _anything(source) for _ in range(source.randrange(3))},
    ]
    return source.choice(makers)()


async def test_whatever_is_sent_no_answer_is_a_failure_of_the_service(accounts_world):
    tenant, source = accounts_world.add_tenant(), random.Random(random.getrandbits(32))  # noqa: S311
    fields = ["email", "display_name", "status", "tenant_id", "id", "version", "\x00"]
    async with accounts_world.service() as service:
        made = await service.client.post("/v1/users", json=GOOD, headers=tenant.headers)
        for _ in range(300):
            body = {source.choice(fields): _anything(source) for _ in range(source.randrange(4))}
            content = json.dumps(source.choice([body, _anything(source)]))
            method, path = source.choice([("POST", "/v1/users"), ("PATCH", made.headers["location"])])
            answer = await service.client.request(
                method, path, content=content, headers=tenant.headers | {"Content-Type": "application/json"}
            )
            assert answer.status_code < 500, f"{method} {content!r}: {answer.text}"
            if not answer.is_success:
                assert answer.headers["content-type"] == MEDIA_TYPE
    assert all(row["tenant_id"] == tenant.id for row in accounts_world.users_of(tenant))
