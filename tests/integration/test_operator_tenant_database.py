"""A Tenant with a database of its own on a real Postgres: made, kept, kept apart, moved, released and dropped."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tenantry_accounts.app import SERVICE
from tenantry_kit.components import compose
from tenantry_kit.problems import TENANT_UNAVAILABLE, Problem
from tenantry_kit.scope import TenantScope
from tenantry_kit.settings import ServiceSettings
from tenantry_operator.apply.tenant import Applied, apply_on_server
from tenantry_operator.clients.kube import TENANTS
from tenantry_operator.engine.queue import Key
from tenantry_operator.plan.actions import ServerAction
from tenantry_operator.plan.database_actions import DatabaseAction
from tenantry_operator.reconcile import tenant_execution, tenant_sweep_apart
from tenantry_testing.accounts_world import CURSOR_KEY, SERVER
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.postgres import Login
from tenantry_testing.tenant_crash import Killed
from tenantry_testing.tenant_world import TenantWorld

APART: Final = {"isolation": "Database"}
OWN: Final = "t_acme"

STATE: Final = """
SELECT 'database', row(datname, datdba::regrole, datallowconn, datistemplate, datconnlimit,
    shobj_description(oid, 'pg_database'))::text FROM pg_database WHERE datname = 't_acme'
UNION ALL SELECT 'connect', row(a.grantee::regrole, a.privilege_type, a.is_grantable)::text
    FROM pg_database CROSS JOIN LATERAL aclexplode(datacl) a WHERE datname = 't_acme'
UNION ALL SELECT 'setting', row(setdatabase = (SELECT oid FROM pg_database WHERE datname = 't_acme'),
    setrole::regrole, one)::text FROM pg_db_role_setting CROSS JOIN unnest(setconfig) one
UNION ALL SELECT 'schema', row(nspname, nspowner::regrole, nspacl)::text FROM pg_namespace WHERE nspname ~ '^[ts]_'
UNION ALL SELECT 'table', row(relname, relowner::regrole, relacl)::text FROM pg_class
    WHERE relnamespace::regnamespace::text = 's_acme'
UNION ALL SELECT 'member', row(roleid::regrole, member::regrole)::text FROM pg_auth_members
    WHERE roleid::regrole::text ~ '^[ts]_acme' OR member::regrole::text ~ '^[ts]_acme'
ORDER BY 1, 2
"""

HAND_EDITS: Final = {
    "everybody may connect": ("app", "GRANT CONNECT, TEMPORARY ON DATABASE t_acme TO PUBLIC"),
    "a stranger may connect": ("app", "GRANT CONNECT ON DATABASE t_acme TO t_stranger"),
    "the login may make schemas": ("app", "GRANT CREATE ON DATABASE t_acme TO t_acme_login_a WITH GRANT OPTION"),
    "the services may not connect": ("app", "REVOKE CONNECT ON DATABASE t_acme FROM tenantry_svc_accounts_1"),
    "the comment is another one": ("app", "COMMENT ON DATABASE t_acme IS 'mine'"),
    "the comment is gone": ("app", "COMMENT ON DATABASE t_acme IS NULL"),
    "another owner": ("app", "ALTER DATABASE t_acme OWNER TO t_acme_owner"),
    "nobody is let in": ("app", "ALTER DATABASE t_acme ALLOW_CONNECTIONS false"),
    "a limit of connections": ("app", "ALTER DATABASE t_acme CONNECTION LIMIT 0"),
    "a template": ("app", "ALTER DATABASE t_acme IS_TEMPLATE true"),
    "a member of the group of the others": ("app", "GRANT tenantry_tenants TO t_acme_login_a"),
    "a setting of the login": (OWN, "ALTER ROLE t_acme_login_a IN DATABASE t_acme SET search_path = public"),
    "a setting elsewhere": (OWN, "ALTER ROLE t_acme_login_a IN DATABASE app SET work_mem = '1GB'"),
    "the services' schema is everybody's": (OWN, "GRANT USAGE ON SCHEMA s_acme TO PUBLIC"),
    "the services' table is the customer's": (OWN, "GRANT SELECT ON s_acme.users TO t_acme_app"),
    "the services lack a right": (OWN, "REVOKE INSERT ON s_acme.users FROM s_acme_accounts"),
    "the schema is given away": (OWN, "ALTER SCHEMA t_acme OWNER TO t_stranger"),
}

HIDDEN: Final = {"the services' schema is everybody's", "the services lack a right"}
"""What only a look into the database shows."""


def connects(world: TenantWorld, secret: dict[str, str], database: str) -> bool:
    try:
        world.postgres.connect(database, Login(secret["username"], secret["password"])).close()
    except psycopg.OperationalError as error:
        if "permission denied for database" in str(error):
            return False
        raise
    return True


async def test_it_gets_a_database_with_both_schemas_and_reaches_no_other(world: TenantWorld) -> None:
    world.counted.clear()
    acme = await world.provision("acme", **APART)
    assert len(world.writes()) - len(await world.events("acme")) == 3 + 1  # the Tenant itself is applied, too
    assert acme["status"]["database"] == OWN
    secret = await world.secret("acme-database")
    assert secret["database"] == OWN
    assert f"/{OWN}?" in secret["uri"]
    with world.login(secret) as connection:
        assert connection.execute("SELECT current_database(), current_schema()").fetchone() == (OWN, "t_acme")
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things AS SELECT 1 AS id")
    in_shared = world.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ '^[ts]_'")
    in_own = world.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ '^[ts]_' ORDER BY 1", database=OWN)
    assert (in_shared, in_own) == ([], [("s_acme",), ("t_acme",)])
    registered = "SELECT database, isolation, state FROM tenantry.tenants"
    assert world.fetch(registered, database="tenantry") == [(OWN, "Database", "active")]
    await world.provision("beta", **APART)
    await world.provision("gamma")
    reached = {
        name: [one for one in (OWN, "t_beta", "app", "tenantry") if connects(world, secret, one)]
        for name in ("acme", "beta", "gamma")
        if (secret := await world.secret(f"{name}-database"))
    }
    assert reached == {"acme": [OWN], "beta": ["t_beta"], "gamma": ["app"]}
    alike = "SELECT encoding, datcollate, datctype FROM pg_database WHERE datname IN ('app', 't_acme') GROUP BY 1, 2, 3"
    assert len(world.fetch(alike)) == 1
    await world.settle()
    world.counted.clear()
    assert await world.swept() == set()
    assert world.writes() == []


async def test_what_was_changed_by_hand_is_put_right(world: TenantWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shared catalogues show is found without entering the database; the rest when its turn comes."""
    world.execute("CREATE ROLE t_stranger")
    await world.provision("acme", **APART)
    await world.settle()
    before = world.fetch(STATE, database=OWN)
    for edit, (database, statement) in HAND_EDITS.items():
        world.execute(statement, database=database)
        monkeypatch.setattr(tenant_sweep_apart, "IN_TURN", 0)
        assert await world.swept() == (set() if edit in HIDDEN else {"acme"}), edit
        monkeypatch.setattr(tenant_sweep_apart, "IN_TURN", 1)
        assert await world.sweep() == {"acme"}, edit
        await world.reconcile("acme")
        assert world.fetch(STATE, database=OWN) == before, edit
        assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned"), edit
        await world.settle()
    assert "Repaired" in [reason for reason, _ in await world.events("acme")]


async def test_a_database_that_only_an_administrator_can_give_back_is_said(world: TenantWorld) -> None:
    await world.provision("acme", **APART)
    await world.settle()
    world.execute("ALTER DATABASE t_acme OWNER TO postgres")
    await world.sweep()
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "PrivilegesMissing")
    assert "t_acme" in world.message(tenant)
    world.execute("ALTER DATABASE t_acme OWNER TO tenantry_owner")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


def die_at_the_database(monkeypatch: pytest.MonkeyPatch, *, done: int) -> None:
    """End the process once so many of the actions on the database are done; the first one is CREATE DATABASE."""

    async def dying(connection: Any, actions: Sequence[ServerAction], **words: Any) -> Applied:
        if not isinstance(actions[0], DatabaseAction):
            return await apply_on_server(connection, actions, **words)
        await apply_on_server(connection, actions[:done], **words)
        raise Killed

    monkeypatch.setattr(tenant_execution, "apply_on_server", dying)


@pytest.mark.parametrize("done", [0, 1, 3, 99])
@pytest.mark.parametrize("end", ["goes on", "is deleted"])
async def test_a_process_that_dies_while_it_makes_the_database_leaves_no_harm(
    world: TenantWorld, end: str, done: int
) -> None:
    await world.apply_tenant("acme", **APART)
    await world.refresh()
    with pytest.MonkeyPatch.context() as monkeypatch:
        die_at_the_database(monkeypatch, done=done)
        with pytest.raises(Killed):
            await world.tenants.reconcile(Key("Tenant", "acme"))
    there = world.fetch("SELECT datallowconn, datname FROM pg_database WHERE datname = 't_acme'")
    assert there == ([(done == 99, OWN)] if done else [])
    await world.restart()
    if end == "is deleted":
        await world.leave("acme", "Delete")
        assert await world.kube.get(TENANTS, "acme") is None
        assert world.names_on_server("acme") == set()
        return
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("True", "Provisioned"), tenant["status"]
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")
    await world.settle()


async def test_delete_ends_all_sessions_and_drops_the_database(world: TenantWorld) -> None:
    await world.provision("acme", **APART)
    session = world.login(await world.secret("acme-database"))
    session.execute("SELECT lo_create(0)")
    administrator = world.administrator(OWN)
    world.execute("ALTER DATABASE t_acme OWNER TO t_acme_owner")
    await world.leave("acme", "Delete")
    # A superuser's session is nobody's to end; the database is shut meanwhile.
    tenant = await world.kube.get(TENANTS, "acme")
    assert tenant is not None
    assert world.condition(tenant, "Deleting") is not None
    administrator.close()
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()
    assert await world.secret("acme-database") == {}
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    again = await world.provision("acme", **APART)
    assert again["status"]["id"] != tenant["status"]["id"]


async def test_a_database_without_the_marker_is_never_dropped(world: TenantWorld) -> None:
    tenant = await world.provision("acme", **APART)
    marker = world.fetch("SELECT shobj_description('t_acme_owner'::regrole, 'pg_authid')")[0][0]
    other = marker.replace(tenant["status"]["id"], "01890000-0000-7000-8000-000000000000")
    for comment in ("mine", other):
        world.execute(f"COMMENT ON DATABASE t_acme IS '{comment}'")
        await world.leave("acme", "Delete")
        held = await world.tenant("acme")
        assert world.condition(held, "Deleting") == ("True", "NotOurs")
        assert f"database {OWN}" in world.names_on_server("acme")
    world.execute(f"COMMENT ON DATABASE t_acme IS '{marker}'")
    await world.reconcile("acme")
    assert await world.kube.get(TENANTS, "acme") is None
    assert world.names_on_server("acme") == set()


async def test_a_strangers_database_is_left_alone(world: TenantWorld) -> None:
    world.execute("CREATE DATABASE t_acme OWNER operator_login")
    await world.apply_tenant("acme", **APART)
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Stalled") == ("True", "NotOurs")
    await world.leave("acme", "Delete")
    assert world.names_on_server("acme") == {f"database {OWN}"}


async def test_released_data_is_adopted_and_not_by_another_isolation(world: TenantWorld) -> None:
    first = await world.provision("acme", **APART)
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE things AS SELECT 7 AS id")
    await world.leave("acme", "Retain")
    marks = world.fetch(
        "SELECT shobj_description(oid, 'pg_database')::json->>'state' FROM pg_database WHERE datname = 't_acme'"
    )
    assert marks == [("released",)]
    services = "SELECT has_database_privilege('tenantry_svc_accounts_1', 't_acme', 'CONNECT')"
    assert world.fetch(services) == [(False,)]
    await world.apply_tenant("acme")
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("False", "NotOurs")
    await world.leave("acme", "Delete")
    assert f"database {OWN}" in world.names_on_server("acme")
    second = await world.provision("acme", **APART)
    assert second["status"]["id"] == first["status"]["id"]
    with world.login(await world.secret("acme-database")) as connection:
        assert connection.execute("SELECT id FROM things").fetchall() == [(7,)]
    assert world.fetch(services) == [(True,)]


async def test_the_lifecycle_and_a_rotation_work_in_it(world: TenantWorld) -> None:
    await world.provision("acme", **APART)
    old = await world.secret("acme-database")
    session = world.login(old)
    session.execute("SELECT lo_create(4711)")
    await world.kube.merge_patch(TENANTS, "acme", {"metadata": {"annotations": {"tenantry.dev/rotate": "now"}}})
    await world.reconcile("acme")
    new = await world.secret("acme-database")
    assert (new["username"], new["database"]) == ("t_acme_login_b", OWN)
    with world.login(new) as connection:
        assert connection.execute("SELECT current_schema()").fetchone() == ("t_acme",)
    assert session.execute("SELECT 1").fetchone() == (1,)
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": "Archived"}})
    await world.reconcile("acme")
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Archived")
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    assert not {"t_acme_login_a", "t_acme_login_b"} & world.names_on_server("acme")
    owner = "SELECT lomowner::regrole::text FROM pg_largeobject_metadata WHERE oid = 4711"
    assert world.fetch(owner, database=OWN) == [("t_acme_owner",)]
    await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": "Active"}})
    await world.reconcile("acme")
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SELECT 1")
    await world.settle()


async def test_a_run_moves_it_and_a_database_that_is_gone_fails_alone(world: TenantWorld, tmp_path: Path) -> None:
    for name in ("acme", "beta", "gamma"):
        await world.provision(name, **({} if name == "gamma" else APART))
    with tenant_history(write_history(tmp_path)):
        world.execute("ALTER DATABASE t_beta RENAME TO t_beta_elsewhere")
        run = await world.migrate("expand", to=EXPAND, phase="expand", failureBudget=1)
        status = run["status"]
        assert (status["phase"], status["done"], status["failed"]) == ("Succeeded", 2, 1), status
        assert "t_beta" in status["failures"][0]["message"]
        for name, database in (("acme", OWN), ("gamma", "app")):
            assert world.fetch(f"SELECT version FROM s_{name}.schema_version", database=database) == [(EXPAND,)]
        await world.reconcile_once("beta")
        assert world.condition(await world.tenant("beta"), "Stalled") == ("True", "DataMissing")
        world.execute("ALTER DATABASE t_beta_elsewhere RENAME TO t_beta")
        run = await world.migrate("again", to=EXPAND, phase="expand")
        assert run["status"]["phase"] == "Succeeded"
        assert world.fetch("SELECT version FROM s_beta.schema_version", database="t_beta") == [(EXPAND,)]


def service_settings(folder: Path, **changed: Any) -> ServiceSettings:
    return ServiceSettings(databases_dir=folder, cursor_key=SecretStr(CURSOR_KEY), **changed)


async def test_the_services_reach_it_by_few_connections(world: TenantWorld, tmp_path: Path) -> None:
    names = ("acme", "beta", "gamma")
    tenants = {name: await world.provision(name, **APART) for name in names}
    directory = tmp_path / SERVER
    directory.mkdir()
    for key, content in (await world.secret(f"tenantry-accounts-database-{SERVER}")).items():
        (directory / key).write_text(content)
    scopes = [
        TenantScope(UUID(tenant["status"]["id"]), name, SERVER, f"t_{name}", f"s_{name}", SERVICE)
        for name, tenant in tenants.items()
    ]
    kit = compose(SERVICE, service_settings(tmp_path, own_databases=2), log_to=io.StringIO())
    most = 0
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tenantry_svc_accounts_1' AND datname ~ '^t_'"
    try:
        for _ in range(2):
            for scope in scopes:
                async with kit.units.begin(scope) as session:
                    found = await session.orm.execute(text("SELECT current_database()"))
                    assert found.scalar_one() == scope.database
                most = max(most, world.fetch(count)[0][0])

        async def use(scope: TenantScope) -> None:
            async with kit.units.begin(scope):
                await asyncio.sleep(0)

        await asyncio.gather(*(use(scope) for scope in scopes for _ in range(10)))
        most = max(most, world.fetch(count)[0][0])
        assert 0 < most <= 4
        await world.kube.merge_patch(TENANTS, "acme", {"spec": {"lifecycle": "Suspended"}})
        await world.reconcile("acme")
        with pytest.raises(Problem) as refused:
            async with kit.units.begin(scopes[0]):
                pass
        assert refused.value.type is TENANT_UNAVAILABLE
    finally:
        await kit.databases.close()


async def test_lost_data_is_not_made_anew(world: TenantWorld) -> None:
    await world.provision("acme", **APART)
    await world.settle()
    world.execute("ALTER DATABASE t_acme RENAME TO t_gone")
    assert await world.sweep() == {"acme"}
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Stalled") == ("True", "DataMissing")
    assert f"database {OWN}" in world.message(tenant)
    world.execute("ALTER DATABASE t_gone RENAME TO t_acme")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_an_operator_that_may_make_no_databases_says_what_to_do(world: TenantWorld) -> None:
    world.execute("ALTER ROLE operator_login NOCREATEDB")
    await world.apply_tenant("acme", **APART)
    await world.reconcile("acme")
    tenant = await world.tenant("acme")
    assert world.condition(tenant, "Ready") == ("False", "PrivilegesMissing")
    assert "CREATEDB" in world.message(tenant)
    world.execute("ALTER ROLE operator_login CREATEDB")
    await world.settle()
    assert world.condition(await world.tenant("acme"), "Ready") == ("True", "Provisioned")


async def test_other_databases_take_half_of_the_connections_and_keep_none(world: TenantWorld) -> None:
    address = await world.addresses.address(SERVER)
    inside, most = 0, 0

    async def visit() -> None:
        nonlocal inside, most
        async with world.servers.connection(address, database="tenantry"):
            inside, most = inside + 1, max(most, inside + 1)
            await asyncio.sleep(0)
            inside -= 1

    async with world.servers.connection(address):
        pass
    await asyncio.gather(*(visit() for _ in range(12)))
    assert 1 <= most <= address.max_connections // 2
    count = "SELECT datname, count(*) FROM pg_stat_activity WHERE application_name = 'tenantry:operator-0:1' GROUP BY 1"
    left = dict(world.fetch(count))  # type: ignore[arg-type]
    assert left["app"] >= 1
    # The registry's own pool has what is left there.
    assert left.get("tenantry", 0) <= address.max_connections - 1
