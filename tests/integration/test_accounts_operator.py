"""The accounts service on what the operator's own reconcilers made: login, Secret, schema, marker, registry and key."""

import asyncio
import io
import os
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from tenantry_accounts.app import SERVICE, accounts_app
from tenantry_accounts.models import User
from tenantry_kit.components import compose
from tenantry_kit.problems import TENANT_UNAVAILABLE, Problem
from tenantry_kit.settings import ServiceSettings
from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.accounts_world import CURSOR_KEY, SERVER


async def _bearer(world, name):
    """Make a key by the command that an administrator types; return the headers that carry it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenantry_operator", "tenant", "create-key", name,
        env=os.environ | {"TENANTRY_REGISTRY_URL": world.postgres.url("tenantry")},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return {"Authorization": f"Bearer {output.decode().strip()}"}


@asynccontextmanager
async def _components(world, folder):
    """Mount the Secret that the operator wrote, and give the parts of the service."""
    directory = folder / SERVER
    directory.mkdir()
    for name, text in (await world.secret(f"tenantry-accounts-database-{SERVER}")).items():
        (directory / name).write_text(text)
    settings = ServiceSettings(databases_dir=folder, cursor_key=SecretStr(CURSOR_KEY))
    components = compose(SERVICE, settings, log_to=io.StringIO())
    try:
        yield components
    finally:
        await components.databases.close()


@asynccontextmanager
async def _service(world, folder):
    """Give a client of the service."""
    async with _components(world, folder) as components:
        transport = httpx.ASGITransport(accounts_app(components), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://accounts") as client:
            yield client


@pytest.fixture
async def client(world, tmp_path):
    async with _service(world, tmp_path) as made:
        yield made


async def test_a_user_of_a_provisioned_tenant(world, client):
    tenant = await world.provision("acme")
    headers = await _bearer(world, "acme")
    made = await client.post("/v1/users", json={"email": "ada@example.com"}, headers=headers)
    assert made.status_code == 201, made.text
    assert world.fetch("SELECT tenant_id::text, email FROM s_acme.users") == [
        (tenant["status"]["id"], "ada@example.com")
    ]
    assert (await client.get("/readyz")).status_code == 200


async def test_no_key_reaches_another_tenant(world, client):
    await world.provision("acme")
    await world.provision("globex")
    acme, globex = await _bearer(world, "acme"), await _bearer(world, "globex")
    path = (await client.post("/v1/users", json={"email": "b@example.com"}, headers=globex)).headers["location"]
    assert [(await client.request(method, path, headers=acme)).status_code for method in ("GET", "DELETE")] == [
        404,
        404,
    ]
    assert (await client.get("/v1/users", headers=acme)).json()["items"] == []
    assert (await client.get(path, headers=globex)).status_code == 200


async def test_a_remembered_key_ends_with_its_tenant_even_when_the_name_lives_on(world, client):
    await world.provision("acme")
    old = await _bearer(world, "acme")
    assert (await client.get("/v1/users", headers=old)).status_code == 200
    await world.leave("acme", "Delete")
    await world.provision("acme")
    assert (await client.post("/v1/users", json={"email": "a@example.com"}, headers=old)).status_code == 401
    assert world.fetch("SELECT * FROM s_acme.users") == []
    new = await _bearer(world, "acme")
    assert (await client.get("/v1/users", headers=new)).json()["items"] == []


async def test_a_released_tenant_is_closed_and_opens_again_when_it_is_adopted(world, client):
    await world.provision("acme")
    headers = await _bearer(world, "acme")
    await client.post("/v1/users", json={"email": "ada@example.com"}, headers=headers)
    await world.leave("acme", "Retain")
    assert (await client.get("/v1/users", headers=headers)).status_code == 401
    await world.provision("acme")
    again = await _bearer(world, "acme")
    listed = await client.get("/v1/users", headers=again)
    assert [user["email"] for user in listed.json()["items"]] == ["ada@example.com"]


async def _lifecycle(world, lifecycle):
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": lifecycle}})
    await world.reconcile("acme")


async def _opened(client, headers):
    """Ask until the tenant is open again; the service may remember for 5 s that it was not."""
    for _ in range(300):
        answer = await client.get("/v1/users", headers=headers)
        if answer.status_code != 403:
            return answer
        await asyncio.sleep(0.2)
    raise AssertionError(answer.text)


@pytest.mark.parametrize("lifecycle", ["Suspended", "Archived"])
async def test_a_closed_tenant_is_refused_at_once_and_its_key_is_good_again_later(world, client, lifecycle):
    await world.provision("acme")
    headers = await _bearer(world, "acme")
    assert (await client.post("/v1/users", json={"email": "ada@example.com"}, headers=headers)).status_code == 201
    await _lifecycle(world, lifecycle)
    # The service remembers the tenant as active; its way into it is gone, and so it asks the registry again.
    for method, path in (("GET", "/v1/users"), ("POST", "/v1/users")):
        answer = await client.request(method, path, headers=headers, json={"email": "eve@example.com"})
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/tenant-suspended")
        assert answer.headers["content-type"] == "application/problem+json"
    assert world.fetch("SELECT email FROM s_acme.users") == [("ada@example.com",)]
    await _lifecycle(world, "Active")
    opened = await _opened(client, headers)
    assert [user["email"] for user in opened.json()["items"]] == ["ada@example.com"]


async def test_a_unit_of_work_that_had_begun_comes_to_its_end_and_the_next_one_does_not_begin(world, tmp_path):
    await world.provision("acme")
    headers = await _bearer(world, "acme")
    async with _components(world, tmp_path) as kit:
        who = await kit.authenticator.authenticate(headers["Authorization"], None)
        async with kit.units.begin(who.scope) as session:
            await _lifecycle(world, "Suspended")
            assert world.condition(await world.tenant("acme"), "Suspended") == ("True", "Suspended")
            now = datetime.now(UTC)
            ada = User(id=uuid4(), email="ada@example.com", status="active", created_at=now, updated_at=now)
            session.orm.add(ada)
        assert world.fetch("SELECT email FROM s_acme.users") == [("ada@example.com",)]
        with pytest.raises(Problem) as refused:
            async with kit.units.begin(who.scope):
                pass
        assert refused.value.type is TENANT_UNAVAILABLE
