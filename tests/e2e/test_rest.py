"""Users of a Tenant by REST, through the gateway: made, found, changed, gone; what is refused stores nothing."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tenantry_cluster.waiting import wait_until
from tenantry_testing.demo.callers import AccountsCaller
from tenantry_testing.running import MadeTenant, Running

PROBLEM = "application/problem+json"


class Caller:
    """One Tenant's caller; `key` is a fresh one."""

    def __init__(self, running: Running, tenant: MadeTenant) -> None:
        self.tenant = tenant
        self.key = tenant.create_key()
        with AccountsCaller(running.gateway_url, self.key) as caller:
            assert caller.accepts_key()
        self.client = httpx.Client(
            base_url=running.gateway_url,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=20.0,
            trust_env=False,
        )

    def make_user(self, **changes: object) -> httpx.Response:
        user = {"email": f"{uuid.uuid4().hex[:12]}@e2e.example", "display_name": "Made by a test"}
        return self.client.post("/v1/users", json=user | changes)

    def users(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (
            self.client.get("/v1/users", params={"limit": 100}).raise_for_status().json()["items"]
        )
        return items


@pytest.fixture(scope="module")
def callers(running: Running, two_tenants: tuple[MadeTenant, MadeTenant]) -> Iterator[tuple[Caller, Caller]]:
    own, other = (Caller(running, tenant) for tenant in two_tenants)
    yield own, other
    own.client.close()
    other.client.close()


def is_problem(response: httpx.Response, status: int) -> bool:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith(PROBLEM)
    assert response.json()["status"] == status
    return True


def test_a_user_is_made_found_changed_and_removed(callers: tuple[Caller, Caller]) -> None:
    own, _ = callers
    made = own.make_user()
    assert made.status_code == httpx.codes.CREATED, made.text
    path = f"/v1/users/{made.json()['id']}"
    assert own.client.get(path).json()["email"] == made.json()["email"]
    changed = own.client.patch(path, json={"display_name": "Changed"})
    assert changed.status_code == httpx.codes.OK, changed.text
    assert own.client.get(path).json()["display_name"] == "Changed"
    assert own.client.delete(path).status_code == httpx.codes.NO_CONTENT
    assert is_problem(own.client.get(path), 404)


def test_the_same_address_twice_is_a_conflict(callers: tuple[Caller, Caller]) -> None:
    own, other = callers
    email = own.make_user().json()["email"]
    assert is_problem(own.make_user(email=email.upper()), 409)
    assert other.make_user(email=email).status_code == httpx.codes.CREATED


def test_pages_hold_every_user_once(callers: tuple[Caller, Caller]) -> None:
    own, _ = callers
    made = {own.make_user().json()["id"] for _ in range(5)}
    found: list[str] = []
    cursor: str | None = None
    while True:
        query: dict[str, str | int] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = own.client.get("/v1/users", params=query).raise_for_status().json()
        found += [user["id"] for user in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == len(set(found))
    assert made <= set(found)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_key_reaches_no_user_of_another_tenant(callers: tuple[Caller, Caller], method: str) -> None:
    own, other = callers
    theirs = other.make_user().json()
    body = {"display_name": "mine"} if method == "PATCH" else None
    assert is_problem(own.client.request(method, f"/v1/users/{theirs['id']}", json=body), 404)
    assert theirs["id"] not in {user["id"] for user in own.users()}
    assert other.client.get(f"/v1/users/{theirs['id']}").json()["display_name"] == theirs["display_name"]


def test_a_key_and_another_tenants_name_disagree(callers: tuple[Caller, Caller]) -> None:
    own, other = callers
    before = len(other.users())
    named = {"X-Tenant-ID": other.tenant.name}
    refused = own.client.post("/v1/users", json={"email": "in@e2e.example", "display_name": "In"}, headers=named)
    assert refused.status_code in {401, 403, 404}
    assert is_problem(refused, refused.status_code)
    assert len(other.users()) == before
    agreed = own.client.get("/v1/users", headers={"X-Tenant-ID": own.tenant.name})
    assert agreed.status_code == httpx.codes.OK


@pytest.mark.parametrize(
    "changes",
    [
        {"display_name": "a\u0000b"},
        {"display_name": "a\u0007b"},
        {"display_name": 7},
        {"display_name": ""},
        {"email": "no address"},
        {"email": None},
        {"unknown": "field"},
    ],
)
def test_a_bad_body_is_refused_and_nothing_is_stored(callers: tuple[Caller, Caller], changes: dict[str, Any]) -> None:
    own, _ = callers
    before = len(own.users())
    assert is_problem(own.make_user(**changes), 422)
    assert len(own.users()) == before


@pytest.mark.parametrize("change", ["none", "cut", "other secret", "no bearer"])
def test_a_missing_or_wrong_key_is_refused(running: Running, callers: tuple[Caller, Caller], change: str) -> None:
    own, other = callers
    key = {"cut": own.key[:-1], "other secret": own.key[:-49] + other.key[-49:]}.get(change, own.key)
    headers = {"none": {}, "no bearer": {"Authorization": key}}.get(change, {"Authorization": f"Bearer {key}"})
    with httpx.Client(base_url=running.gateway_url, headers=headers, timeout=20.0, trust_env=False) as client:
        refused = client.post("/v1/users", json={"email": "x@e2e.example", "display_name": "X"})
    assert is_problem(refused, 401)
    assert "x@e2e.example" not in {user["email"] for user in own.users()}


def test_every_answer_can_be_found_again_in_the_log(running: Running, callers: tuple[Caller, Caller]) -> None:
    own, _ = callers
    request_id = own.client.get("/v1/users").headers["x-request-id"]

    def lines() -> str:
        accounts = "--selector=tenantry.dev/service-deployment=accounts"
        return running.kubectl("logs", "--namespace=tenantry-system", accounts, "--tail=-1")

    # The node brings a line to its file a moment after it is written.
    wait_until(lambda: request_id in lines(), seconds=30, what="the request is in no log")
    assert own.key not in lines()
