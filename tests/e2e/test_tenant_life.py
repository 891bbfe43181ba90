"""A Tenant's life on the running system, by kubectl and the command: rotated, shut out, planned, migrated."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tenantry_cluster.waiting import wait_until
from tenantry_testing.demo.callers import AccountsCaller
from tenantry_testing.demo.programs import ProgramFailed
from tenantry_testing.running import MadeTenant, Running, tenant_manifest

MakeTenant = Callable[..., MadeTenant]


def lets_in(url: str) -> bool:
    try:
        with closing(psycopg.connect(url, connect_timeout=10)):
            return True
    except psycopg.OperationalError:
        return False


def through(running: Running) -> str:
    """How the command reaches the demo's Postgres from outside of the cluster."""
    return f"--through={urlsplit(running.postgres_url).netloc.rpartition('@')[2]}"


def refusal(running: Running, key: str) -> tuple[int, str]:
    """Status and kind of problem with which the account service answers."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"{running.gateway_url}/v1/users", headers=headers, timeout=20, trust_env=False)
    return answer.status_code, answer.json().get("type", "").rpartition("/")[2]


def has_secret(running: Running, tenant: MadeTenant) -> bool:
    secret = (f"secret/{tenant.name}-database", "--namespace=tenantry-system", "--ignore-not-found", "-o", "name")
    return bool(running.kubectl("get", *secret))


def test_a_rotation_on_demand_overlaps_and_ends(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    before, old = tenant.secret(), tenant.login_url()
    with closing(psycopg.connect(old, connect_timeout=10)) as busy:  # who is connected keeps the old login alive
        running.kubectl("annotate", "tenant", tenant.name, "tenantry.dev/rotate=now")
        wait_until(lambda: tenant.secret()["username"] != before["username"], seconds=60, what="no new login")
        assert lets_in(tenant.login_url())
        assert lets_in(old)
        assert busy.execute("SELECT 1").fetchone() == (1,)
        tenant.patch({"credentials": {"rotation": {"overlap": "0s"}}})
        wait_until(lambda: not lets_in(old), seconds=60, what="the old login still works")
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 1")
    assert lets_in(tenant.login_url())
    tenant.wait_ready()


def test_a_suspended_tenant_is_shut_out_and_comes_back_as_it_was(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    key, login = tenant.create_key(), tenant.login_url()
    with AccountsCaller(running.gateway_url, key) as caller:
        assert caller.accepts_key()
    running.programs.tenantry("tenant", "suspend", tenant.name)
    assert not lets_in(login)
    # The services remember for up to 5 s who a key belongs to.
    wait_until(lambda: refusal(running, key) == (403, "tenant-suspended"), seconds=30, what="REST still lets in")
    running.kubectl("wait", f"tenant/{tenant.name}", "--for=condition=Suspended", "--timeout=10s")
    running.programs.tenantry("tenant", "resume", tenant.name)
    assert lets_in(login)
    with AccountsCaller(running.gateway_url, key) as caller:
        wait_until(caller.accepts_key, seconds=30, what="REST still refuses")


def test_an_archived_tenant_gets_new_credentials_when_it_comes_back(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    login = tenant.login_url()
    running.programs.tenantry("tenant", "archive", tenant.name)
    assert not has_secret(running, tenant)
    assert not lets_in(login)
    running.programs.tenantry("tenant", "resume", tenant.name)
    assert lets_in(tenant.login_url())
    assert not lets_in(login)


def test_a_plan_says_what_will_be_done_and_then_nothing(running: Running, tmp_path: Path) -> None:
    tenant = MadeTenant("e2e-planned", running)
    manifest = tmp_path / "planned.yaml"
    manifest.write_text(tenant_manifest(tenant.name))
    plan = ("plan", "-f", str(manifest), "-o", "json", through(running))
    with pytest.raises(ProgramFailed) as planned:
        running.programs.tenantry(*plan)
    assert planned.value.code == 2
    assert "t_e2e_planned_owner" in planned.value.output
    assert not running.kubectl("get", "tenants", f"--field-selector=metadata.name={tenant.name}", "-o", "name")
    running.kubectl("apply", "-f", str(manifest))
    try:
        tenant.wait_ready()
        assert running.programs.tenantry(*plan)
    finally:
        tenant.delete()


def test_the_doctor_finds_nothing_that_fails(running: Running) -> None:
    checks = json.loads(running.programs.tenantry("doctor", "-o", "json", through(running)))
    assert "FAIL" not in json.dumps(checks)


def test_a_run_moves_the_tenants_to_the_head_and_tells_so(running: Running, make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    head = running.programs.object("tenant", tenant.name)["status"]["migration"]["target"]
    try:
        running.programs.tenantry(
            "migrate", "run", f"--to={head}", "--name=e2e-rehearsal", "--dry-run", "--wave=rest:2"
        )
        running.programs.tenantry("migrate", "run", f"--to={head}", "--name=e2e-run", "--wave=10%", "--wave=rest:2")
        runs = {run["metadata"]["name"]: run["status"] for run in running.programs.items("migrationruns")}
        assert {name: run["phase"] for name, run in runs.items()} == {
            "e2e-rehearsal": "Planned",
            "e2e-run": "Succeeded",
        }
        assert running.kubectl("get", "mr").splitlines()[0].split()[0] == "NAME"
    finally:
        running.kubectl("delete", "mr", "e2e-rehearsal", "e2e-run", "--ignore-not-found")


@pytest.mark.parametrize(
    ("isolation", "query"),
    [("Database", "SELECT current_database()"), ("Pooled", "SELECT email FROM tenantry_pool.users")],
)
def test_a_tenant_of_another_isolation_is_let_in_and_served(running: Running, isolation: str, query: str) -> None:
    tenant = MadeTenant(f"e2e-{isolation.lower()}", running)
    running.kubectl("apply", "-f", "-", stdin=tenant_manifest(tenant.name, isolation=isolation))
    try:
        tenant.wait_ready()
        with AccountsCaller(running.gateway_url, tenant.create_key()) as caller:
            caller.ensure_user({"email": "ada@e2e.example", "display_name": "Ada"})
        with closing(psycopg.connect(tenant.login_url(), connect_timeout=10)) as login:
            own = {"Database": "t_e2e_database", "Pooled": "ada@e2e.example"}
            assert login.execute(query.encode()).fetchall() == [(own[isolation],)]
    finally:
        tenant.delete()
