"""A Tenant by kubectl, on the running system: what it gets, what it cannot reach, what is refused, how it goes."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenantry_testing.demo.facts import SERVER
from tenantry_testing.running import MadeTenant, Running, tenant_manifest

MakeTenant = Callable[..., MadeTenant]
SERVICE_BINDING_KEYS = {"type", "provider", "host", "port", "database", "schema", "username", "password", "uri"}
NAME = "e2e-refused"


def session(url: str) -> closing[psycopg.Connection[Any]]:
    return closing(psycopg.connect(url, autocommit=True, connect_timeout=10))


def eventually(what: str, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.2)


def key(tenant: MadeTenant) -> str:
    return tenant.name.replace("-", "_")


def roles(running: Running, tenant: MadeTenant) -> set[str]:
    with session(running.postgres_url) as administrator:
        found = administrator.execute(
            "SELECT rolname FROM pg_roles WHERE rolname ~ %s", [f"^[ts]_{key(tenant)}_"]
        ).fetchall()
    return {name for (name,) in found}


def schemas(running: Running, tenant: MadeTenant) -> set[str]:
    with session(running.postgres_url) as administrator:
        found = administrator.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", [[f"t_{key(tenant)}", f"s_{key(tenant)}"]]
        ).fetchall()
    return {name for (name,) in found}


def test_a_tenant_gets_schemas_roles_and_a_secret_that_works(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    status = running.programs.object("tenant", tenant.name)["status"]
    assert status["schema"] == f"t_{key(tenant)}"
    assert status["migration"]["current"] == status["migration"]["target"]
    assert schemas(running, tenant) == {f"t_{key(tenant)}", f"s_{key(tenant)}"}
    assert set(tenant.secret()) >= SERVICE_BINDING_KEYS
    with session(tenant.login_url()) as login:
        login.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"t_{key(tenant)}_owner")))
        login.execute("CREATE TABLE notes (id int PRIMARY KEY, text text)")
        login.execute("RESET ROLE")
        login.execute("INSERT INTO notes VALUES (1, 'kept')")
        assert login.execute("SELECT text FROM notes").fetchall() == [("kept",)]
        assert login.execute("SHOW statement_timeout").fetchone() == ("30s",)


def test_the_columns_tell_a_person_how_it_is(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    head, line = running.kubectl("get", "tenants", tenant.name).splitlines()
    assert head.split() == ["NAME", "READY", "PHASE", "ISOLATION", "SCHEMA", "VERSION", "ROTATED", "AGE"]
    assert line.split()[:5] == [tenant.name, "True", "Ready", "Schema", f"t_{key(tenant)}"]
    assert "Provisioned" in running.kubectl("describe", "tenant", tenant.name)


@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT * FROM t_{other}.notes",
        "INSERT INTO t_{other}.notes VALUES (2, 'mine')",
        "CREATE TABLE t_{other}.mine (id int)",
        "SELECT * FROM s_{other}.users",
        "SELECT * FROM s_{own}.users",
        "SET ROLE t_{other}_owner",
        "SET ROLE t_{other}_app",
        "SET ROLE s_{own}_accounts",
        "SET ROLE tenantry_owner",
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "ALTER ROLE t_{other}_login_a PASSWORD 'mine'",
        "GRANT t_{other}_owner TO t_{own}_login_a",
        "DROP ROLE t_{other}_app",
        "ALTER TABLE t_{other}.notes OWNER TO t_{own}_owner",
    ],
)
def test_a_login_reaches_nothing_of_another_tenant(two_tenants: tuple[MadeTenant, MadeTenant], attempt: str) -> None:
    own, other = two_tenants
    statement = attempt.format(own=key(own), other=key(other))
    for role in (None, f"t_{key(own)}_owner"):
        with session(own.login_url()) as login:
            if role:
                login.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName)):
                login.execute(statement.encode())


def test_a_login_does_not_enter_the_registry(two_tenants: tuple[MadeTenant, MadeTenant]) -> None:
    own, _ = two_tenants
    url = own.login_url().replace("/app?", "/tenantry?")
    assert url != own.login_url()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url, connect_timeout=10)


def test_what_is_taken_away_by_hand_comes_back(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    whole = roles(running, tenant)
    # In one transaction, lest the operator repairs the first half before the second.
    with session(running.postgres_url) as administrator, administrator.transaction():
        login = sql.Identifier(f"t_{key(tenant)}_login_a")
        administrator.execute(sql.SQL("DROP OWNED BY {}").format(login))
        administrator.execute(sql.SQL("DROP ROLE {}").format(login))
    running.kubectl("delete", "secret", f"{tenant.name}-database", "--namespace=tenantry-system")
    eventually("the role is back", lambda: roles(running, tenant) == whole)
    eventually("the Secret is back, and lets in", lambda: lets_in(running, tenant))
    tenant.wait_ready()


def lets_in(running: Running, tenant: MadeTenant) -> bool:
    there = running.kubectl(
        "get", "secret", f"{tenant.name}-database", "--namespace=tenantry-system", "--ignore-not-found", "-o", "name"
    )
    if not there:
        return False
    try:
        psycopg.connect(tenant.login_url(), connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [
        ("Wrong_Name", {}, "metadata.name"),
        ("tenantry-own", {}, "metadata.name"),
        ("a" * 40, {}, "metadata.name"),
        (NAME, {"isolation": "Planet"}, "spec.isolation"),
        (NAME, {"displayName": "x" * 300}, "spec.displayName"),
        (NAME, {"displayname": "misspelt"}, 'unknown field "spec.displayname"'),
        (NAME, {"database": {"connectionLimit": 0}}, "spec.database.connectionLimit"),
        (NAME, {"database": {"settings": {"statement_timeout": "soon"}}}, "spec.database.settings.statement_timeout"),
    ],
)
def test_bad_input_is_refused_at_apply(running: Running, name: str, spec: dict[str, Any], said: str) -> None:
    assert said in running.refused("apply", "-f", "-", stdin=tenant_manifest(name, **spec))
    assert not running.kubectl("get", "tenants", "--field-selector", f"metadata.name={NAME}", "-o", "name")


@pytest.mark.parametrize("patch", [{"isolation": None}, {"databaseServer": "other"}, {"databaseServer": None}])
def test_an_immutable_field_is_refused(running: Running, placed_tenant: MadeTenant, patch: dict[str, Any]) -> None:
    said = running.refused(
        "patch", "tenant", placed_tenant.name, "--type=merge", "--patch", json.dumps({"spec": patch})
    )
    assert f"spec.{next(iter(patch))}" in said


def test_a_protected_tenant_is_not_deleted(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    said = running.refused("delete", "tenant", tenant.name, "--wait=false")
    assert "deletionProtection" in said
    assert running.programs.object("tenant", tenant.name)["metadata"].get("deletionTimestamp") is None


def test_delete_drops_everything(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    tenant.delete(policy="Delete")
    assert (roles(running, tenant), schemas(running, tenant)) == (set(), set())
    assert not running.kubectl(
        "get", "secret", f"{tenant.name}-database", "--namespace=tenantry-system", "--ignore-not-found"
    )


def test_retain_keeps_the_data_for_a_tenant_of_the_same_name(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    before = running.programs.object("tenant", tenant.name)["status"]["id"]
    with session(tenant.login_url()) as login:
        login.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"t_{key(tenant)}_owner")))
        login.execute("CREATE TABLE notes AS SELECT 1 AS id, 'kept'::text AS text")
    tenant.delete(policy="Retain")
    assert f"t_{key(tenant)}_login_a" not in roles(running, tenant)
    assert schemas(running, tenant) == {f"t_{key(tenant)}", f"s_{key(tenant)}"}
    running.kubectl("apply", "-f", "-", stdin=tenant_manifest(tenant.name))
    tenant.wait_ready()
    assert running.programs.object("tenant", tenant.name)["status"]["id"] == before
    with session(tenant.login_url()) as login:
        assert login.execute("SELECT text FROM notes").fetchall() == [("kept",)]


def test_an_unreachable_server_says_why_and_recovers(running: Running, outage: int) -> None:
    running.kubectl("wait", f"dbs/{SERVER}", "--for=condition=Reachable=False", "--timeout=60s")
    conditions = {c["type"]: c for c in running.programs.object("dbs", SERVER)["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Reachable"]["reason"] == "NotReachable"
    assert str(outage) in conditions["Reachable"]["message"]
    running.kubectl("apply", "-f", str(running.layout.root / "examples/databaseserver.yaml"))
    running.kubectl("wait", f"dbs/{SERVER}", "--for=condition=Ready", "--timeout=60s")
    running.kubectl("wait", "tenant/acme", "--for=condition=Ready", "--timeout=60s")
