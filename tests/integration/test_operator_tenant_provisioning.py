"""A Tenant comes to be: on a real Postgres and a real API server, within the budget of writes."""

from typing import Any

import psycopg
import pytest

from tenantry_operator.clients.kube import SECRETS, TENANTS
from tenantry_operator.engine.queue import Key
from tenantry_testing.tenant_world import TenantWorld


async def test_a_tenant_gets_schemas_roles_and_a_secret_that_logs_in(world: TenantWorld) -> None:
    tenant = await world.provision("acme", database={"connectionLimit": 7, "settings": {"work_mem": "8MB"}})
    status = tenant["status"]
    assert status["schema"] == "t_acme"
    assert status["observedGeneration"] == tenant["metadata"]["generation"]
    assert status["migration"]["current"] == status["migration"]["target"]
    assert world.names_on_server("acme") == {*status["roles"], "t_acme", "s_acme"}
    secret = await world.secret("acme-database")
    assert {"type", "provider", "host", "port", "database", "schema", "username", "password", "uri"} <= set(secret)
    with world.login(secret) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("t_acme",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("30s",)
        assert connection.execute("SHOW work_mem").fetchone() == ("8MB",)
        limit = connection.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user").fetchone()
        assert limit == (7,)
    with psycopg.connect(f"{secret['uri'].replace('verify-full', 'require')}") as connection:
        assert connection.execute("SELECT current_user").fetchone() == (secret["username"],)


async def test_a_login_works_with_its_rows_and_is_owner_only_after_set_role(world: TenantWorld) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE things (id int)")
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things (id serial PRIMARY KEY, name text)")
        connection.execute("CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'")
        connection.execute("RESET ROLE")
        connection.execute("INSERT INTO things (name) VALUES ('one')")
        assert connection.execute("SELECT name, twice(id) FROM things").fetchall() == [("one", 2)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE things")


async def test_the_registry_knows_the_tenant(world: TenantWorld) -> None:
    tenant = await world.provision("acme")
    rows = world.fetch(
        "SELECT id::text, name, uid::text, schema, state, version FROM tenantry.tenants", database="tenantry"
    )
    target = tenant["status"]["migration"]["target"]
    assert rows == [(tenant["status"]["id"], "acme", tenant["metadata"]["uid"], "s_acme", "active", target)]


async def test_the_password_is_never_in_the_servers_log(world: TenantWorld) -> None:
    world.execute("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    try:
        await world.provision("acme")
        log = world.postgres.log_file.read_text()
    finally:
        world.execute("ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    assert "ALTER ROLE" in log
    assert (await world.secret("acme-database"))["password"] not in log


async def test_writes_stay_within_the_budget(world: TenantWorld) -> None:
    await world.apply_tenant("acme")
    world.counted.clear()
    await world.reconcile("acme")
    # Finalizer, Secret, status; and one Event.
    assert sorted(world.writes()) == ["PATCH", "PATCH", "POST", "POST"]
    world.counted.clear()
    await world.reconcile("acme")
    assert await world.sweep() == set()
    assert await world.sweep() == {"acme"}, "one look at whether it holds what was made"
    assert await world.sweep() == set()
    assert world.writes() == []
    await world.apply_tenant("acme", database={"connectionLimit": 3})
    world.counted.clear()
    await world.reconcile("acme")
    # Status; and one Event.
    assert sorted(world.writes()) == ["PATCH", "POST"]


async def test_an_own_write_asks_for_no_second_pass(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.refresh()
    world.counted.clear()
    await world.tenants.reconcile(next(key for key in world.cache.keys("Tenant")))
    assert world.counted == []


@pytest.mark.parametrize("what", ["Tenant", "Secret"])
async def test_a_change_that_comes_during_a_pass_is_not_lost(world: TenantWorld, what: str) -> None:
    """The watch brings it while the pass is still writing; the pass that follows must look at it."""
    await world.apply_tenant("acme")
    await world.refresh()
    announced = world.kube.event

    async def change_meanwhile(**event: Any) -> None:
        await announced(**event)
        if what == "Tenant":
            await world.apply_tenant("acme", database={"connectionLimit": 3})
        else:
            await world.kube.delete(SECRETS, "acme-database", namespace=world.settings.namespace)
        await world.refresh()

    world.kube.event = change_meanwhile  # type: ignore[method-assign]
    await world.tenants.reconcile(Key("Tenant", "acme"))
    world.kube.event = announced  # type: ignore[method-assign]
    await world.tenants.reconcile(Key("Tenant", "acme"))
    limit = world.fetch("SELECT rolconnlimit FROM pg_roles WHERE rolname = 't_acme_login_a'")
    assert limit == [(3 if what == "Tenant" else 20,)]
    world.login(await world.secret("acme-database")).close()


async def test_a_removed_status_is_written_again(world: TenantWorld) -> None:
    first = await world.provision("acme")
    await world.kube.merge_patch(
        TENANTS, "acme", {"status": {"id": None, "schema": None, "conditions": None}}, subresource="status"
    )
    await world.reconcile("acme")
    status = (await world.tenant("acme"))["status"]
    assert (status["id"], status["schema"]) == (first["status"]["id"], "t_acme")


async def test_events_tell_what_was_done_once(world: TenantWorld) -> None:
    await world.provision("acme")
    await world.settle()
    assert [reason for reason, _ in await world.events("acme")] == ["Provisioned"]


async def test_a_tenant_waits_for_a_server_that_is_not_prepared(bare_world: TenantWorld) -> None:
    world = bare_world
    await world.apply_tenant("acme")
    assert (await world.reconcile("acme", passes=1)).failed
    assert world.condition(await world.tenant("acme"), "Ready") == ("False", "RegistryUnavailable")
    await world.apply_server()
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_without_a_default_server_a_tenant_says_so_and_can_go(world: TenantWorld) -> None:
    await world.apply_server(default=False)
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("False", "NoDefaultServer")
    await world.leave("acme", "Retain")
    assert await world.kube.get(TENANTS, "acme") is None


async def test_many_tenants_at_once_do_not_hinder_each_other(world: TenantWorld) -> None:
    names = [f"tenant-{number}" for number in range(12)]
    for name in names:
        await world.apply_tenant(name)
    await world.reconcile_at_once(names)
    for name in names:
        assert world.condition(await world.tenant(name), "Ready") == ("True", "Provisioned")
