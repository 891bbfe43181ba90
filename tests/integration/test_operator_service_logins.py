"""Many logins of a service: made before they are needed, told by the registry, and used by what the registry says."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tenantry_kit.components import compose
from tenantry_kit.registry import login_number
from tenantry_kit.settings import ServiceSettings
from tenantry_operator.plan import capacity
from tenantry_testing.accounts_world import CURSOR_KEY, SERVER
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_world import TenantWorld

SECRET = "tenantry-accounts-database-primary"
FIRST, SECOND, THIRD = (f"tenantry_svc_accounts_{number}" for number in (1, 2, 3))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One login reaches two tenants."""
    monkeypatch.setattr(capacity, "tenants_per_login", lambda _version: 2)


@pytest.fixture
async def full(world: TenantWorld, few: None) -> TenantWorld:
    """A world in which the first login reaches a and b, and the second one c."""
    await world.reconcile_server()
    await world.provision("a")
    await world.provision("b")
    await world.apply_tenant("c")
    await world.reconcile("c")
    assert world.condition(await world.tenant("c"), "Ready") == ("False", "Provisioning")
    assert "the next one is being made" in world.message(await world.tenant("c"))
    await world.reconcile_server()
    await world.reconcile("c")
    await world.settle()
    return world


def logins(world: TenantWorld) -> dict[str, str]:
    return dict(world.fetch("SELECT name, service_login FROM tenantry.tenants", database="tenantry"))


def members(world: TenantWorld, tenant: str) -> list[str]:
    query = "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = %s::regrole AND NOT admin_option"
    return sorted(row[0] for row in world.fetch(query, f"s_{tenant}_accounts"))


async def test_the_next_login_is_made_when_the_one_before_is_full(full: TenantWorld) -> None:
    assert logins(full) == {"a": FIRST, "b": FIRST, "c": SECOND}
    assert {name: members(full, name) for name in "abc"} == {"a": [FIRST], "b": [FIRST], "c": [SECOND]}
    server = await full.server()
    assert server["status"]["capacity"] == {"tenants": 200, "tenantsPerLogin": 2, "serviceLogins": 2}
    await full.provision("d")
    await full.reconcile_server()
    assert (await full.server())["status"]["capacity"]["serviceLogins"] == 3
    full.counted.clear()
    await full.reconcile_server()
    assert full.writes() == []


async def test_each_login_reaches_its_own_tenants_only(full: TenantWorld) -> None:
    secret = await full.secret(SECRET)
    for number, mine, others in ((1, "ab", "c"), (2, "c", "ab")):
        ending = "" if number == 1 else f"-{number}"
        who = Login(secret[f"username{ending}"], secret[f"password{ending}"])
        with full.postgres.connect("app", who) as connection:
            for name in mine:
                connection.execute(f"SET ROLE s_{name}_accounts")
                connection.execute(f"SELECT * FROM s_{name}.users")
                connection.execute("RESET ROLE")
            for name in others:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SET ROLE s_{name}_accounts")
    assert secret["password"] != secret["password-2"]
    second = Login(secret["username-2"], secret["password-2"])
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        full.postgres.connect("tenantry", second)


async def test_a_service_takes_the_login_that_the_registry_names(full: TenantWorld, tmp_path: Path) -> None:
    directory = tmp_path / SERVER
    directory.mkdir()
    for name, content in (await full.secret(SECRET)).items():
        (directory / name).write_text(content)
    settings = ServiceSettings(databases_dir=tmp_path, cursor_key=SecretStr(CURSOR_KEY))
    databases = compose("accounts", settings, log_to=io.StringIO()).databases
    try:
        for name, login in logins(full).items():
            async with databases.connection(SERVER, login=login_number(login)) as connection:
                await connection.execute(text(f"SET ROLE s_{name}_accounts"))
                assert (await connection.execute(text("SELECT session_user"))).scalar_one() == login
    finally:
        await databases.close()


async def test_tenants_that_come_at_once_never_pass_a_logins_limit(world: TenantWorld, few: None) -> None:
    await world.reconcile_server()
    names = [f"race-{number}" for number in range(5)]
    for name in names:
        await world.apply_tenant(name)
    for expected in (2, 4, 5):
        await world.reconcile_at_once(names)
        held = list(logins(world).values())
        assert len(held) == expected
        assert max(map(held.count, held)) == 2
        await world.reconcile_server()


async def test_another_login_is_drift_and_said(full: TenantWorld) -> None:
    """Whoever changes the row moves the tenant, and hears of it; the way that it had is taken."""
    full.execute(f"UPDATE tenantry.tenants SET service_login = '{SECOND}' WHERE name = 'a'", database="tenantry")
    await full.settle()
    assert members(full, "a") == [SECOND]
    assert "Repaired" in [reason for reason, _ in await full.events("a")]
    full.execute(f"REVOKE s_b_accounts FROM {FIRST}", f"GRANT s_b_accounts TO {SECOND}")
    await full.settle()
    assert members(full, "b") == [FIRST]
    assert logins(full)["b"] == FIRST


async def test_a_row_that_names_none_of_our_logins_is_put_right(full: TenantWorld) -> None:
    full.execute("UPDATE tenantry.tenants SET service_login = 'somebody' WHERE name = 'a'", database="tenantry")
    await full.settle()
    assert logins(full)["a"] == FIRST
    assert members(full, "a") == [FIRST]


async def test_a_lost_row_keeps_the_login(full: TenantWorld) -> None:
    # With the row of a gone as well, the first login seems to have room.
    full.execute("DELETE FROM tenantry.tenants WHERE name IN ('a', 'c')", database="tenantry")
    await full.restart()
    await full.reconcile("c")
    await full.settle()
    assert logins(full) == {"a": FIRST, "b": FIRST, "c": SECOND}
    assert members(full, "c") == [SECOND]


@contextmanager
def _no_change(world: TenantWorld) -> Iterator[None]:
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname ~ 'tenantry_svc' ORDER BY 1"
    before = world.fetch(query)
    yield
    assert world.fetch(query)[: len(before)] == before


async def test_a_further_login_leaves_the_passwords_of_the_others(full: TenantWorld) -> None:
    before = await full.secret(SECRET)
    with _no_change(full):
        await full.provision("d")
        await full.reconcile_server()
    after = await full.secret(SECRET)
    assert {key: after[key] for key in before} == before
    assert after["username-3"] == THIRD


async def test_a_dropped_login_comes_back_and_reaches_its_tenants(full: TenantWorld) -> None:
    full.execute(f"DROP OWNED BY {SECOND}", f"DROP ROLE {SECOND}")
    await full.reconcile_server()
    await full.settle()
    assert members(full, "c") == [SECOND]
    secret = await full.secret(SECRET)
    with full.postgres.connect("app", Login(secret["username-2"], secret["password-2"])) as connection:
        connection.execute("SET ROLE s_c_accounts")
