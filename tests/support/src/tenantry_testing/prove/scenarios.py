"""What a Tenant goes through while the operator dies. To add one: a line in `SCENARIOS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from tenantry_crds import names as api
from tenantry_migrations import TENANT
from tenantry_operator.model.names import TenantNames
from tenantry_testing.faults.administrator import MIGRATIONRUNS, TENANTS
from tenantry_testing.faults.world import SECRETS, FaultWorld
from tenantry_testing.histories import EXPAND

NEIGHBOUR: Final = "neighbour"
"""A Tenant that nothing happens to, in every dump."""

Deed = Callable[[FaultWorld, str], None]
Question = Callable[[FaultWorld, str], bool]


def is_ready(world: FaultWorld, name: str) -> bool:
    return world.is_ready(name)


def is_gone(world: FaultWorld, name: str) -> bool:
    return world.tenant(name) is None


def nothing(world: FaultWorld, name: str) -> None:
    """Begin without a Tenant."""


def a_tenant(world: FaultWorld, name: str, **spec: Any) -> None:
    """Begin with a Tenant that is Ready, whose customer has made a table."""
    world.apply(name, **spec)
    world.wait(lambda: world.is_ready(name), f"{name} is Ready")
    names = TenantNames(name)
    world.execute(
        sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(names.owner)),
        sql.SQL("CREATE TABLE {} AS SELECT 'kept' AS text").format(sql.Identifier(names.schema, "notes")),
        database=names.database if spec.get("isolation") == "Database" else "app",
    )


def a_tenant_that_retains(world: FaultWorld, name: str) -> None:
    a_tenant(world, name, deletionPolicy="Retain")


def a_retained_tenant(world: FaultWorld, name: str) -> None:
    """Begin with what a Tenant left behind."""
    a_tenant_that_retains(world, name)
    world.delete(name)
    world.wait(lambda: is_gone(world, name), f"{name} is gone")


def a_tenant_that_is(lifecycle: str) -> Deed:
    """Begin with a Tenant that nobody gets at."""

    def prepare(world: FaultWorld, name: str) -> None:
        a_tenant(world, name)
        world.change(name, lifecycle=lifecycle)
        world.wait(lambda: world.is_ready(name), f"{name} is {lifecycle}")

    return prepare


def a_tenant_that_is_read(world: FaultWorld, name: str) -> None:
    a_tenant(world, name, database=READS)


def a_tenant_apart(world: FaultWorld, name: str) -> None:
    world.apply(name, isolation="Database")
    world.wait(lambda: world.is_ready(name), f"{name} is Ready")


def create(world: FaultWorld, name: str) -> None:
    world.apply(name)


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
    }
    edits = (
        "ALTER ROLE {login} NOINHERIT CREATEDB CONNECTION LIMIT 99",
        "ALTER ROLE {login} IN DATABASE app SET search_path TO public",
        "GRANT {owner} TO {login}",
        "REVOKE {app} FROM {login}",
        "GRANT CREATE ON SCHEMA {schema} TO {app}",
        "GRANT USAGE ON SCHEMA {services} TO {login}",
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


def a_tenant_with_a_short_overlap(world: FaultWorld, name: str) -> None:
    """Begin with a Tenant whose old login goes soon after a rotation."""
    a_tenant(world, name, credentials={"rotation": {"interval": "0s", "overlap": OVERLAP}})


def rotate(world: FaultWorld, name: str) -> None:
    world.administrator.patch(f"{TENANTS}/{name}", {"metadata": {"annotations": {api.ANNOTATION_ROTATE: "now"}}})


def has_rotated(world: FaultWorld, name: str) -> bool:
    """Whether the rotation is over: the other login is the only one."""
    first, second = TenantNames(name).logins
    with world.postgres.connect() as connection:
        query = "SELECT rolname::text FROM pg_roles WHERE rolname IN (%s, %s)"
        left = connection.execute(query, [first, second]).fetchall()
    return left == [(second,)] and world.is_ready(name)


def a_tenant_to_move(world: FaultWorld, name: str) -> None:
    """Begin with a Tenant at the revision that ships, and a neighbour that is not to be moved."""
    world.change(NEIGHBOUR, migrations={"hold": True})
    a_tenant(world, name)


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


def a_customer_apart(world: FaultWorld, name: str) -> None:
    """Begin with a Tenant that has a database of its own, whose customer has made a table."""
    a_tenant(world, name, isolation="Database")


def create_apart(world: FaultWorld, name: str) -> None:
    world.apply(name, isolation="Database")


def edit_database(world: FaultWorld, name: str) -> None:
    """Let everybody in but those who may, by hand, from another database of the server."""
    names = TenantNames(name)
    words = {"own": names.database, "login": names.logins[0], "owner": names.owner, "app": names.app}
    edits = (
        "GRANT CONNECT, TEMPORARY ON DATABASE {own} TO PUBLIC",
        "REVOKE CONNECT ON DATABASE {own} FROM tenantry_svc_accounts_1",
        "ALTER DATABASE {own} OWNER TO {owner}",
        "ALTER DATABASE {own} ALLOW_CONNECTIONS false CONNECTION LIMIT 0 IS_TEMPLATE true",
        "ALTER ROLE {login} IN DATABASE {own} SET search_path TO public",
        "GRANT tenantry_tenants TO {login}",
        "REVOKE {app} FROM {login}",
    )
    written = {word: sql.Identifier(name) for word, name in words.items()}
    world.execute(*(sql.SQL(edit).format(**written) for edit in edits))


def without_a_pool(world: FaultWorld, name: str) -> None:
    """Begin on a server that no pooled tenant was ever on."""
    with world.postgres.connect("app") as connection:
        connection.execute("DROP SCHEMA IF EXISTS tenantry_pool, tenantry CASCADE")
        for (role,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^tenantry_pool_'").fetchall():
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def create_pooled(world: FaultWorld, name: str) -> None:
    world.apply(name, isolation="Pooled")


def a_pooled_tenant(world: FaultWorld, name: str) -> None:
    """Begin with a pooled Tenant that has a user, as somebody else in the pool has."""
    world.apply(name, isolation="Pooled")
    world.wait(lambda: world.is_ready(name), f"{name} is Ready")
    tenant = (world.tenant(name) or {})["status"]["id"]
    values = "(id, tenant_id, email) VALUES ({}, {}, 'ada@example.com') ON CONFLICT DO NOTHING"
    user = sql.SQL("INSERT INTO tenantry_pool.users " + values)
    for number, one in enumerate((tenant, SOMEBODY_ELSE)):
        world.execute(user.format(sql.Literal(f"{one[:-2]}a{number}"), sql.Literal(one)))


def edit_pool(world: FaultWorld, name: str) -> None:
    """Take guards of the pool away by hand, and a tenant's own part in it."""
    words = {"login": sql.Identifier(TenantNames(name).logins[0]), "name": sql.Literal(name)}
    edits = (
        "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
        "DROP POLICY pool_accounts ON tenantry_pool.users",
        "CREATE POLICY open ON tenantry_pool.users USING (true)",
        "GRANT SELECT ON tenantry_pool.users TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION tenantry.tenant_of(name) FROM tenantry_pool_customers",
        "UPDATE tenantry.pooled SET open = false WHERE name = {name}",
        "ALTER ROLE {login} NOINHERIT CONNECTION LIMIT 99",
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


SOMEBODY_ELSE = "01890000-0000-7000-8000-000000000000"
OVERLAP = "2s"
READS = {"readOnlyRole": "Enabled"}
EXTENDS = {"extensions": [{"name": "citext"}]}
LIMITS = {"connectionLimit": 7, "settings": {"statement_timeout": "9s", "work_mem": "8MB"}}

SCENARIOS = (
    Scenario("create", create, prepare=nothing),
    Scenario("change limits and settings", change(database=LIMITS)),
    Scenario("ask for a read-only role", change(database=READS)),
    Scenario("drop the read-only role", change(database={"readOnlyRole": "Disabled"}), prepare=a_tenant_that_is_read),
    Scenario("suspend what is read", change(lifecycle="Suspended"), prepare=a_tenant_that_is_read),
    Scenario("ask for an extension in its own database", change(database=EXTENDS), prepare=a_tenant_apart),
    Scenario("rotate", rotate, prepare=a_tenant_with_a_short_overlap, reached=has_rotated),
    Scenario("move the Secret", change(credentials={"secretName": "elsewhere"})),
    Scenario("suspend", change(lifecycle="Suspended")),
    Scenario("resume what was suspended", change(lifecycle="Active"), prepare=a_tenant_that_is("Suspended")),
    Scenario("archive", change(lifecycle="Archived")),
    Scenario("resume what was archived", change(lifecycle="Active"), prepare=a_tenant_that_is("Archived")),
    Scenario("delete with Retain", delete, prepare=a_tenant_that_retains, reached=is_gone),
    Scenario("delete with Delete", delete, reached=is_gone),
    Scenario("adopt what was retained", create, prepare=a_retained_tenant),
    Scenario("repair roles and grants", edit_roles, restores=True),
    Scenario("repair a dropped login", drop_login, restores=True),
    Scenario("repair a deleted Secret", delete_secret, restores=True),
    Scenario("repair a lost registry row", lose_row, restores=True),
    Scenario("create with a database", create_apart, prepare=nothing),
    Scenario("delete a database", delete, prepare=a_customer_apart, reached=is_gone),
    Scenario("repair a database", edit_database, prepare=a_customer_apart, restores=True),
    Scenario("create in a pool", create_pooled, prepare=without_a_pool),
    Scenario("delete from a pool", delete, prepare=a_pooled_tenant, reached=is_gone),
    Scenario("repair a pool", edit_pool, prepare=a_pooled_tenant, restores=True),
    Scenario("migrate", migrate, a_tenant_to_move, has_migrated, tidy=release_what_ships, later=True),
)
