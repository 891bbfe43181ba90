"""Users over HTTP, on a real Postgres."""

from uuid import UUID, uuid4

import pytest


async def test_a_user_is_made_read_changed_and_deleted(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        client = service.client
        made = await client.post(
            "/v1/users", json={"email": "Ada@Example.com", "display_name": "Ada"}, headers=tenant.headers
        )
        assert made.status_code == 201, made.text
        user = made.json()
        assert user["email"] == "Ada@example.com"
        assert user["status"] == "active"
        assert UUID(user["id"]).version == 7
        assert user["created_at"].endswith("Z")
        assert made.headers["location"] == f"/v1/users/{user['id']}"
        assert made.headers["etag"] == '"1"'

        read = await client.get(made.headers["location"], headers=tenant.headers)
        assert (read.status_code, read.json()) == (200, user)

        changed = await client.patch(
            made.headers["location"], json={"status": "disabled", "display_name": None}, headers=tenant.headers
        )
        assert changed.status_code == 200
        assert changed.json()["status"] == "disabled"
        assert changed.json()["display_name"] is None
        assert changed.json()["updated_at"] > user["updated_at"]
        assert changed.headers["etag"] == '"2"'

        deleted = await client.delete(made.headers["location"], headers=tenant.headers)
        assert (deleted.status_code, deleted.content) == (204, b"")
        gone = await client.get(made.headers["location"], headers=tenant.headers)
        assert gone.status_code == 404
    assert accounts_world.users_of(tenant) == []


async def test_the_row_carries_the_tenants_id(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        await service.client.post("/v1/users", json={"email": "ada@example.com"}, headers=tenant.headers)
    (row,) = accounts_world.users_of(tenant)
    assert row["tenant_id"] == tenant.id


async def test_an_address_belongs_to_one_user_of_a_tenant_however_it_is_capitalised(accounts_world):
    tenant, other = accounts_world.add_tenant(), accounts_world.add_tenant()
    async with accounts_world.service() as service:
        first = await service.client.post("/v1/users", json={"email": "ada@example.com"}, headers=tenant.headers)
        again = await service.client.post("/v1/users", json={"email": "ADA@example.com"}, headers=tenant.headers)
        elsewhere = await service.client.post("/v1/users", json={"email": "ada@example.com"}, headers=other.headers)
    assert (first.status_code, again.status_code, elsewhere.status_code) == (201, 409, 201)
    assert again.json()["type"] == "/problems/email-taken"
    assert len(accounts_world.users_of(tenant)) == 1


async def test_a_change_that_names_an_old_version_is_refused(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        client = service.client
        made = await client.post("/v1/users", json={"email": "ada@example.com"}, headers=tenant.headers)
        path, old = made.headers["location"], {"If-Match": made.headers["etag"]} | tenant.headers
        first = await client.patch(path, json={"display_name": "Ada"}, headers=old)
        assert first.status_code == 200
        second = await client.patch(path, json={"display_name": "Eve"}, headers=old)
        assert (second.status_code, second.json()["type"]) == (412, "/problems/precondition-failed")
        removal = await client.delete(path, headers=old)
        assert removal.status_code == 412
        current = await client.delete(path, headers=tenant.headers | {"If-Match": first.headers["etag"]})
        assert current.status_code == 204


async def test_a_change_of_nothing_changes_nothing(accounts_world):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        made = await service.client.post("/v1/users", json={"email": "ada@example.com"}, headers=tenant.headers)
        same = await service.client.patch(made.headers["location"], json={}, headers=tenant.headers)
    assert (same.status_code, same.headers["etag"]) == (200, '"1"')
    assert same.json() == made.json()


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_id_is_not_found(accounts_world, method):
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        body = {"json": {"display_name": "Eve"}} if method == "PATCH" else {}
        answer = await service.client.request(method, f"/v1/users/{uuid4()}", headers=tenant.headers, **body)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert answer.headers["content-type"] == "application/problem+json"
