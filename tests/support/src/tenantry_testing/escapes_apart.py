"""What is tried with a database of one's own, or in the pool; and all that is tried, by isolation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tenantry_testing.escapes import AS_NEIGHBOUR, MADE_NEIGHBOUR, REGISTRY, ROLES, SCHEMA, Guard


def _as(name: str, *, without: str = "-") -> Guard:
    """Return a guard of isolation Schema with those of its attempts that need nothing of another mode."""
    (guard,) = (one for one in SCHEMA if one.name == name)
    return replace(guard, attempts=tuple(one for one in guard.attempts if without not in one))


DATABASE: Final = (
    *REGISTRY,
    Guard(
        "a login is let into its own database alone",
        (),
        ("GRANT CONNECT ON DATABASE app, t_beta TO t_acme_login_a",),
        connects=("app", "t_beta"),
    ),
    Guard(
        "nobody is let into a tenant's database",
        (),
        ("GRANT CONNECT ON DATABASE t_beta TO PUBLIC",),
        connects=("t_beta",),
    ),
    Guard("a login is in no group", (), ("GRANT tenantry_tenants TO t_acme_login_a",), connects=("app",)),
    Guard(
        "a tenant's database is the services' owner's",
        (
            "COMMENT ON DATABASE t_acme IS 'mine'",
            "ALTER DATABASE t_acme CONNECTION LIMIT 3",
            "ALTER DATABASE t_acme SET statement_timeout = 0",
        ),
        ("ALTER DATABASE t_acme OWNER TO t_acme_owner",),
    ),
    replace(_as("what is the services' belongs to their owner"), database="t_acme"),
    replace(
        _as("nothing is made in public"),
        closed=("REVOKE CREATE ON SCHEMA public FROM PUBLIC",),
        database="t_acme",
    ),
    Guard(
        "no role of one tenant belongs to another's",
        (
            *AS_NEIGHBOUR,
            "ALTER DEFAULT PRIVILEGES FOR ROLE t_beta_owner GRANT ALL ON TABLES TO t_acme_app",
        ),
        (MADE_NEIGHBOUR,),
    ),
    Guard(
        "the services' schema and all databases are the services'",
        (
            "SELECT * FROM s_acme.users",
            "SELECT * FROM s_acme.schema_version",
            "DELETE FROM s_acme.schema_version",
            "CREATE TABLE s_acme.mine (id int)",
            "DROP SCHEMA s_acme CASCADE",
            "SET ROLE s_acme_accounts",
            "SET ROLE s_beta_accounts",
            "SET ROLE tenantry_owner",
            "SET ROLE tenantry_svc_accounts_1",
            "ALTER DATABASE t_acme SET statement_timeout = 0",
            "ALTER DATABASE t_beta SET statement_timeout = 0",
            "ALTER DATABASE t_beta CONNECTION LIMIT 0",
            "COMMENT ON DATABASE t_acme IS 'mine'",
            "COMMENT ON DATABASE t_beta IS 'mine'",
        ),
        (f"GRANT tenantry_owner, tenantry_svc_accounts_1, s_acme_accounts, s_beta_accounts TO {ROLES}",),
    ),
    _as("nobody becomes the operator"),
    _as("no role may make roles"),
    _as("no role may change roles"),
    replace(
        _as("nothing is made outside of the tenant's schema"),
        removed=(
            f"GRANT CREATE, TEMPORARY ON DATABASE t_acme TO {ROLES}",
            "GRANT CREATE ON SCHEMA t_acme TO t_acme_login_a",
        ),
        database="t_acme",
    ),
    Guard(
        "all data is nobody's",
        ("SELECT * FROM s_acme.users",),
        ("GRANT pg_read_all_data TO t_acme_login_a", "GRANT pg_read_all_data TO t_acme_owner"),
    ),
    _as("no role rules the server", without="lo_get"),
)

POOLED: Final = (
    *REGISTRY,
    Guard(
        "row security divides the rows",
        (
            "SET LOCAL row_security TO off; SELECT * FROM tenantry_pool.users",
            "SET LOCAL row_security TO off; SELECT count(*) FROM users",
        ),
        ("ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",),
    ),
    Guard(
        "a customer only reads",
        (
            "UPDATE tenantry_pool.users SET email = 'x@y'",
            "DELETE FROM tenantry_pool.users",
            "TRUNCATE tenantry_pool.users CASCADE",
            "LOCK TABLE tenantry_pool.users",
            "SELECT * FROM tenantry_pool.users FOR UPDATE",
        ),
        ("GRANT ALL ON ALL TABLES IN SCHEMA tenantry_pool TO tenantry_pool_customers",),
    ),
    Guard(
        "the directory and the versions are the pool's",
        (
            "SELECT * FROM tenantry.pooled",
            "SELECT tenant_id FROM tenantry.pooled WHERE name = 'beta'",
            "UPDATE tenantry.pooled SET login_a = 'mine' WHERE name = 'beta'",
            "UPDATE tenantry.pooled SET open = true",
            "DELETE FROM tenantry.pooled",
            "TRUNCATE tenantry.pooled",
            "SELECT * FROM tenantry.schema_version",
            "SELECT * FROM tenantry_pool.schema_version",
            "DELETE FROM tenantry_pool.schema_version",
        ),
        (
            "GRANT ALL ON ALL TABLES IN SCHEMA tenantry TO t_acme_login_a",
            "GRANT ALL ON tenantry_pool.schema_version TO t_acme_login_a",
        ),
    ),
    Guard(
        "nobody becomes a service, another or the pool's owner",
        (
            "SET ROLE tenantry_pool_accounts",
            "SET ROLE tenantry_svc_accounts_1",
            "SET ROLE tenantry_owner",
            "SET ROLE t_acme_owner",
            "SET ROLE t_beta_owner",
            "SET ROLE t_beta_login_a",
            "SELECT set_config('role', 't_beta_login_a', true)",
            "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE tenantry_pool.users NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE tenantry_pool.users OWNER TO t_acme_login_a",
            "CREATE POLICY mine ON tenantry_pool.users USING (true)",
            "DROP TABLE tenantry_pool.users CASCADE",
            "CREATE TABLE tenantry_pool.mine (id int)",
            "CREATE TABLE tenantry.mine (id int)",
            "CREATE FUNCTION tenantry_pool.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "ALTER FUNCTION tenantry.tenant_of(name) SECURITY INVOKER",
            "DROP FUNCTION tenantry.chosen_tenant() CASCADE",
            "DROP SCHEMA tenantry_pool CASCADE",
        ),
        (
            "GRANT tenantry_pool_accounts, tenantry_svc_accounts_1, tenantry_owner, t_acme_owner, t_beta_owner,"
            " t_beta_login_a TO t_acme_login_a",
        ),
    ),
    Guard(
        "a table of the pool is the pool's",
        (
            "ALTER TABLE tenantry_pool.users DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE tenantry_pool.users NO FORCE ROW LEVEL SECURITY",
            "CREATE POLICY mine ON tenantry_pool.users USING (true)",
        ),
        ("ALTER TABLE tenantry_pool.users OWNER TO t_acme_login_a",),
    ),
    _as("nobody becomes the operator"),
    replace(_as("no role may make roles"), removed=("ALTER ROLE t_acme_login_a CREATEROLE",)),
    replace(_as("no role may change roles", without="t_beta_app"), removed=("ALTER ROLE t_acme_login_a CREATEROLE",)),
    Guard(
        "nothing is made outside",
        ("CREATE SCHEMA mine", "CREATE TEMPORARY TABLE mine (id int)"),
        ("GRANT CREATE, TEMPORARY ON DATABASE app TO t_acme_login_a",),
    ),
    _as("nothing is made in public"),
    replace(
        _as("no role rules the server", without="t_acme.mine"),
        attempts=(
            "SET SESSION AUTHORIZATION t_beta_login_a",
            "ALTER ROLE t_acme_login_a BYPASSRLS",
            "SELECT rolpassword FROM pg_authid",
            "SELECT * FROM pg_statistic",
            "SELECT pg_read_file('PG_VERSION')",
            "SET session_replication_role = replica",
        ),
    ),
)
"""Of a pooled tenant only the login tries: nobody becomes the role that bears its marker."""

MODES: Final[Mapping[str, Sequence[Guard]]] = {"Schema": SCHEMA, "Database": DATABASE, "Pooled": POOLED}
"""The guards of each isolation, over the same two tenants."""

WHO: Final[Mapping[str, Sequence[str]]] = {
    "Schema": ("t_acme_login_a", "t_acme_owner"),
    "Database": ("t_acme_login_a", "t_acme_owner"),
    "Pooled": ("t_acme_login_a",),
}
"""As whom the tenant tries."""


def doors(isolation: str) -> list[str]:
    """Name the databases to which a login knocks."""
    return list(dict.fromkeys(one for guard in MODES[isolation] for one in guard.connects))


def attempts(isolation: str) -> list[str]:
    return list(dict.fromkeys(one for guard in MODES[isolation] for one in guard.attempts))
