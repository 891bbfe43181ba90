"""IsolationVerified: holes are seen by the catalogue and by a log-in, closed where that is ours, else named."""

from datetime import timedelta
from typing import Any

import pytest

from tenantry_operator.model.exposure import Trial
from tenantry_operator.model.isolation import Isolation, layout_of
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.isolation import read_shared_ways, read_ways
from tenantry_operator.observe.trial import try_log_in
from tenantry_operator.plan import tenant_isolation as plan_isolation
from tenantry_operator.reconcile import tenant_isolation
from tenantry_testing.holes import CLOSED_BY_US, NAMED_ONLY, PREPARED, UNDONE, Opened, taken_back
from tenantry_testing.tenant_world import TenantWorld

HELD = ("True", "Verified")
BROKEN = ("False", "IsolationBroken")


async def two_tenants(world: TenantWorld) -> None:
    for name in ("acme", "beta"):
        await world.provision(name)
    await world.settle()


async def verdict(world: TenantWorld, name: str = "acme") -> tuple[tuple[str, str] | None, tuple[str, str] | None, Any]:
    tenant = await world.tenant(name)
    shown = [world.condition(tenant, kind) for kind in ("IsolationVerified", "Ready")]
    return shown[0], shown[1], tenant["status"].get("verifiedAt")


def metric(world: TenantWorld, name: str, **labels: str) -> float:
    return world.metrics.registry.get_sample_value(f"tenantry_{name}", labels) or 0.0


async def ways(world: TenantWorld) -> set[str]:
    """Return what is seen of acme now, beside the facts, by kind."""
    address = await world.addresses.address("primary")
    async with world.servers.connection(address) as connection:
        shared = await read_shared_ways(connection, closed=["tenantry"])
        own = await read_ways(connection, [TenantNames("acme"), TenantNames("beta")])
    return {f"{one.way}: {one.subject} {one.detail}" for one in shared | own.get("acme", frozenset())}


async def trial(world: TenantWorld, name: str = "acme", *, isolation: Isolation = Isolation.SCHEMA) -> Trial:
    address = await world.addresses.address("primary")
    secret = await world.secret(f"{name}-database")
    layout = layout_of(TenantNames(name), isolation, server="primary", database=address.database)
    who = {"login": secret["username"], "password": secret["password"]}
    return await try_log_in(world.servers, address, layout, **who, registry="tenantry")


async def test_a_new_tenant_is_verified_within_its_budget_and_tried_once(world: TenantWorld) -> None:
    await world.provision("beta")
    world.counted.clear()
    await world.provision("acme")
    assert len(world.writes()) == 3 + 2, "finalizer, Secret, status; the test's own create and an Event"
    first = await verdict(world)
    assert first[0] == HELD
    assert first[2]
    world.counted.clear()
    await world.settle()
    assert world.writes() == []
    assert await verdict(world) == first
    assert metric(world, "isolation_checks_total", check="log-in", outcome="held") == 2
    assert metric(world, "isolation_checked_timestamp_seconds", check="catalogue") > 0
    await world.settle()
    assert metric(world, "isolation_checks_total", check="log-in", outcome="held") == 2
    # What is open is said of a new one by the very pass that makes it.
    world.execute("CREATE SCHEMA shared", "GRANT CREATE ON SCHEMA shared TO PUBLIC")
    await world.sweep()
    world.counted.clear()
    await world.apply_tenant("gamma")
    await world.reconcile("gamma")
    assert len(world.writes()) == 3 + 2
    assert (await verdict(world, "gamma"))[:2] == (BROKEN, BROKEN)


async def test_a_new_process_tries_nobody_at_once(world: TenantWorld) -> None:
    await two_tenants(world)
    await world.restart()
    world.counted.clear()
    for _ in range(3):
        await world.sweep()
    assert world.writes() == []
    assert metric(world, "isolation_checks_total", check="log-in", outcome="held") <= 1, "a turn may have come"


async def test_nothing_of_our_own_is_a_way(world: TenantWorld) -> None:
    await two_tenants(world)
    assert await ways(world) == set()
    assert await trial(world) == Trial()
    world.execute(*PREPARED)
    try:
        assert await ways(world) == set()
    finally:
        world.execute(*UNDONE)


async def test_what_is_open_to_all_is_closed_by_the_pass_over_the_server(world: TenantWorld) -> None:
    await two_tenants(world)
    world.execute("CREATE ROLE s_stranger LOGIN")
    for hole in CLOSED_BY_US:
        world.execute(*hole.opened)
        await assert_seen(world, hole)
        await world.reconcile_server()
        world.execute(*taken_back(hole.opened, world.postgres.version()))
        await world.settle()
        assert await ways(world) == set(), hole
        shown = await verdict(world)
        assert shown[:2] == (HELD, ("True", "Provisioned")), (hole, shown)


async def test_what_is_not_ours_to_close_is_named_until_it_is_closed(world: TenantWorld) -> None:
    await two_tenants(world)
    world.execute(*PREPARED)
    try:
        for hole in NAMED_ONLY:
            before = await verdict(world)
            assert before[:2] == (HELD, ("True", "Provisioned")), (hole, before)
            world.execute(*hole.opened)
            await world.reconcile_server()
            await assert_seen(world, hole)
            assert before[2] is not None
            assert (await verdict(world))[2] is None
            world.execute(*hole.closed)
            await world.settle()
    finally:
        world.execute(*UNDONE)
    await world.settle()
    assert (await verdict(world))[:2] == (HELD, ("True", "Provisioned"))


async def assert_seen(world: TenantWorld, hole: Opened) -> None:
    """The sweep sees it, Ready says so, a metric counts it, and an Event tells it once."""
    counted = holes_counted(world)
    await world.settle()
    shown = await verdict(world)
    assert shown[:2] == (BROKEN, BROKEN), (hole, shown)
    tenant = await world.tenant("acme")
    assert hole.said in world.message(tenant, "IsolationVerified"), hole
    assert holes_counted(world) > counted, hole
    assert "IsolationBroken" in {reason for reason, _ in await world.events("acme")}
    assert world.condition(tenant, "Stalled") == ("True", "IsolationBroken")


def holes_counted(world: TenantWorld) -> float:
    found = [one for family in world.metrics.registry.collect() for one in family.samples]
    return sum(one.value for one in found if one.name == "tenantry_isolation_holes_total")


async def test_a_reported_drift_that_opens_is_a_hole(world: TenantWorld) -> None:
    for name in ("acme", "beta"):
        await world.provision(name, driftPolicy="Report")
    await world.settle()
    world.execute("GRANT t_beta_app TO t_acme_login_a")
    await world.settle()
    isolation, ready, _ = await verdict(world)
    assert isolation == BROKEN
    assert ready == ("False", "DriftBreaksIsolation")


TRIED = {
    "a neighbour's role": ("GRANT t_beta_app TO t_acme_login_a", "SET ROLE t_beta_app"),
    "a neighbour's schema": ("GRANT USAGE ON SCHEMA t_beta TO t_acme_app", "FROM t_beta.tenantry_trial"),
    "the owner's reach": ("GRANT USAGE ON SCHEMA t_beta TO t_acme_owner", "t_acme_owner: SELECT FROM t_beta"),
    "the services' schema": (
        "GRANT USAGE ON SCHEMA s_acme TO t_acme_app; GRANT SELECT ON s_acme.schema_version TO t_acme_app",
        "FROM s_acme.schema_version",
    ),
    "a power": ("GRANT pg_read_server_files TO t_acme_login_a", "SET ROLE pg_read_server_files"),
    "a schema of its own": ("GRANT CREATE ON DATABASE app TO t_acme_app", "CREATE in database app"),
    "the registry": ("GRANT CONNECT ON DATABASE tenantry TO t_acme_app", "CONNECT in database tenantry"),
    "the neighbour's schema to write": ("GRANT CREATE ON SCHEMA t_beta TO t_acme_app", "CREATE in schema t_beta"),
    "passwords": ("GRANT SELECT ON pg_authid TO t_acme_login_a", "pg_authid"),
}


HIDING = (
    "SET ROLE t_acme_owner",
    "CREATE FUNCTION t_acme.hide(text[], text) RETURNS text[] LANGUAGE sql AS 'SELECT $1'",
    "CREATE OPERATOR t_acme.|| (LEFTARG = text[], RIGHTARG = text, FUNCTION = t_acme.hide)",
)
"""What a tenant that has found a way may make in its own schema, so that a trial does not add up what it reached."""


async def test_a_log_in_finds_each_way_without_the_catalogues_help(world: TenantWorld) -> None:
    await two_tenants(world)
    with world.login(await world.secret("acme-database")) as connection:
        for statement in HIDING:
            connection.execute(statement)
    for opened, said in TRIED.values():
        world.execute(*opened.split("; "))
        found = (await trial(world)).reached
        assert any(said in one for one in found), (opened, found)
        await world.reconcile("acme")
        await world.sweep()
        if "pg_authid" in opened:
            world.execute("REVOKE SELECT ON pg_authid FROM t_acme_login_a")
        world.execute(*taken_back([opened], world.postgres.version()))
        assert await trial(world) == Trial(), opened


PLANTED = (
    "SET ROLE t_acme_owner",
    "CREATE FUNCTION public.mine(name, text) RETURNS bool LANGUAGE plpgsql"
    " AS 'BEGIN CREATE ROLE s_planted; RETURN true; END'",
    "GRANT EXECUTE ON FUNCTION public.mine(name, text) TO PUBLIC",
    "CREATE OPERATOR public.^@ (LEFTARG = name, RIGHTARG = text, FUNCTION = public.mine)",
)


async def test_what_a_tenant_left_in_public_is_named_and_not_run_by_the_operator(world: TenantWorld) -> None:
    await two_tenants(world)
    world.execute("GRANT ALL ON SCHEMA public TO PUBLIC")
    with world.login(await world.secret("acme-database")) as connection:
        for statement in PLANTED:
            connection.execute(statement)
    world.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    try:
        planted = "function public.mine(pg_catalog.name,pg_catalog.text)"
        assert await ways(world) == {f"object outside: {planted} t_acme_owner"}
        await world.settle()
        assert (await verdict(world))[0] == BROKEN
    finally:
        world.execute("DROP FUNCTION public.mine(name, text) CASCADE")
    await world.settle()
    assert (await verdict(world))[0] == HELD
    assert world.fetch("SELECT FROM pg_roles WHERE rolname = 's_planted'") == []


async def test_a_log_in_that_gets_through_turns_ready_to_false(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the catalogue's checks overlook, as here all of it."""
    await two_tenants(world)

    async def sees(*_: object, **__: object) -> Trial:
        return Trial(reached=("t_acme_login_a: SET ROLE t_beta_app",))

    monkeypatch.setattr(tenant_isolation, "try_log_in", sees)
    world.execute("CREATE TABLE t_acme.more (id int)", "ALTER TABLE t_acme.more OWNER TO t_acme_owner")
    await world.provision("acme", database={"connectionLimit": 7})
    await world.settle()
    isolation, ready, verified = await verdict(world)
    assert (isolation, ready, verified) == (BROKEN, BROKEN, None)
    monkeypatch.undo()
    await world.provision("acme", database={"connectionLimit": 8})
    await world.settle()
    assert (await verdict(world))[:2] == (HELD, ("True", "Provisioned"))


async def test_a_password_changed_by_hand_is_the_secrets_again_or_told(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.provision("acme")
    await world.provision("beta", driftPolicy="Report")
    await world.settle()
    before = {name: await world.secret(f"{name}-database") for name in ("acme", "beta")}
    with world.login(before["acme"]) as session:
        for name in before:
            # The other change has the pass look, and log in, now and not within the hour.
            world.execute(f"ALTER ROLE t_{name}_login_a PASSWORD 'another'", f"ALTER ROLE t_{name}_migrator INHERIT")
        await world.settle()
        session.execute("SELECT 1")
    assert {name: await world.secret(f"{name}-database") for name in before} == before
    with world.login(before["acme"]) as connection:
        connection.execute("SELECT 1")
    assert (await verdict(world))[:2] == (HELD, ("True", "Provisioned"))
    assert [note for reason, note in await world.events("acme") if reason == "Repaired" and "ResetPassword" in note]
    # Where it is only told, it stays until somebody else puts it right.
    with world.login({**before["beta"], "password": "another"}) as connection:
        connection.execute("SELECT 1")
    assert (await verdict(world, "beta"))[:2] == (("Unknown", "LogInRefused"), ("False", "DriftBreaksTenant"))
    said = "ResetPassword: t_beta_login_a has not the Secret's password"
    assert said in {one["what"] for one in (await world.tenant("beta"))["status"]["drift"]}
    password = before["beta"]["password"]
    world.execute(f"ALTER ROLE t_beta_login_a PASSWORD '{password}'", "ALTER ROLE t_beta_migrator NOINHERIT")
    with monkeypatch.context() as patch:
        patch.setattr(plan_isolation, "RETRY", timedelta(0))
        await world.reconcile_once("beta")
    await world.settle()
    assert (await verdict(world, "beta"))[:2] == (HELD, ("True", "Provisioned"))
    assert (await world.tenant("beta"))["status"]["drift"] == []


async def test_a_suspended_tenant_is_judged_by_the_catalogue(world: TenantWorld) -> None:
    await two_tenants(world)
    await world.apply_tenant("acme", lifecycle="Suspended")
    await world.reconcile("acme")
    await world.settle()
    assert (await verdict(world))[:2] == (HELD, ("True", "Suspended"))
