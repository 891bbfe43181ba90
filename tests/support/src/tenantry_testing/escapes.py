"""What a tenant's login tries against its neighbour, by the guard that each attempt rests on.

A guard also says what an administrator would run to take it away, so that a test can see that an attempt gets through
then: an attempt that is refused for another reason proves nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

MINE: Final = "acme"
OTHERS: Final = "beta"

FURNISHED: Final = (
    "SELECT lo_from_bytea(0, 'theirs')",
    "SET ROLE t_beta_owner",
    "CREATE TABLE things AS SELECT 1 AS id",
    "ALTER TABLE things ADD PRIMARY KEY (id)",
    "CREATE SEQUENCE numbers",
    "CREATE TYPE mood AS ENUM ('good')",
    "CREATE FUNCTION secret() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)
"""Run as the neighbour's login: it has something of each kind."""


@dataclass(frozen=True)
class Guard:
    """One wall. Each of `attempts` is refused while it stands, and gets through once `removed` is run."""

    name: str
    attempts: tuple[str, ...]
    removed: tuple[str, ...]
    repaired: bool = True
    """Whether the operator puts the wall up again; if not, it says what is down."""
    database: str = "app"
    """Where `removed` is run."""

    def __repr__(self) -> str:
        return self.name


_ROLES: Final = "t_acme_login_a, t_acme_owner"

SCHEMA: Final = (
    Guard(
        "neither schema nor objects are granted",
        (
            "SELECT * FROM t_beta.things",
            "SELECT count(*) FROM t_beta.things",
            "INSERT INTO t_beta.things VALUES (2)",
            "UPDATE t_beta.things SET id = 3",
            "DELETE FROM t_beta.things",
            "MERGE INTO t_beta.things USING (SELECT 1 AS id) n ON n.id = things.id WHEN MATCHED THEN DELETE",
            "TRUNCATE t_beta.things",
            "LOCK TABLE t_beta.things",
            "SELECT * FROM t_beta.things FOR UPDATE",
            "EXPLAIN ANALYZE SELECT * FROM t_beta.things",
            "DECLARE c CURSOR FOR SELECT * FROM t_beta.things",
            "SELECT query_to_xml('SELECT * FROM t_beta.things', true, false, '')",
            "SELECT table_to_xml('t_beta.things', true, false, '')",
            "DO 'BEGIN PERFORM * FROM t_beta.things; END'",
            "SELECT nextval('t_beta.numbers')",
            "SELECT setval('t_beta.numbers', 7)",
            "SELECT t_beta.secret()",
            "CREATE TABLE t_beta.mine (id int)",
            "CREATE FUNCTION t_beta.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TYPE t_beta.mine AS (id int)",
        ),
        (
            f"GRANT ALL ON SCHEMA t_beta TO {_ROLES}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA t_beta TO {_ROLES}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA t_beta TO {_ROLES}",
            f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA t_beta TO {_ROLES}",
        ),
    ),
    Guard(
        "the schema is not to be looked into",
        ("SELECT NULL::t_beta.mood", "SELECT 't_beta.things'::regclass"),
        (f"GRANT USAGE ON SCHEMA t_beta TO {_ROLES}",),
    ),
    Guard(
        "no role of one tenant belongs to another's",
        (
            "SET ROLE t_beta_owner",
            "SET ROLE t_beta_app",
            "SET ROLE t_beta_ro",
            "SET ROLE t_beta_migrator",
            "SET ROLE t_beta_login_a",
            "SET LOCAL ROLE t_beta_owner",
            "SELECT set_config('role', 't_beta_owner', true)",
            "DROP TABLE t_beta.things",
            "ALTER TABLE t_beta.things ADD COLUMN more int",
            "ALTER TABLE t_beta.things OWNER TO t_acme_owner",
            "ALTER TABLE t_beta.things ENABLE ROW LEVEL SECURITY",
            "CREATE INDEX ON t_beta.things (id)",
            "CREATE RULE mine AS ON DELETE TO t_beta.things DO INSTEAD NOTHING",
            "DROP FUNCTION t_beta.secret()",
            "ALTER TYPE t_beta.mood RENAME TO mine",
            "COMMENT ON SCHEMA t_beta IS 'mine'",
            "DROP SCHEMA t_beta CASCADE",
            "GRANT ALL ON SCHEMA t_beta TO PUBLIC",
            "ALTER DEFAULT PRIVILEGES FOR ROLE t_beta_owner GRANT ALL ON TABLES TO t_acme_app",
            "DROP OWNED BY t_beta_app",
        ),
        (f"GRANT t_beta_owner, t_beta_app, t_beta_ro, t_beta_migrator, t_beta_login_a TO {_ROLES}",),
    ),
    Guard(
        "a table of another's is not to be referred to",
        (
            "CREATE VIEW t_acme.mine AS SELECT * FROM t_beta.things",
            "CREATE TABLE t_acme.mine (id int REFERENCES t_beta.things)",
            "CREATE TABLE t_acme.mine AS TABLE t_beta.things",
            "CREATE TABLE t_acme.mine (mood t_beta.mood)",
            "CREATE TABLE t_acme.mine (LIKE t_beta.things)",
            "CREATE TABLE t_acme.mine () INHERITS (t_beta.things)",
            "CREATE MATERIALIZED VIEW t_acme.mine AS SELECT * FROM t_beta.things",
        ),
        (
            f"GRANT t_beta_owner TO {_ROLES}",
            "GRANT t_acme_owner TO t_acme_login_a",
            "GRANT t_beta_owner TO t_acme_owner",
        ),
    ),
    Guard(
        "the services' schemas are the services'",
        (
            "SELECT * FROM s_beta.users",
            "SELECT * FROM s_beta.schema_version",
            "INSERT INTO s_beta.users (id, tenant_id, email) VALUES (gen_random_uuid(), gen_random_uuid(), 'x@y')",
            "SELECT * FROM s_acme.users",
            "SELECT * FROM s_acme.schema_version",
            "DELETE FROM s_acme.schema_version",
            "CREATE TABLE s_acme.mine (id int)",
            "DROP SCHEMA s_beta CASCADE",
            "SET ROLE s_beta_accounts",
            "SET ROLE s_acme_accounts",
            "SET ROLE tenantry_owner",
            "SET ROLE tenantry_svc_accounts_1",
        ),
        (f"GRANT tenantry_owner, tenantry_svc_accounts_1, s_acme_accounts, s_beta_accounts TO {_ROLES}",),
    ),
    Guard(
        "nobody becomes the operator",
        (
            "SET ROLE operator_login",
            "ALTER DATABASE app SET statement_timeout = 0",
            "COMMENT ON DATABASE app IS 'mine'",
        ),
        (f"GRANT operator_login TO {_ROLES}",),
    ),
    Guard(
        "no role may make or change roles",
        (
            "CREATE ROLE mine",
            "ALTER ROLE t_beta_login_a PASSWORD 'x'",
            "ALTER ROLE t_beta_login_a NOLOGIN",
            "ALTER ROLE t_beta_login_a RENAME TO mine",
            "ALTER ROLE t_beta_login_a IN DATABASE app SET search_path = t_acme",
            "ALTER ROLE t_acme_login_a CONNECTION LIMIT -1",
            "COMMENT ON ROLE t_beta_owner IS 'mine'",
            "COMMENT ON ROLE t_acme_owner IS 'mine'",
            "GRANT t_beta_app TO t_acme_login_a",
            "GRANT t_acme_owner TO t_beta_login_a",
        ),
        ("ALTER ROLE t_acme_login_a CREATEROLE", "ALTER ROLE t_acme_owner CREATEROLE"),
    ),
    Guard(
        "nothing is made outside of the tenant's schema",
        ("CREATE SCHEMA mine", "CREATE TEMPORARY TABLE mine (id int)", "CREATE EXTENSION citext SCHEMA t_acme"),
        (f"GRANT CREATE, TEMPORARY ON DATABASE app TO {_ROLES}", "GRANT CREATE ON SCHEMA t_acme TO t_acme_login_a"),
    ),
    Guard(
        "nothing is made in public",
        ("CREATE TABLE public.mine (id int)", "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC",),
    ),
    Guard(
        "all data is nobody's",
        ("SELECT * FROM t_beta.things", "SELECT * FROM s_beta.users", "COPY t_beta.things TO STDOUT"),
        ("GRANT pg_read_all_data TO tenantry_tenants", "GRANT pg_read_all_data TO t_acme_owner"),
    ),
    Guard(
        "no role rules the server",
        (
            "SET SESSION AUTHORIZATION t_beta_login_a",
            "ALTER ROLE t_acme_login_a SUPERUSER",
            "ALTER ROLE t_acme_login_a BYPASSRLS",
            "CREATE PUBLICATION mine FOR ALL TABLES",
            "SELECT rolpassword FROM pg_authid",
            "SELECT * FROM pg_largeobject",
            "SELECT * FROM pg_statistic",
            "SELECT pg_read_file('PG_VERSION')",
            "SELECT pg_ls_dir('.')",
            "SELECT lo_import('/etc/hostname')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "CREATE FUNCTION t_acme.mine() RETURNS int LANGUAGE internal AS 'int4um'",
            "SELECT lo_get(min(oid)) FROM pg_largeobject_metadata",
            "SET session_replication_role = replica",
        ),
        ("ALTER ROLE t_acme_login_a SUPERUSER", "ALTER ROLE t_acme_owner SUPERUSER"),
        repaired=False,
    ),
)


def _as(name: str, *, without: str = "-") -> Guard:
    """Return a guard of isolation Schema with those of its attempts that need nothing of another mode."""
    (guard,) = (one for one in SCHEMA if one.name == name)
    return replace(guard, attempts=tuple(one for one in guard.attempts if without not in one))


DATABASE: Final = (
    Guard(
        "no role of one tenant belongs to another's",
        (
            "SET ROLE t_beta_owner",
            "SET ROLE t_beta_app",
            "SET ROLE t_beta_ro",
            "SET ROLE t_beta_migrator",
            "SET ROLE t_beta_login_a",
            "SET LOCAL ROLE t_beta_owner",
            "SELECT set_config('role', 't_beta_owner', true)",
            "ALTER DEFAULT PRIVILEGES FOR ROLE t_beta_owner GRANT ALL ON TABLES TO t_acme_app",
        ),
        (f"GRANT t_beta_owner, t_beta_app, t_beta_ro, t_beta_migrator, t_beta_login_a TO {_ROLES}",),
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
        (f"GRANT tenantry_owner, tenantry_svc_accounts_1, s_acme_accounts, s_beta_accounts TO {_ROLES}",),
    ),
    _as("nobody becomes the operator"),
    _as("no role may make or change roles"),
    replace(
        _as("nothing is made outside of the tenant's schema"),
        removed=(
            f"GRANT CREATE, TEMPORARY ON DATABASE t_acme TO {_ROLES}",
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
            "ALTER TABLE tenantry_pool.users OWNER TO t_acme_owner",
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
    _as("nobody becomes the operator"),
    replace(
        _as("no role may make or change roles", without="t_beta_app"), removed=("ALTER ROLE t_acme_login_a CREATEROLE",)
    ),
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


def attempts(isolation: str) -> list[str]:
    return list(dict.fromkeys(one for guard in MODES[isolation] for one in guard.attempts))
