"""The whole operator on a real Postgres and a real API server: killed, cut off, disturbed; in the end all is true."""

import base64
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from tenantry_cluster import Layout
from tenantry_operator.model.names import TenantNames
from tenantry_testing.bench.world import SERVER, SYSTEM, BenchWorld
from tenantry_testing.kubectl import Kubectl
from tenantry_testing.operator_process import OperatorProcess
from tenantry_testing.postgres import Login

QUICK = {
    "TENANTRY_REGISTRY_SERVER": SERVER,
    "TENANTRY_LEASE_DURATION": "6",
    "TENANTRY_LEASE_RENEW_DEADLINE": "4.5",
    "TENANTRY_LEASE_RENEW_INTERVAL": "0.3",
    "TENANTRY_SWEEP_INTERVAL": "2",
    # Each test ends with all its Tenants deleted at once.
    "TENANTRY_BREAKER_DROPS": "1000",
}


def wait_until(condition: Callable[[], bool], what: str, limit: float = 60.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} within {limit} s"
        time.sleep(0.05)


class Site:
    """One installation, and the eyes of its administrator."""

    def __init__(self, world: BenchWorld, folder: Path) -> None:
        self.world = world
        self.kubectl = Kubectl(world.layout.bin / "kubectl", world.plane.kubeconfig)
        self._folder = folder
        self._operators: list[OperatorProcess] = []
        self._made: list[str] = []

    def operator(self, pod_name: str = "a") -> OperatorProcess:
        log = self._folder / f"{pod_name}.log"
        operator = OperatorProcess(self.world.plane.kubeconfig, log, pod_name=pod_name, env=QUICK)
        self._operators.append(operator)
        return operator

    def apply(self, names: Sequence[str]) -> None:
        items = [
            {
                "apiVersion": "tenantry.dev/v1alpha1",
                "kind": "Tenant",
                "metadata": {"name": name},
                "spec": {
                    "displayName": name,
                    "isolation": "Schema",
                    "deletionPolicy": "Delete",
                    "deletionProtection": "Disabled",
                },
            }
            for name in names
        ]
        self._made += names
        self.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})

    def ready(self, name: str) -> tuple[str, str]:
        """Status and reason of Ready; empty before there is one."""
        path = '{range .status.conditions[?(@.type=="Ready")]}{.status} {.reason}{end}'
        words = self.kubectl("get", "tenant", name, "-o", f"jsonpath={path}").split()
        return (words[0], words[1]) if words else ("", "")

    def wait_ready(self, names: Sequence[str], limit: int = 90) -> None:
        tenants = [f"tenant/{name}" for name in names]
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={limit}s", *tenants)

    def secrets(self) -> dict[str, dict[str, str]]:
        """The tenants' Secrets by tenant, decoded."""
        text = self.kubectl("get", "secrets", "-n", SYSTEM, "-l", "tenantry.dev/tenant", "-o", "json")
        return {
            item["metadata"]["labels"]["tenantry.dev/tenant"]: {
                key: base64.b64decode(value).decode() for key, value in item["data"].items()
            }
            for item in json.loads(text)["items"]
        }

    def names_in_postgres(self, what: str) -> set[str]:
        """Roles or schemas under tenants' names."""
        column, table = {"roles": ("rolname", "pg_roles"), "schemas": ("nspname", "pg_namespace")}[what]
        with self.world.postgres.connect("app") as connection:
            return {row[0] for row in connection.execute(f"SELECT {column} FROM {table} WHERE {column} ~ '^[ts]_'")}

    def sessions(self) -> list[str]:
        with self.world.postgres.connect("app") as connection:
            rows = connection.execute(
                "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'tenantry:%'"
            )
            return [row[0] for row in rows]

    def logs_in(self, secret: dict[str, str]) -> bool:
        login = Login(secret["username"], secret["password"])
        try:
            with self.world.postgres.connect(secret["database"], login) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def assert_whole(self, names: Sequence[str]) -> None:
        """Each Tenant has all that it should, and there is nothing else."""
        wanted = [TenantNames(name) for name in names]
        assert self.names_in_postgres("roles") == {
            role for each in wanted for role in (*each.group_roles, each.logins[0]) if role != each.readonly
        }
        assert self.names_in_postgres("schemas") == {schema for each in wanted for schema in each.schemas}
        secrets = self.secrets()
        assert set(secrets) == set(names)
        assert all(self.logs_in(secret) for secret in secrets.values())
        with self.world.postgres.connect("tenantry") as registry:
            rows = registry.execute("SELECT name, state FROM tenantry.tenants WHERE state <> 'deleted'").fetchall()
        assert sorted(rows) == sorted((name, "active") for name in names)

    def close(self) -> None:
        """Delete the Tenants through an operator, so that the next test finds an empty site."""
        try:
            print(self.kubectl("get", "tenants", "-o", "wide"))  # noqa: T201  shown for a failed test
            if self._made:
                self._leader()
                self.kubectl("delete", "tenants", "--all", "--wait=true", "--timeout=180s")
        finally:
            for operator in self._operators:
                operator.close()

    def _leader(self) -> None:
        if not any(operator.alive() for operator in self._operators):
            operator = self.operator("last")
            operator.start()
            operator.wait_working()


@pytest.fixture(scope="module")
def bench_world() -> Iterator[BenchWorld]:
    with BenchWorld.open(Layout.of_checkout()) as world:
        yield world


@pytest.fixture
def site(bench_world: BenchWorld, tmp_path: Path) -> Iterator[Site]:
    site = Site(bench_world, tmp_path)
    try:
        yield site
    finally:
        site.close()


def test_killed_while_fifty_tenants_are_provisioned(site: Site) -> None:
    names = [f"crash-{number}" for number in range(50)]
    operator = site.operator()
    operator.start()
    operator.wait_working()
    site.apply(names)
    wait_until(lambda: len(site.names_in_postgres("schemas")) >= 20, "in the midst of it")
    operator.kill()
    assert len(site.secrets()) < 50, "killed before the end"
    operator.restart()
    site.wait_ready(names)
    site.assert_whole(names)


def test_killed_again_and_again(site: Site) -> None:
    moments = random.Random(20260101)  # noqa: S311
    names = [f"again-{number}" for number in range(12)]
    operator = site.operator()
    operator.start()
    operator.wait_working()
    site.apply(names)
    for _ in range(4):
        time.sleep(moments.uniform(0.05, 0.6))
        operator.restart()
    site.wait_ready(names)
    site.assert_whole(names)


def test_a_standby_finishes_what_a_paused_leader_began(site: Site) -> None:
    names = [f"paused-{number}" for number in range(20)]
    paused, standby = site.operator("a"), site.operator("b")
    paused.start()
    paused.wait_working()
    standby.start()
    standby.wait_started()
    site.apply(names)
    wait_until(lambda: len(site.names_in_postgres("schemas")) >= 6, "in the midst of it")
    paused.pause()
    standby.wait_working(30)
    site.wait_ready(names)
    # If nothing was left to do for the Tenants, the new leader has yet to use the server.
    wait_until(lambda: not [name for name in site.sessions() if name.startswith("tenantry:a:")], "they are ended")
    paused.resume()
    assert paused.wait_ended() == 3
    site.assert_whole(names)


def test_a_database_that_is_down_is_told_and_comes_back_without_help(site: Site) -> None:
    with site.operator() as operator:
        site.apply(["before"])
        site.wait_ready(["before"])
        site.world.postgres.stop()
        try:
            site.apply(["during"])
            wait_until(lambda: site.ready("during")[0] == "False", "it is told")
            assert site.ready("during")[1] == "ServerUnreachable"
            assert operator.healthz() == (200, "ok\n"), "another start of the operator would not help"
        finally:
            site.world.postgres.start()
        site.wait_ready(["before", "during"])
        site.assert_whole(["before", "during"])


def test_a_deleted_secret_and_a_dropped_role_come_back(site: Site) -> None:
    with site.operator():
        site.apply(["repair"])
        site.wait_ready(["repair"])
        name = TenantNames("repair")
        site.kubectl("delete", "secret", "repair-database", "-n", SYSTEM)
        wait_until(lambda: "repair" in site.secrets(), "the Secret comes back", limit=10)
        with site.world.postgres.connect("app") as connection:
            connection.execute(psycopg.sql.SQL("DROP ROLE {}").format(psycopg.sql.Identifier(name.logins[0])))
        wait_until(lambda: name.logins[0] in site.names_in_postgres("roles"), "the role comes back", limit=20)
        # Ready may still be from before the repair, and the role be older than the Secret of its password.
        wait_until(lambda: site.logs_in(site.secrets()["repair"]), "the Secret lets in again", limit=20)
        wait_until(lambda: site.ready("repair")[0] == "True", "it is Ready again", limit=20)
        site.assert_whole(["repair"])


def test_no_password_is_in_the_log(site: Site) -> None:
    with site.operator() as operator:
        site.apply(["quiet"])
        site.wait_ready(["quiet"])
        first = site.secrets()["quiet"]
        site.kubectl("annotate", "tenant", "quiet", "tenantry.dev/rotate=now")
        wait_until(lambda: site.secrets()["quiet"]["username"] != first["username"], "it rotates", limit=20)
        passwords = [first["password"], site.secrets()["quiet"]["password"], site.world.login.password]
        log = operator.log.read_text()
    assert len(set(passwords)) == 3
    assert not [password for password in passwords if password in log]
