"""Tenants with a database of their own reach each other no more than others do, and each guard is seen to hold."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, select, text

from tenantry_accounts.models import User
from tenantry_kit import tenancy
from tenantry_kit.problems import Problem
from tenantry_kit.scope import TenantScope
from tenantry_operator.model.tenant import MarkerState
from tenantry_testing.accounts_world import USERS, AccountsWorld, RunningService, WorldTenant


@pytest.fixture
def pair(accounts_world: AccountsWorld) -> tuple[WorldTenant, WorldTenant]:
    return accounts_world.add_tenant(apart=True), accounts_world.add_tenant(apart=True)


def move(world: AccountsWorld, tenant: WorldTenant, *, to: WorldTenant, schema: str | None = None) -> None:
    """Let the registry say that the tenant is in another's database, as a bug would."""
    with world.registry() as registry:
        registry.execute(
            "UPDATE tenantry.tenants SET database = %s, schema = %s WHERE id = %s",
            (world.database_of(to), schema or tenant.schema, tenant.id),
        )


async def test_each_key_reaches_its_own_rows_and_no_others(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    a, b = pair
    shared = accounts_world.add_tenant()
    mine, *theirs = [await service.make_user(tenant) for tenant in (a, b, shared)]
    listed = (await service.client.get(USERS, headers=a.headers)).json()["items"]
    assert [one["id"] for one in listed] == [mine]
    for owner, other in zip((b, shared), theirs, strict=True):
        for method in ("GET", "PATCH", "DELETE"):
            body = {"display_name": "Eve"} if method == "PATCH" else None
            answer = await service.client.request(method, f"{USERS}/{other}", json=body, headers=a.headers)
            assert answer.status_code == 404, f"{method}: {answer.text}"
            own = await service.client.request(method, f"{USERS}/{other}", json=body, headers=owner.headers)
            assert own.is_success, f"{method}: {own.text}"
    assert [len(accounts_world.users_of(tenant)) for tenant in (a, b, shared)] == [1, 0, 0]


async def others(service: RunningService, world: AccountsWorld, tenant: WorldTenant, other: WorldTenant) -> list[str]:
    """Read another tenant's table by its full name, as an injected one would be."""
    async with service.components.units.begin(world.scope_of(tenant)) as session:
        found = await session.orm.execute(text(f"SELECT email FROM {other.schema}.users"))
        return [str(one) for one in found.scalars()]


async def test_a_database_holds_nothing_of_another_tenant_even_for_a_login_that_reaches_everything(
    accounts_world: AccountsWorld,
    pair: tuple[WorldTenant, WorldTenant],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mighty = accounts_world.postgres.superuser
    accounts_world.mount(tmp_path, username=mighty.user, password=mighty.password)
    monkeypatch.setattr(TenantScope, "role", property(lambda _: "none"))
    async with accounts_world.service(databases_dir=tmp_path) as service:
        await service.make_user(pair[1])
        with pytest.raises(Problem) as refused:
            await others(service, accounts_world, *pair)
        assert isinstance(refused.value.__cause__.orig, psycopg.errors.UndefinedTable)  # type: ignore[union-attr]
        # With the database as the only wall, to be in the other one is enough.
        assert await others(service, accounts_world, pair[1], pair[1]) == ["ada@example.com"]


async def test_a_tenant_that_the_registry_puts_into_anothers_database_reaches_nothing_there(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    a, b = pair
    await service.make_user(b)
    move(accounts_world, a, to=b)
    answer = await service.client.get(USERS, headers=a.headers)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/tenant-unavailable")


async def test_nor_in_anothers_schema_which_the_registry_gives_once_and_queries_are_narrowed_in(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    a, b = pair
    theirs = await service.make_user(b)
    with pytest.raises(psycopg.errors.UniqueViolation):
        move(accounts_world, a, to=b, schema=b.schema)
    astray = replace(accounts_world.scope_of(a), database=b.own_database, schema=b.schema)

    async def listed() -> list[str]:
        async with service.components.units.begin(astray) as session:
            return [str(one) for one in (await session.orm.execute(select(User.id))).scalars()]

    assert await listed() == []
    event.remove(tenancy._ScopedSession, "do_orm_execute", tenancy.narrow_to_tenant)
    try:
        assert await listed() == [theirs]
    finally:
        event.listen(tenancy._ScopedSession, "do_orm_execute", tenancy.narrow_to_tenant)


async def test_a_login_that_the_database_does_not_let_in_reaches_nothing(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    a, b = pair
    with accounts_world.app() as database:
        database.execute(f"REVOKE CONNECT ON DATABASE {a.own_database} FROM {accounts_world.login.user}")
    assert (await service.client.get(USERS, headers=a.headers)).status_code == 503
    assert (await service.client.get(USERS, headers=b.headers)).status_code == 200


async def test_without_the_role_the_service_login_reaches_nothing(
    accounts_world: AccountsWorld,
    service: RunningService,
    pair: tuple[WorldTenant, WorldTenant],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await service.make_user(pair[0])
    monkeypatch.setattr(TenantScope, "role", property(lambda _: "none"))
    assert (await service.client.get(USERS, headers=pair[0].headers)).status_code == 503


@pytest.mark.parametrize("checked", [True, False])
async def test_a_remembered_key_reaches_nothing_of_the_tenant_that_took_the_name(
    accounts_world: AccountsWorld, service: RunningService, monkeypatch: pytest.MonkeyPatch, *, checked: bool
) -> None:
    if not checked:
        monkeypatch.setattr(tenancy, "check_marker", lambda *_: None)
    old = accounts_world.add_tenant(apart=True)
    await service.make_user(old)
    accounts_world.drop_tenant(old)
    new = accounts_world.add_tenant(old.name, apart=True)
    await service.make_user(new, "new@example.com")
    made = await service.client.post(USERS, json={"email": "old@example.com"}, headers=old.headers)
    assert made.status_code == (401 if checked else 201)
    there = {row["email"] for row in accounts_world.users_of(new)}
    assert there == ({"new@example.com"} if checked else {"new@example.com", "old@example.com"})


async def test_a_tenant_is_closed_from_the_moment_it_is_released(
    accounts_world: AccountsWorld, service: RunningService, pair: tuple[WorldTenant, WorldTenant]
) -> None:
    assert (await service.client.get(USERS, headers=pair[0].headers)).status_code == 200
    accounts_world.mark(pair[0], MarkerState.RELEASED)
    assert (await service.client.get(USERS, headers=pair[0].headers)).status_code == 401
    assert (await service.client.get(USERS, headers=pair[1].headers)).status_code == 200
