"""Tenants that share a schema reach each other no more than others do, and each guard is seen to be one that holds."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import event, text

from tenantry_accounts.models import User
from tenantry_kit import tenancy
from tenantry_kit.problems import Problem
from tenantry_kit.scope import TenantScope
from tenantry_operator.model.tenant import MarkerState
from tenantry_testing.accounts_world import USERS, AccountsWorld, RunningService, WorldTenant


@pytest.fixture
def pair(accounts_world: AccountsWorld) -> tuple[WorldTenant, WorldTenant]:
    return accounts_world.add_tenant(pooled=True), accounts_world.add_tenant(pooled=True)


async def all_rows(service: RunningService, world: AccountsWorld, tenant: WorldTenant) -> set[Any]:
    """Return whose rows a query of the tenant sees that nothing but Postgres narrows, as an injected one would be."""
    async with service.components.units.begin(world.scope_of(tenant)) as session:
        return set((await session.orm.execute(text("SELECT tenant_id FROM users"))).scalars())


async def test_each_key_reaches_its_own_rows_and_no_others(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    a, b = pair
    mine, theirs = [await service.make_user(tenant) for tenant in pair]
    listed = (await service.client.get(USERS, headers=a.headers)).json()["items"]
    assert [one["id"] for one in listed] == [mine]
    for method in ("GET", "PATCH", "DELETE"):
        body = {"display_name": "Eve"} if method == "PATCH" else None
        answer = await service.client.request(method, f"{USERS}/{theirs}", json=body, headers=a.headers)
        assert answer.status_code == 404, f"{method}: {answer.text}"
        own = await service.client.request(method, f"{USERS}/{theirs}", json=body, headers=b.headers)
        assert own.is_success, f"{method}: {own.text}"
    assert accounts_world.users_of(b) == []
    assert len(accounts_world.users_of(a)) == 1


async def test_an_address_is_taken_in_one_tenant_only(
    service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    for tenant in pair:
        await service.make_user(tenant)
        again = await service.client.post(USERS, json={"email": "Ada@example.com"}, headers=tenant.headers)
        assert again.status_code == 409


async def test_row_security_alone_keeps_tenants_apart(
    accounts_world: AccountsWorld,
    service: RunningService,
    pair: tuple[WorldTenant, WorldTenant],
    unfiltered: None,
) -> None:
    del unfiltered
    for tenant in pair:
        await service.make_user(tenant)
    listed = (await service.client.get(USERS, headers=pair[0].headers)).json()["items"]
    assert len(listed) == 1
    assert await all_rows(service, accounts_world, pair[0]) == {pair[0].id}


@pytest.fixture
def unfiltered() -> Iterator[None]:
    """The ORM narrows no query."""
    event.remove(tenancy._ScopedSession, "do_orm_execute", tenancy.narrow_to_tenant)
    yield
    event.listen(tenancy._ScopedSession, "do_orm_execute", tenancy.narrow_to_tenant)


@pytest.fixture
def unguarded(accounts_world: AccountsWorld, pair: object) -> Iterator[None]:
    """The table of the pool without row security."""
    del pair
    with accounts_world.app() as database:
        database.execute("ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY")
    yield
    with accounts_world.app() as database:
        database.execute("ALTER TABLE tenantry_pool.users ENABLE ROW LEVEL SECURITY")


async def test_without_row_security_an_injected_query_leaks_and_the_scope_filter_still_holds(
    accounts_world: AccountsWorld,
    service: RunningService,
    pair: tuple[WorldTenant, WorldTenant],
    unguarded: None,
) -> None:
    del unguarded
    ids = [await service.make_user(tenant, f"{uuid4().hex}@example.com") for tenant in pair]
    assert {tenant.id for tenant in pair} <= await all_rows(service, accounts_world, pair[0])
    listed = (await service.client.get(USERS, headers=pair[0].headers)).json()["items"]
    assert [one["id"] for one in listed] == ids[:1]


async def write_for(world: AccountsWorld, service: RunningService, tenant: WorldTenant, other: WorldTenant) -> None:
    """Write a row of another tenant in a tenant's unit of work."""
    async with service.components.units.begin(world.scope_of(tenant)) as session:
        values = {"id": uuid4(), "tenant_id": other.id, "email": "eve@example.com"}
        await session.orm.execute(text("INSERT INTO users VALUES (:id, :tenant_id, :email)"), values)


async def test_a_row_of_another_tenant_is_written_only_without_row_security(
    accounts_world: AccountsWorld,
    service: RunningService,
    pair: tuple[WorldTenant, WorldTenant],
    request: pytest.FixtureRequest,
) -> None:
    with pytest.raises(Problem) as refused:
        await write_for(accounts_world, service, *pair)
    assert isinstance(refused.value.__cause__.orig, psycopg.errors.InsufficientPrivilege)  # type: ignore[union-attr]
    assert accounts_world.users_of(pair[1]) == []
    request.getfixturevalue("unguarded")
    await write_for(accounts_world, service, *pair)
    assert len(accounts_world.users_of(pair[1])) == 1


async def test_the_orm_refuses_a_row_of_another_tenant_too(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    stray = User(id=uuid4(), tenant_id=pair[1].id, email="b@example.com")
    with pytest.raises(tenancy.ScopeViolation):
        async with service.components.units.begin(accounts_world.scope_of(pair[0])) as session:
            session.orm.add(stray)


async def test_without_the_role_the_service_login_reaches_nothing(
    accounts_world: AccountsWorld,
    service: RunningService,
    pair: tuple[WorldTenant, WorldTenant],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await service.make_user(pair[0])
    monkeypatch.setattr(TenantScope, "role", property(lambda _: "none"))
    assert (await service.client.get(USERS, headers=pair[0].headers)).status_code == 503


@pytest.mark.parametrize(
    ("state", "status", "name"),
    [
        ("suspended", 403, "tenant-suspended"),
        ("released", 401, "unauthenticated"),
        ("active", 503, "tenant-unavailable"),
    ],
)
async def test_a_tenant_that_the_pool_has_closed_is_answered_by_its_state(
    accounts_world: AccountsWorld, service: RunningService, state: str, status: int, name: str
) -> None:
    """What the service remembers is older; the table holds nothing of the tenant, and is not shown empty."""
    tenant = accounts_world.add_tenant(pooled=True)
    assert (await service.client.get(USERS, headers=tenant.headers)).status_code == 200
    accounts_world.set_state(tenant, state)
    accounts_world.close_in_pool(tenant)
    answer = await service.client.get(USERS, headers=tenant.headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{name}")


async def test_a_unit_of_work_in_a_closed_tenant_does_not_begin_since_the_pool_is_asked(
    accounts_world: AccountsWorld, service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that happens to look at no row would not ask it."""
    tenant = accounts_world.add_tenant(pooled=True)
    accounts_world.close_in_pool(tenant)
    begin, scope = service.components.units.begin, accounts_world.scope_of(tenant)
    with pytest.raises(Problem):
        async with begin(scope):
            pass
    monkeypatch.setattr(TenantScope, "is_pooled", property(lambda _: False))
    async with begin(scope):
        pass


async def test_a_pooled_tenant_is_closed_from_the_moment_it_is_released(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    assert (await service.client.get(USERS, headers=pair[0].headers)).status_code == 200
    accounts_world.mark(pair[0], MarkerState.RELEASED)
    assert (await service.client.get(USERS, headers=pair[0].headers)).status_code == 401
    assert (await service.client.get(USERS, headers=pair[1].headers)).status_code == 200
