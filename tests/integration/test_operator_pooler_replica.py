"""Other ways to a server: what tenants' Secrets say of them, and that it holds for a real pooler and replica."""

import time
from typing import Any

import psycopg
import pytest

from tenantry_operator.clients.kube import TENANTS
from tenantry_testing.endpoints import pgbouncer_before, replica_of
from tenantry_testing.more_servers import change_server
from tenantry_testing.tenant_world import TenantWorld

NOWHERE = {"host": "nowhere.invalid", "port": 6432}


def connect(world: TenantWorld, uri: str) -> psycopg.Connection[Any]:
    """Connect as the Secret's address says, and trust the server's authority."""
    return psycopg.connect(f"{uri}&sslrootcert={world.postgres.ca_file}", autocommit=True, prepare_threshold=None)


async def test_the_operator_takes_the_direct_way(world: TenantWorld) -> None:
    away, replicas = {**NOWHERE, "port": 5439}, [{"host": "nowhere.invalid"}]
    await change_server(world, "primary", endpoints={"primary": away, "pooler": NOWHERE, "replicas": replicas})
    await world.provision("acme")
    secret = await world.secret("acme-database")
    for key in ("host", "pooler_host", "readonly_host"):
        assert secret[key] == "nowhere.invalid"
    services = await world.secret("tenantry-accounts-database-primary")
    assert services["host"] == "127.0.0.1"
    assert not [key for key in services if key.startswith(("pooler", "readonly"))]


async def test_a_change_of_the_endpoints_reaches_every_secret_by_one_write(world: TenantWorld) -> None:
    template = {"URL": "{pooler_host}:{pooler_port}"}
    await world.provision("acme", credentials={"template": template})
    await world.settle()
    direct = await world.secret("acme-database")
    assert direct["URL"] == f"127.0.0.1:{world.postgres.port}"
    await change_server(world, "primary", endpoints={"pooler": {**NOWHERE, "mode": "Session"}})
    world.counted.clear()
    await world.settle()
    # The other one is the Event.
    assert world.writes() == ["PUT", "POST"]
    assert (await world.events("acme"))[-1][0] == "Updated"
    secret = await world.secret("acme-database")
    assert (secret["URL"], secret["pooler_mode"]) == ("nowhere.invalid:6432", "session")
    assert secret["password"] == direct["password"]
    await change_server(world, "primary", endpoints=None)
    await world.settle()
    assert await world.secret("acme-database") == direct


async def test_a_tenant_works_through_a_real_pooler_and_through_a_rotation(world: TenantWorld) -> None:
    await world.provision("acme")
    with pgbouncer_before(world.postgres, "app") as port:
        await change_server(world, "primary", endpoints={"pooler": {"host": "127.0.0.1", "port": port}})
        await world.settle()
        before = await world.secret("acme-database")
        assert before["pooler_mode"] == "transaction"
        with connect(world, before["pooler_uri"]) as connection:
            assert connection.execute("SHOW search_path").fetchone() == ("t_acme",)
            with connection.transaction():
                connection.execute("SET LOCAL ROLE t_acme_owner")
                connection.execute("CREATE TABLE notes (text text)")
            connection.execute("INSERT INTO notes VALUES ('through the pooler')")
        await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {"tenantry.dev/rotate": "1"}}})
        await world.reconcile("acme")
        after = await world.secret("acme-database")
        assert after["username"] != before["username"]
        with connect(world, after["pooler_uri"]) as connection:
            assert connection.execute("SELECT text FROM notes").fetchall() == [("through the pooler",)]
        with pytest.raises(psycopg.OperationalError):
            connect(world, before["pooler_uri"].replace(before["password"], "wrong"))


async def test_a_tenant_reads_from_a_real_replica_and_cannot_write_there(world: TenantWorld) -> None:
    await world.provision("acme")
    with replica_of(world.postgres) as port:
        await change_server(world, "primary", endpoints={"replicas": [{"host": "127.0.0.1", "port": port}]})
        await world.settle()
        secret = await world.secret("acme-database")
        with world.login(secret) as connection:
            connection.execute("SET ROLE t_acme_owner")
            connection.execute("CREATE TABLE t_acme.notes AS SELECT 'on the primary' AS text")
        reached(world, port, "t_acme.notes")
        with connect(world, secret["readonly_uri"]) as connection:
            assert connection.execute("SHOW search_path").fetchone() == ("t_acme",)
            assert connection.execute("SELECT text FROM notes").fetchall() == [("on the primary",)]
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("INSERT INTO notes VALUES ('on the replica')")


def reached(world: TenantWorld, port: int, table: str) -> None:
    """Wait until the replica has a table of the primary's.

    How far its log has come says less: a commit here does not wait until it is in the log.
    """
    url = world.postgres.url("app").replace(f":{world.postgres.port}/", f":{port}/")
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as replica:
        while replica.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() != (True,):
            assert time.monotonic() < deadline, "the replica does not follow"
