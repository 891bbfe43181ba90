"""Rotation on a real Postgres and a real API server: by the annotation, through crashes, and with clients on it."""

import asyncio
import base64
import json
import logging
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tenantry_crds import names as api
from tenantry_operator.clients.kube import EVENTS, SECRETS, TENANTS
from tenantry_operator.engine.queue import Key
from tenantry_testing.tenant_crash import until_it_dies
from tenantry_testing.tenant_world import TenantWorld

A, B = "t_acme_login_a", "t_acme_login_b"
STEPS = range(14)
"""More than a pass has requests and transactions."""


async def ask(world: TenantWorld, value: str = "now") -> None:
    annotations = {api.ANNOTATION_ROTATE: value}
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": annotations}})


async def overlap(world: TenantWorld, length: str) -> None:
    await world.apply_tenant("acme", credentials={"rotation": {"overlap": length}})


async def notes(world: TenantWorld) -> dict[str, str]:
    found = await world.kube.get(SECRETS, "acme-database", namespace=world.settings.namespace)
    assert found is not None
    annotations: dict[str, str] = found["metadata"]["annotations"]
    return annotations


async def lose_secret(world: TenantWorld) -> None:
    await world.kube.delete(SECRETS, "acme-database", namespace=world.settings.namespace)


async def edit_password(world: TenantWorld) -> None:
    changes = {"stringData": {"password": "chosen-by-a-hand" * 3}}
    await world.kube.merge_patch(SECRETS, "acme-database", changes, namespace=world.settings.namespace)


async def archive(world: TenantWorld) -> None:
    await world.apply_tenant("acme", lifecycle="Archived")


async def resume(world: TenantWorld) -> None:
    await world.apply_tenant("acme", lifecycle="Active")


def logins(world: TenantWorld) -> list[str]:
    query = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^t_acme_login_' AND rolcanlogin ORDER BY 1"
    return [name for (name,) in world.fetch(query)]


async def until_level(world: TenantWorld) -> None:
    """Run passes as the queue does with those that ask for another one at once."""
    for _ in range(6):
        result = await world.reconcile("acme")
        if result.requeue_after is None or result.requeue_after > 1:
            return
    raise AssertionError("each pass asks for another one at once")


async def test_a_rotation_gives_another_login_and_the_old_one_works_on(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await world.secret("acme-database")
    with world.login(before) as old:
        await ask(world)
        await until_level(world)
        after = await world.secret("acme-database")
        assert (before["username"], after["username"]) == (A, B)
        assert after["password"] != before["password"]
        old.execute("SELECT 1")
        with world.login(before) as again, world.login(after) as new:
            again.execute("SELECT 1")
            new.execute("SET ROLE t_acme_owner")
            new.execute("CREATE TABLE of_b (id int)")
            assert new.execute("SHOW search_path").fetchone() == ("t_acme",)
        noted = await notes(world)
        rotated_at = datetime.fromisoformat(noted[api.ANNOTATION_ROTATED_AT])
        assert datetime.fromisoformat(noted[api.ANNOTATION_PREVIOUS_EXPIRES_AT]) == rotated_at + timedelta(hours=1)
        tenant = await world.tenant("acme")
        assert tenant["status"]["credentials"]["activeSlot"] == "b"
        assert B in world.message(tenant, "CredentialsReady")
        assert A in world.message(tenant, "CredentialsReady")
        assert "Rotated" in [reason for reason, _ in await world.events("acme")]
        await world.settle()
        assert world.tenants._timers.left("acme") is not None


async def test_a_shortened_overlap_ends_the_old_login_at_once_and_keeps_what_it_made(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await world.secret("acme-database")
    old = world.login(before)
    large = old.execute("SELECT lo_from_bytea(0, 'kept')").fetchone()
    assert large is not None
    old.commit()
    await ask(world)
    await until_level(world)
    assert logins(world) == [A, B]
    await overlap(world, "0s")
    await until_level(world)
    assert logins(world) == [B]
    with pytest.raises(psycopg.OperationalError):
        old.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        world.login(before)
    query = "SELECT lomowner::regrole::text FROM pg_largeobject_metadata WHERE oid = %s"
    assert world.fetch(query, large[0]) == [("t_acme_owner",)]
    tenant = await world.tenant("acme")
    assert "previousExpiresAt" not in tenant["status"]["credentials"]
    assert A not in tenant["status"]["roles"]
    assert "Retired" in [reason for reason, _ in await world.events("acme")]
    await world.settle()
    world.counted.clear()
    await world.reconcile_once("acme")
    assert world.writes() == []


async def test_a_second_rotation_waits_and_is_honoured(world: TenantWorld) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")):
        await ask(world, "one")
        await until_level(world)
        await ask(world, "two")
        await until_level(world)
        assert (await notes(world))[api.ANNOTATION_ROTATED_FOR] == "one"
        assert "another rotation is asked for" in world.message(await world.tenant("acme"), "CredentialsReady")
    await overlap(world, "0s")
    await until_level(world)
    assert (await notes(world))[api.ANNOTATION_ROTATED_FOR] == "two"
    assert (await world.secret("acme-database"))["username"] == A
    assert logins(world) == [A]


@pytest.mark.parametrize("calls", STEPS)
async def test_a_rotation_survives_a_crash(world: TenantWorld, calls: int) -> None:
    await world.provision("acme")
    before = await world.secret("acme-database")
    await ask(world)
    await until_it_dies(world, "acme", calls)
    world.login(await world.secret("acme-database")).close()
    await world.restart()
    with world.login(before):
        await until_level(world)
        after = await world.secret("acme-database")
        assert after["username"] == B
        assert after["password"] != before["password"]
        with world.login(after) as new:
            new.execute("SELECT 1")
        world.login(before).close()
    await world.settle()


@pytest.mark.parametrize("calls", STEPS)
async def test_the_end_of_a_login_survives_a_crash(world: TenantWorld, calls: int) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")):
        await ask(world)
        await until_level(world)
        await overlap(world, "0s")
        await until_it_dies(world, "acme", calls)
        world.login(await world.secret("acme-database")).close()
        await world.restart()
        await until_level(world)
    assert logins(world) == [B]
    assert world.names_on_server("acme") & {A, B} == {B}
    await world.settle()


async def test_a_lost_secret_in_an_overlap_shuts_nobody_out(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await world.secret("acme-database")
    with world.login(before) as old:
        await ask(world)
        await until_level(world)
        await world.kube.delete(SECRETS, "acme-database", namespace=world.settings.namespace)
        await until_level(world)
        after = await world.secret("acme-database")
        assert after["username"] == B
        world.login(after).close()
        old.execute("SELECT 1")
        world.login(before).close()
    assert "SecretLost" in [reason for reason, _ in await world.events("acme")]
    assert b"tenantry_secrets_lost_total 1.0" in world.tenants._metrics.render()


async def test_a_tenant_of_two_logins_leaves_without_a_trace(world: TenantWorld) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")):
        await ask(world)
        await until_level(world)
        assert logins(world) == [A, B]
        await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == set()


async def test_a_released_tenant_of_two_logins_keeps_neither(world: TenantWorld) -> None:
    await world.provision("acme")
    with world.login(await world.secret("acme-database")):
        await ask(world)
        await until_level(world)
        await world.leave("acme", "Retain")
    assert logins(world) == []


async def test_the_template_adds_keys(world: TenantWorld) -> None:
    template = {"DSN": "postgresql://{username}:{password}@{host}:{port}/{database}", "jdbc": "{schema}?{sslmode}"}
    await world.provision("acme", credentials={"template": template})
    secret = await world.secret("acme-database")
    assert secret["uri"].startswith(secret["DSN"])
    assert secret["jdbc"] == "t_acme?verify-full"
    await world.apply_tenant("acme", credentials={"template": {"jdbc": None, "host2": "{host}"}})
    await world.reconcile("acme")
    changed = await world.secret("acme-database")
    assert {"DSN", "host2"} <= {*changed}
    assert "jdbc" not in changed
    assert changed["password"] == secret["password"]


async def test_a_suspended_tenant_rotates_when_it_is_resumed(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await world.secret("acme-database")
    await world.apply_tenant("acme", lifecycle="Suspended")
    await world.reconcile("acme")
    await ask(world)
    result = await world.reconcile("acme")
    assert result.requeue_after is None
    assert await world.secret("acme-database") == before
    assert logins(world) == []
    await world.apply_tenant("acme", lifecycle="Active")
    await until_level(world)
    after = await world.secret("acme-database")
    assert after["username"] == B
    with world.login(before), world.login(after):
        assert logins(world) == [A, B]
    await world.apply_tenant("acme", lifecycle="Archived")
    await world.reconcile("acme")
    assert not {A, B} & world.names_on_server("acme")
    assert "credentials" not in (await world.tenant("acme"))["status"]
    await world.settle()


async def test_no_password_is_anywhere_but_in_the_secret(world: TenantWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Through its life, with a rotation, a loss and an edit: not in SQL text, log, Event, status or metrics."""
    passwords = []
    caplog.set_level(logging.DEBUG, logger="tenantry_operator")
    world.execute("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    try:
        await world.provision("acme")
        for change in (ask, lose_secret, edit_password, archive, resume):
            passwords.append((await world.secret("acme-database")).get("password", ""))
            await change(world)
            await until_level(world)
        passwords.append((await world.secret("acme-database"))["password"])
        statements = world.postgres.log_file.read_text()
    finally:
        world.execute("ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    passwords = [password for password in passwords if password]
    assert len(set(passwords)) == len(passwords) == 5
    events = await world.kube.list(EVENTS, namespace="default")
    said = {
        "SQL": statements,
        "log": "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records),
        "Events": json.dumps(events),
        "Tenant": json.dumps(await world.tenant("acme")),
        "annotations": json.dumps(await notes(world)),
        "metrics": world.tenants._metrics.render().decode(),
        "registry": str(world.fetch("SELECT to_jsonb(t) FROM tenantry.tenants t", database="tenantry")),
    }
    assert "SCRAM-SHA-256$" in said["SQL"]
    assert "Tenant reconciled" in said["log"]
    assert {"Rotated", "SecretLost"} <= {event["reason"] for event in events}
    for password in passwords:
        hidden = (password, base64.b64encode(password.encode()).decode())
        assert [place for place, text in said.items() if any(one in text for one in hidden)] == []


async def test_what_a_timer_asks_for_is_not_skipped(world: TenantWorld) -> None:
    await world.provision("acme", credentials={"rotation": {"overlap": "2s"}})
    await world.settle()
    await ask(world)
    result = await world.reconcile("acme")
    assert result.requeue_after is not None
    assert 0 < result.requeue_after <= 2
    assert logins(world) == [A, B]
    # Nothing changes from here on: only the time passes.
    key = Key("Tenant", "acme")
    while datetime.now(UTC) < datetime.fromisoformat((await notes(world))[api.ANNOTATION_PREVIOUS_EXPIRES_AT]):
        result = await world.tenants.reconcile(key)
        await asyncio.sleep(min(result.requeue_after or 0, 0.2))
    await world.tenants.reconcile(key)
    assert logins(world) == [B]
