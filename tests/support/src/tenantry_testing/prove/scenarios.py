"""What a Tenant goes through while the operator dies. To add one: a line in `SCENARIOS`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import sql

from tenantry_crds import names as api
from tenantry_migrations import TENANT
from tenantry_operator.model.names import TenantNames
from tenantry_testing.crd_examples import BACKUP
from tenantry_testing.faults.administrator import JOBS, MIGRATIONRUNS, TENANTS
from tenantry_testing.faults.world import SECRETS, FaultWorld
from tenantry_testing.histories import EXPAND
from tenantry_testing.rights import job_ended

NEIGHBOUR: Final = "neighbour"
"""A Tenant that nothing happens to, in every dump."""

AS_OPERATOR: Final = "SET LOCAL ROLE {operator}"
"""For memberships: since Postgres 16 nobody takes back what a superuser granted, and that is told, see decision 26."""

Deed = Callable[[FaultWorld, str], None]
Question = Callable[[FaultWorld, str], bool]


def is_ready(world: FaultWorld, name: str) -> bool:
    return world.is_ready(name)


def is_gone(world: FaultWorld, name: str) -> bool:
    return world.is_gone(name)


def is_backed_up_and_gone(world: FaultWorld, name: str) -> bool:
    """Say of the Tenant's Job that it ended well, as who runs it would: what it does is tried elsewhere."""
    for job in world.administrator.list(JOBS):
        if job["metadata"]["labels"].get(api.LABEL_TENANT) == name and "conditions" not in job["status"]:
            ended = {"status": job_ended("Complete", now=datetime.now(UTC))}
            world.administrator.patch(f"{JOBS}/{job['metadata']['name']}/status", ended)
    return world.is_gone(name)


def nothing(world: FaultWorld, name: str) -> None:
    """Begin without a Tenant."""


def a_tenant(world: FaultWorld, name: str, **spec: Any) -> None:
    """Begin with a Tenant that is Ready, whose customer has made a table; with a pooled one that has a user."""
    world.apply(name, **spec)
    world.wait(lambda: world.is_ready(name), f"{name} is Ready")
    if spec.get("isolation") == "Pooled":
        add_users(world, name)
        return
    names = TenantNames(name)
    world.execute(
        sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(names.owner)),
        sql.SQL("CREATE TABLE {} AS SELECT 'kept' AS text").format(sql.Identifier(names.schema, "notes")),
        database=names.database if spec.get("isolation") == "Database" else "app",
    )


def begin_with(**spec: Any) -> Deed:
    return lambda world, name: a_tenant(world, name, **spec)


def begin_retained(**spec: Any) -> Deed:
    """Begin with what a Tenant left behind."""

    def prepare(world: FaultWorld, name: str) -> None:
        a_tenant(world, name, deletionPolicy="Retain", **spec)
        world.delete(name)
        world.wait(lambda: is_gone(world, name), f"{name} is gone")

    return prepare


def begin_without_access(lifecycle: str, **spec: Any) -> Deed:
    """Begin with a Tenant that nobody gets at."""

    def prepare(world: FaultWorld, name: str) -> None:
        a_tenant(world, name, **spec)
        world.change(name, lifecycle=lifecycle)
        world.wait(lambda: world.is_ready(name), f"{name} is {lifecycle}")

    return prepare


def create(**spec: Any) -> Deed:
    return lambda world, name: world.apply(name, **spec)


def change(**spec: object) -> Deed:
    return lambda world, name: world.change(name, **spec)


def delete(world: FaultWorld, name: str) -> None:
    world.delete(name)


def edit_roles(world: FaultWorld, name: str) -> None:
    """Widen, shrink and misplace rights by hand, all at once."""
    names = TenantNames(name)
    words = {
        "login": sql.Identifier(names.logins[0]),
        "owner": sql.Identifier(names.owner),
        "app": sql.Identifier(names.app),
        "schema": sql.Identifier(names.schema),
        "services": sql.Identifier(names.service_schema),
        "operator": sql.Identifier(world.login.user),
    }
    edits = (
        "ALTER ROLE {login} NOINHERIT CREATEDB CONNECTION LIMIT 99",
        "ALTER ROLE {login} IN DATABASE app SET search_path TO public",
        "GRANT CREATE ON SCHEMA {schema} TO {app}",
        "GRANT USAGE ON SCHEMA {services} TO {login}",
        AS_OPERATOR,
        "GRANT {owner} TO {login}",
        "REVOKE {app} FROM {login}",
        "REVOKE tenantry_tenants FROM {login}",
    )
    world.execute(*(sql.SQL(edit).format(**words) for edit in edits))


def drop_login(world: FaultWorld, name: str) -> None:
    login = sql.Identifier(TenantNames(name).logins[0])
    world.execute(sql.SQL("DROP OWNED BY {}").format(login), sql.SQL("DROP ROLE {}").format(login))


def delete_secret(world: FaultWorld, name: str) -> None:
    world.administrator.delete(f"{SECRETS}/{name}-database")


def lose_row(world: FaultWorld, name: str) -> None:
    world.execute(
        sql.SQL("DELETE FROM tenantry.tenants WHERE name = {}").format(sql.Literal(name)), database="tenantry"
    )


def rotate(world: FaultWorld, name: str) -> None:
    world.administrator.patch(f"{TENANTS}/{name}", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})


def has_rotated(world: FaultWorld, name: str) -> bool:
    """Whether the rotation is over: the other login is the only one."""
    first, second = TenantNames(name).logins
    with world.postgres.connect() as connection:
        query = "SELECT rolname::text FROM pg_roles WHERE rolname IN (%s, %s)"
        left = connection.execute(query, [first, second]).fetchall()
    return left == [(second,)] and world.is_ready(name)


def begin_to_move(**spec: Any) -> Deed:
    """Begin with a Tenant at the revision that ships, and a neighbour that is not to be moved."""

    def prepare(world: FaultWorld, name: str) -> None:
        world.change(NEIGHBOUR, migrations={"hold": True})
        if spec.get("isolation") == "Pooled":
            without_a_pool(world, name)
        a_tenant(world, name, **spec)

    return prepare


def migrate(world: FaultWorld, name: str) -> None:
    spec = {"to": EXPAND, "phase": "expand"}
    body = {"apiVersion": "tenantry.dev/v1alpha1", "kind": "MigrationRun", "metadata": {"name": name}, "spec": spec}
    world.administrator.create(MIGRATIONRUNS, body)


def has_migrated(world: FaultWorld, name: str) -> bool:
    run, tenant = world.administrator.get(f"{MIGRATIONRUNS}/{name}") or {}, world.tenant(name) or {}
    current = tenant.get("status", {}).get("migration", {}).get("current")
    return (run.get("status", {}).get("phase"), current) == ("Succeeded", EXPAND) and world.is_ready(name)


def release_what_ships(world: FaultWorld, name: str) -> None:
    """Let the next Tenant begin where this one did."""
    world.administrator.delete(f"{MIGRATIONRUNS}/{name}")
    world.execute(
        sql.SQL("UPDATE tenantry.released SET revision = {}").format(sql.Literal(TENANT.head)), database="tenantry"
    )
    world.change(NEIGHBOUR, migrations=None)


def release_without_a_pool(world: FaultWorld, name: str) -> None:
    """Let the next pooled Tenant begin where this one did: the pool moved as one, and does not move back."""
    release_what_ships(world, name)
    world.remove(name)
    without_a_pool(world, name)


def edit_database(world: FaultWorld, name: str) -> None:
    """Let everybody in but those who may, by hand, from another database of the server."""
    names = TenantNames(name)
    words = {"own": names.database, "login": names.logins[0], "owner": names.owner, "app": names.app}
    words["operator"] = world.login.user
    edits = (
        "GRANT CONNECT, TEMPORARY ON DATABASE {own} TO PUBLIC",
        "REVOKE CONNECT ON DATABASE {own} FROM tenantry_svc_accounts_1",
        "ALTER DATABASE {own} OWNER TO {owner}",
        "ALTER DATABASE {own} ALLOW_CONNECTIONS false CONNECTION LIMIT 0 IS_TEMPLATE true",
        "ALTER ROLE {login} IN DATABASE {own} SET search_path TO public",
        AS_OPERATOR,
        "GRANT tenantry_tenants TO {login}",
        "REVOKE {app} FROM {login}",
    )
    written = {word: sql.Identifier(name) for word, name in words.items()}
    world.execute(*(sql.SQL(edit).format(**written) for edit in edits))


def edit_inside(world: FaultWorld, name: str) -> None:
    """Widen and shrink rights in a Tenant's own database, where only a look into it tells."""
    names = TenantNames(name)
    words = {"schema": names.schema, "services": names.service_schema, "app": names.app, "owner": names.owner}
    edits = (
        "GRANT USAGE ON SCHEMA {services} TO PUBLIC",
        "GRANT CREATE ON SCHEMA {schema} TO {app}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA {services} TO {app}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE SELECT ON TABLES FROM {app}",
    )
    written = {word: sql.Identifier(name) for word, name in words.items()}
    world.execute(*(sql.SQL(edit).format(**written) for edit in edits), database=names.database)


def without_a_pool(world: FaultWorld, name: str) -> None:
    """Begin on a server that no pooled tenant was ever on."""
    with world.postgres.connect("app") as connection:
        connection.execute("DROP SCHEMA IF EXISTS tenantry_pool, tenantry CASCADE")
        for (role,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^tenantry_pool_'").fetchall():
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def with_a_pool(world: FaultWorld, name: str) -> None:
    """Begin on a server whose pool somebody was in before."""
    with world.postgres.connect("app") as connection:
        if connection.execute("SELECT to_regclass('tenantry_pool.users') IS NOT NULL").fetchone() == (True,):
            return
    world.apply(FIRST_IN_POOL, isolation="Pooled")
    world.wait(lambda: world.is_ready(FIRST_IN_POOL), f"{FIRST_IN_POOL} is Ready")
    world.remove(FIRST_IN_POOL)


def drop_extensions(world: FaultWorld, name: str) -> None:
    """Let the next Tenant be the first one again that asks for one."""
    world.remove(name)
    world.execute("DROP SCHEMA IF EXISTS extensions CASCADE")


def add_users(world: FaultWorld, name: str) -> None:
    """Give a pooled Tenant a user, as somebody else in the pool has one."""
    tenant = (world.tenant(name) or {})["status"]["id"]
    values = "(id, tenant_id, email) VALUES ({}, {}, 'ada@example.com') ON CONFLICT DO NOTHING"
    user = sql.SQL("INSERT INTO tenantry_pool.users " + values)
    for number, one in enumerate((tenant, SOMEBODY_ELSE)):
        world.execute(user.format(sql.Literal(f"{one[:-2]}a{number}"), sql.Literal(one)))


def edit_pool(world: FaultWorld, name: str) -> None:
    """Take guards of the pool away by hand, and a tenant's own part in it."""
    words: dict[str, sql.Composable] = {"login": sql.Identifier(TenantNames(name).logins[0]), "name": sql.Literal(name)}
    words["operator"] = sql.Identifier(world.login.user)
    edits = (
        "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
        "DROP POLICY pool_accounts ON tenantry_pool.users",
        "CREATE POLICY open ON tenantry_pool.users USING (true)",
        "GRANT SELECT ON tenantry_pool.users TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION tenantry.tenant_of(name) FROM tenantry_pool_customers",
        "UPDATE tenantry.pooled SET open = false WHERE name = {name}",
        "ALTER ROLE {login} NOINHERIT CONNECTION LIMIT 99",
        AS_OPERATOR,
        "REVOKE tenantry_pool_customers FROM {login}",
    )
    world.execute(*(sql.SQL(edit).format(**words) for edit in edits))


@dataclass(frozen=True)
class Scenario:
    """`prepare` and the operator's peace come first; `act` is what the user does; then `reached` comes true for good.

    `restores`: in the end all is as it was before the act. `tidy` takes back what is more than the Tenant. `later`: the
    operator is of a later version, which knows a revision more.
    """

    name: str
    act: Deed
    prepare: Deed = a_tenant
    reached: Question = is_ready
    restores: bool = False
    tidy: Deed = nothing
    later: bool = False


FIRST_IN_POOL = "first-in-pool"
SOMEBODY_ELSE = "01890000-0000-7000-8000-000000000000"
SHORT_OVERLAP = {"rotation": {"interval": "0s", "overlap": "2s"}}
READS = {"readOnlyRole": "Enabled"}
EXTENDS = {"extensions": [{"name": "citext"}]}
LIMITS = {"connectionLimit": 7, "settings": {"statement_timeout": "9s", "work_mem": "8MB"}}

TEMPLATE = {"template": {"DSN": "postgresql://{username}:{password}@{host}:{port}/{database}"}}
NAMESPACE = {
    "quota": {"pods": "20"},
    "limits": {"default": {"cpu": "500m"}},
    "networkPolicy": "DefaultDeny",
    "roleBindings": [{"role": "edit", "subjects": [{"kind": "User", "name": "jane"}]}],
}
RETAIN = {"deletionPolicy": "Retain"}
BACKED_UP = {"deletionPolicy": "BackupThenDelete", "backup": BACKUP}
APART = {"isolation": "Database"}
POOLED = {"isolation": "Pooled"}


def _scenarios_in(place: str, spec: dict[str, Any], *, after_move: Deed) -> Iterator[Scenario]:
    """What a Tenant of one isolation goes through; `place` tells it from the others."""
    begin = begin_with(**spec)
    yield Scenario(f"change limits and settings{place}", change(database=LIMITS), prepare=begin)
    yield Scenario(f"rotate{place}", rotate, prepare=begin_with(credentials=SHORT_OVERLAP, **spec), reached=has_rotated)
    for verb, lifecycle in (("suspend", "Suspended"), ("archive", "Archived")):
        yield Scenario(f"{verb}{place}", change(lifecycle=lifecycle), prepare=begin)
        without = begin_without_access(lifecycle, **spec)
        yield Scenario(f"resume what was {lifecycle.lower()}{place}", change(lifecycle="Active"), prepare=without)
    yield Scenario(f"delete with Retain{place}", delete, prepare=begin_with(**RETAIN, **spec), reached=is_gone)
    yield Scenario(f"delete with Delete{place}", delete, prepare=begin, reached=is_gone)
    yield Scenario(
        f"delete with BackupThenDelete{place}",
        delete,
        prepare=begin_with(**BACKED_UP, **spec),
        reached=is_backed_up_and_gone,
    )
    yield Scenario(f"adopt what was retained{place}", create(**spec), prepare=begin_retained(**spec))
    yield Scenario(f"migrate{place}", migrate, begin_to_move(**spec), has_migrated, tidy=after_move, later=True)


SCENARIOS = (
    Scenario("create", create(), prepare=nothing),
    Scenario("create in a database of its own", create(**APART), prepare=nothing),
    Scenario("create in a pool", create(**POOLED), prepare=without_a_pool),
    Scenario("create in a pool that is there", create(**POOLED), prepare=with_a_pool),
    *_scenarios_in("", {}, after_move=release_what_ships),
    *_scenarios_in(" in a database of its own", APART, after_move=release_what_ships),
    *_scenarios_in(" in a pool", POOLED, after_move=release_without_a_pool),
    Scenario("ask for a read-only role", change(database=READS)),
    Scenario("drop the read-only role", change(database={"readOnlyRole": "Disabled"}), begin_with(database=READS)),
    Scenario("suspend what is read", change(lifecycle="Suspended"), begin_with(database=READS)),
    Scenario("ask for an extension", change(database=EXTENDS), tidy=drop_extensions),
    Scenario("ask for an extension in its own database", change(database=EXTENDS), begin_with(**APART)),
    Scenario("ask for a namespace", change(namespace=NAMESPACE)),
    Scenario("move the Secret", change(credentials={"secretName": "elsewhere"})),
    Scenario("ask for another key in the Secret", change(credentials=TEMPLATE)),
    Scenario("repair roles and grants", edit_roles, restores=True),
    Scenario("repair a dropped login", drop_login, restores=True),
    Scenario("repair a deleted Secret", delete_secret, restores=True),
    Scenario("repair a lost registry row", lose_row, restores=True),
    Scenario("repair a database", edit_database, begin_with(**APART), restores=True),
    Scenario("repair within a database", edit_inside, begin_with(**APART), restores=True),
    Scenario("repair a pool", edit_pool, begin_with(**POOLED), restores=True),
)
