"""What a tenant's login tries against its neighbour, by the guard that each attempt rests on.

A guard also says what an administrator would run to take it away, so that a test can see that an attempt gets through
then: an attempt that is refused for another reason proves nothing.
"""

from dataclasses import dataclass
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


AS_NEIGHBOUR: Final = (
    "SET ROLE t_beta_owner",
    "SET ROLE t_beta_app",
    "SET ROLE t_beta_ro",
    "SET ROLE t_beta_migrator",
    "SET ROLE t_beta_login_a",
    "SET LOCAL ROLE t_beta_owner",
    "SELECT set_config('role', 't_beta_owner', true)",
)
"""All ways to be a role of the neighbour's."""


@dataclass(frozen=True)
class Guard:
    """One wall. Each of `attempts` is refused while it stands, and gets through once `removed` is run."""

    name: str
    attempts: tuple[str, ...]
    removed: tuple[str, ...]
    closed: tuple[str, ...] = ()
    """What an administrator runs if the operator may only say what is down; empty: it puts the wall up again itself."""
    database: str = "app"
    """Where `removed` and `closed` are run."""
    connects: tuple[str, ...] = ()
    """Databases that let the login in only without the guard."""
    until: int = 99
    """The version of Postgres from which on the server itself refuses `removed`, or the attempts all the same."""

    def __repr__(self) -> str:
        return self.name


ROLES: Final = "t_acme_login_a, t_acme_owner"
MADE_NEIGHBOUR: Final = f"GRANT t_beta_owner, t_beta_app, t_beta_ro, t_beta_migrator, t_beta_login_a TO {ROLES}"

REGISTRY: Final = (
    Guard(
        "a login is let into no registry",
        (),
        ("GRANT CONNECT ON DATABASE tenantry TO t_acme_login_a",),
        connects=("tenantry",),
    ),
    Guard(
        "nobody is let into the registry", (), ("GRANT CONNECT ON DATABASE tenantry TO PUBLIC",), connects=("tenantry",)
    ),
)

SCHEMA: Final = (
    *REGISTRY,
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
            f"GRANT ALL ON SCHEMA t_beta TO {ROLES}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA t_beta TO {ROLES}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA t_beta TO {ROLES}",
            f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA t_beta TO {ROLES}",
        ),
    ),
    Guard(
        "the schema is not to be looked into",
        ("SELECT NULL::t_beta.mood", "SELECT 't_beta.things'::regclass"),
        (f"GRANT USAGE ON SCHEMA t_beta TO {ROLES}",),
    ),
    Guard(
        "no role of one tenant belongs to another's",
        (
            *AS_NEIGHBOUR,
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
        (MADE_NEIGHBOUR,),
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
            f"GRANT t_beta_owner TO {ROLES}",
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
        (f"GRANT tenantry_owner, tenantry_svc_accounts_1, s_acme_accounts, s_beta_accounts TO {ROLES}",),
    ),
    Guard(
        "what is the services' belongs to their owner",
        ("SELECT * FROM s_acme.users", "CREATE TABLE s_acme.mine (id int)", "DROP SCHEMA s_acme CASCADE"),
        (
            "ALTER SCHEMA s_acme OWNER TO t_acme_owner",
            "ALTER TABLE s_acme.users OWNER TO t_acme_owner",
            "ALTER TABLE s_acme.schema_version OWNER TO t_acme_owner",
        ),
    ),
    Guard(
        "nobody becomes the operator",
        (
            "SET ROLE operator_login",
            "ALTER DATABASE app SET statement_timeout = 0",
            "COMMENT ON DATABASE app IS 'mine'",
        ),
        (f"GRANT operator_login TO {ROLES}",),
        # From then on the maker of a role is a member of it.
        until=16,
    ),
    Guard(
        "no role may make roles",
        ("CREATE ROLE mine",),
        ("ALTER ROLE t_acme_login_a CREATEROLE", "ALTER ROLE t_acme_owner CREATEROLE"),
    ),
    Guard(
        "no role may change roles",
        (
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
        # From then on it takes more than that attribute: to have been given the role.
        until=16,
    ),
    Guard(
        "nothing is made outside of the tenant's schema",
        ("CREATE SCHEMA mine", "CREATE TEMPORARY TABLE mine (id int)", "CREATE EXTENSION citext SCHEMA t_acme"),
        (f"GRANT CREATE, TEMPORARY ON DATABASE app TO {ROLES}", "GRANT CREATE ON SCHEMA t_acme TO t_acme_login_a"),
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
            "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
            "CREATE FUNCTION t_acme.mine() RETURNS int LANGUAGE internal AS 'int4um'",
            "SELECT lo_get(min(oid)) FROM pg_largeobject_metadata",
            "SET session_replication_role = replica",
        ),
        ("ALTER ROLE t_acme_login_a SUPERUSER", "ALTER ROLE t_acme_owner SUPERUSER"),
        closed=("ALTER ROLE t_acme_login_a NOSUPERUSER", "ALTER ROLE t_acme_owner NOSUPERUSER"),
    ),
)
