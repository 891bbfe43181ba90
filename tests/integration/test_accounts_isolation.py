"""No way from one tenant to another, and each guard is seen to be the one that holds: without it, the leak is there."""

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import event, text

from tenantry_accounts.models import User
from tenantry_kit import tenancy
from tenantry_kit.scope import TenantScope
from tenantry_operator.model.tenant import MarkerState
from tenantry_testing.accounts_world import SERVICE


def _operations(app):
    """Yield method, path template and whether the operation names one row, for all of OpenAPI."""
    for path, item in app.openapi()["paths"].items():
        for method in item.keys() & {"get", "put", "post", "patch", "delete"}:
            yield method.upper(), path, "{" in path


BODIES = {"POST": {"email": "eve@example.com"}, "PATCH": {"display_name": "Eve"}, "PUT": {"display_name": "Eve"}}


async def test_no_operation_with_as_key_reaches_bs_rows(accounts_world):
    a, b = accounts_world.add_tenant(), accounts_world.add_tenant()
    async with accounts_world.service() as service:
        bs_user = await service.make_user(b)
        named = 0
        for method, template, names_a_row in _operations(service.app):
            path = template.replace("{user_id}", bs_user)
            assert "{" not in path, f"this test does not know how to fill {template}"
            answer = await service.client.request(method, path, json=BODIES.get(method), headers=a.headers)
            if names_a_row:
                named += 1
                assert answer.status_code == 404, f"{method} {template}: {answer.status_code} {answer.text}"
            assert bs_user not in answer.text
            own = await service.client.request(method, path, json=BODIES.get(method), headers=b.headers)
            assert own.is_success, f"{method} {template} fails for the owner too: {own.text}"
            if method == "DELETE":
                bs_user = await service.make_user(b, f"{uuid4().hex}@example.com")
    assert named >= 3
    assert all(row["tenant_id"] == b.id for row in accounts_world.users_of(b))
    assert all(row["tenant_id"] == a.id for row in accounts_world.users_of(a))


@pytest.fixture
def planted(accounts_world):
    """A tenant, and a row of another one in its very table, as a pool or a bug would have it."""
    tenant, stranger, row_id = accounts_world.add_tenant(), uuid4(), uuid4()
    with accounts_world.app() as database:
        database.execute(
            f"INSERT INTO {tenant.schema}.users (id, tenant_id, email) VALUES (%s, %s, 'b@example.com')",
            (row_id, stranger),
        )
    return tenant, str(row_id)


async def _reach(service, tenant, row_id):
    listed = (await service.client.get("/v1/users", headers=tenant.headers)).json()["items"]
    read = await service.client.get(f"/v1/users/{row_id}", headers=tenant.headers)
    changed = await service.client.patch(f"/v1/users/{row_id}", json={"display_name": "x"}, headers=tenant.headers)
    return [item["id"] for item in listed], read.status_code, changed.status_code


async def test_the_scope_filter_hides_a_strangers_row_in_the_same_table(accounts_world, planted):
    async with accounts_world.service() as service:
        assert await _reach(service, *planted) == ([], 404, 404)


async def test_without_the_scope_filter_the_strangers_row_leaks(accounts_world, planted):
    event.remove(tenancy._ScopedSession, "do_orm_execute", tenancy.narrow_to_tenant)
    try:
        async with accounts_world.service() as service:
            listed, read, _ = await _reach(service, *planted)
    finally:
        event.listen(tenancy._ScopedSession, "do_orm_execute", tenancy.narrow_to_tenant)
    assert (listed, read) == ([planted[1]], 200)


async def test_a_row_of_another_tenant_is_never_written(accounts_world):
    tenant = accounts_world.add_tenant()
    moment = datetime.now(UTC)
    stray = User(
        id=uuid4(), tenant_id=uuid4(), email="b@example.com", status="active", created_at=moment, updated_at=moment
    )
    async with accounts_world.service() as service:
        with pytest.raises(tenancy.ScopeViolation):
            async with service.components.units.begin(accounts_world.scope_of(tenant)) as session:
                session.orm.add(stray)
    assert accounts_world.users_of(tenant) == []


async def _read_others(accounts_world, service, tenant, other):
    """Read the other tenant's table by its full name, as a bug or an injected table name would."""
    async with service.components.units.begin(accounts_world.scope_of(tenant)) as session:
        return (await session.orm.execute(text(f"SELECT email FROM {other.schema}.users"))).scalars().all()


@pytest.fixture
def mighty(accounts_world, tmp_path):
    """A Secret whose login may reach everything, so that only the role switch stands between two tenants."""
    login = accounts_world.postgres.superuser
    accounts_world.mount(tmp_path, username=login.user, password=login.password)
    return tmp_path


async def test_the_role_of_one_tenant_cannot_read_anothers_schema(accounts_world, mighty):
    a, b = accounts_world.add_tenant(), accounts_world.add_tenant()
    async with accounts_world.service(databases_dir=mighty) as service:
        await service.make_user(b)
        with pytest.raises(tenancy.Problem) as refused:
            await _read_others(accounts_world, service, a, b)
    assert isinstance(refused.value.__cause__.orig, psycopg.errors.InsufficientPrivilege)


async def test_without_the_role_switch_the_other_schema_leaks(accounts_world, mighty, monkeypatch):
    monkeypatch.setattr(TenantScope, "role", property(lambda _: "none"))
    a, b = accounts_world.add_tenant(), accounts_world.add_tenant()
    async with accounts_world.service(databases_dir=mighty) as service:
        await service.make_user(b)
        assert await _read_others(accounts_world, service, a, b) == ["ada@example.com"]


async def test_without_the_role_switch_the_service_login_reaches_nothing(accounts_world, monkeypatch):
    """The login of production owns nothing and inherits nothing."""
    monkeypatch.setattr(TenantScope, "role", property(lambda _: "none"))
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        answer = await service.client.post("/v1/users", json={"email": "a@example.com"}, headers=tenant.headers)
    assert answer.status_code == 503
    assert accounts_world.users_of(tenant) == []


async def _use_a_remembered_key(accounts_world, service):
    """Make a tenant anew under its name while the service remembers the old one's key; return the new tenant."""
    old = accounts_world.add_tenant()
    await service.make_user(old)
    accounts_world.drop_tenant(old)
    new = accounts_world.add_tenant(old.name)
    await service.make_user(new, "new@example.com")
    listed = await service.client.get("/v1/users", headers=old.headers)
    made = await service.client.post("/v1/users", json={"email": "old@example.com"}, headers=old.headers)
    return new, listed, made


async def test_a_remembered_key_reaches_nothing_of_the_tenant_that_took_the_name(accounts_world):
    async with accounts_world.service() as service:
        new, listed, made = await _use_a_remembered_key(accounts_world, service)
    assert (listed.status_code, made.status_code) == (401, 401)
    assert listed.json()["type"] == "/problems/unauthenticated"
    assert [row["email"] for row in accounts_world.users_of(new)] == ["new@example.com"]


async def test_without_the_marker_check_a_remembered_key_writes_to_the_new_tenant(accounts_world, monkeypatch):
    monkeypatch.setattr(tenancy, "check_marker", lambda *_: None)
    async with accounts_world.service() as service:
        new, _, made = await _use_a_remembered_key(accounts_world, service)
    assert made.status_code == 201
    assert "old@example.com" in [row["email"] for row in accounts_world.users_of(new)]


@pytest.mark.parametrize(
    "marker", [None, "text", "{}", "[]", '{"tenant": 7}', '{"tenant": "no uuid", "state": "live"}']
)
async def test_a_marker_that_says_nothing_closes_the_tenant_until_it_is_repaired(accounts_world, marker):
    tenant = accounts_world.add_tenant()
    accounts_world.write_marker(tenant, marker)
    async with accounts_world.service() as service:
        answer = await service.client.get("/v1/users", headers=tenant.headers)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/tenant-unavailable")
        accounts_world.mark(tenant)
        assert (await service.client.get("/v1/users", headers=tenant.headers)).status_code == 200


async def test_a_tenant_is_closed_from_the_moment_it_is_released(accounts_world):
    """Before any replica has forgotten the key."""
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        assert (await service.client.get("/v1/users", headers=tenant.headers)).status_code == 200
        accounts_world.mark(tenant, MarkerState.RELEASED)
        assert (await service.client.get("/v1/users", headers=tenant.headers)).status_code == 401


@pytest.mark.parametrize(
    ("state", "status", "name"),
    [
        ("suspended", 403, "tenant-suspended"),
        ("released", 401, "unauthenticated"),
        ("active", 503, "tenant-unavailable"),
    ],
)
async def test_a_tenant_that_was_closed_a_moment_ago_is_answered_by_its_state(accounts_world, state, status, name):
    """The operator revokes the login's membership; what the service remembers is older."""
    tenant = accounts_world.add_tenant()
    async with accounts_world.service() as service:
        assert (await service.client.get("/v1/users", headers=tenant.headers)).status_code == 200
        accounts_world.set_state(tenant, state)
        with accounts_world.app() as database:
            database.execute(f"REVOKE {tenant.schema}_{SERVICE} FROM {accounts_world.login.user}")
        answer = await service.client.get("/v1/users", headers=tenant.headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{name}")


async def test_a_tenant_without_a_schema_is_unavailable_not_empty(accounts_world):
    tenant = accounts_world.add_tenant()
    with accounts_world.app() as database:
        database.execute(f"DROP SCHEMA {tenant.schema} CASCADE")
    async with accounts_world.service() as service:
        answer = await service.client.get("/v1/users", headers=tenant.headers)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/tenant-unavailable")
    assert answer.headers["retry-after"] == "5"


async def test_a_wrong_registry_row_is_no_injection():
    with pytest.raises(ValueError, match="no identifier"):
        TenantScope(uuid4(), "acme", "primary", "app", "s_acme; RESET ROLE", SERVICE)
