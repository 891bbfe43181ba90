"""What an administrator can change by hand on a server with the Tenant acme, and all that there is to be changed."""

from collections.abc import Mapping, Sequence
from typing import Final

BY_OPERATOR: Final = """DO $$ BEGIN
    EXECUTE format('SET ROLE %I', (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()));
END $$"""
"""Since Postgres 16 a grant bears who gave it, and only he, or a superuser, takes it back. The operator owns the
database."""

OTHER_OWNER: Final = f"{BY_OPERATOR}; CREATE ROLE t_other_owner; RESET ROLE"
"""Run it before: some changes give it something."""

REPAIRED: Final[Mapping[str, Sequence[str]]] = {
    "a grant is revoked": ["REVOKE USAGE ON SCHEMA t_acme FROM t_acme_app"],
    "the services lose a table": ["REVOKE SELECT ON s_acme.users FROM s_acme_accounts"],
    "a membership is revoked": [BY_OPERATOR, "REVOKE t_acme_app FROM t_acme_login_a"],
    "the services are shut out": [BY_OPERATOR, "REVOKE s_acme_accounts FROM tenantry_svc_accounts_1"],
    "the group of logins loses a member": [BY_OPERATOR, "REVOKE tenantry_tenants FROM t_acme_login_a"],
    "the login becomes the owner": [BY_OPERATOR, "GRANT t_acme_owner TO t_acme_login_a"],
    "the migrator inherits": ["ALTER ROLE t_acme_migrator INHERIT"],
    "everybody may use the schema": ["GRANT ALL ON SCHEMA t_acme TO PUBLIC"],
    "the login sees the services": [
        "GRANT USAGE ON SCHEMA s_acme TO t_acme_login_a",
        "GRANT ALL ON s_acme.users TO t_acme_login_a",
    ],
    "default privileges are emptied": [
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_acme_owner REVOKE ALL ON TABLES FROM t_acme_app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_acme_owner GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_acme_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
    ],
    "settings are changed": [
        "ALTER ROLE t_acme_login_a IN DATABASE app SET statement_timeout = 0",
        "ALTER ROLE t_acme_login_a IN DATABASE app SET work_mem = '1GB'",
        "ALTER ROLE t_acme_login_a IN DATABASE app RESET search_path",
    ],
    "the login is locked": ["ALTER ROLE t_acme_login_a NOLOGIN CONNECTION LIMIT 1 VALID UNTIL '2001-01-01'"],
    "a role may make roles": ["ALTER ROLE t_acme_owner CREATEROLE CREATEDB LOGIN"],
    "a table of another tenant is granted": [
        "CREATE SCHEMA t_other AUTHORIZATION t_other_owner",
        "CREATE TABLE t_other.things (id int)",
        "ALTER TABLE t_other.things OWNER TO t_other_owner",
        "GRANT SELECT (id), UPDATE ON t_other.things TO t_acme_login_a",
        "GRANT USAGE, CREATE ON SCHEMA t_other TO t_acme_app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_other_owner IN SCHEMA t_other GRANT SELECT ON TABLES TO t_acme_login_a",
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_other_owner GRANT USAGE ON SCHEMAS TO t_acme_app",
    ],
    "rights on the database are granted": [
        "GRANT TEMPORARY, CREATE ON DATABASE app TO t_acme_login_a",
        "GRANT CONNECT ON DATABASE tenantry TO t_acme_login_a",
    ],
    "a column of the services is granted": ["GRANT SELECT (email) ON s_acme.users TO t_acme_app, s_acme_accounts"],
    "a table of the services is given away": ["ALTER TABLE s_acme.users OWNER TO t_other_owner"],
    "a setting holds in all databases": ["ALTER ROLE t_acme_login_a SET work_mem = '1GB'"],
    "a setting holds in another database": ["ALTER ROLE t_acme_login_a IN DATABASE tenantry SET search_path = x"],
    "the connection limit is another one": ["ALTER ROLE t_acme_login_a CONNECTION LIMIT 500"],
    "the password expires": ["ALTER ROLE t_acme_login_a VALID UNTIL '2001-01-01'"],
    "the login may administer a group": [BY_OPERATOR, "GRANT t_acme_app TO t_acme_login_a WITH ADMIN OPTION"],
    "another tenant's login becomes a member": [BY_OPERATOR, "GRANT t_acme_app TO t_other_owner"],
    "functions to come are everybody's": [
        "ALTER DEFAULT PRIVILEGES FOR ROLE t_acme_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC"
    ],
    "a grant may be passed on": ["GRANT USAGE ON SCHEMA t_acme TO t_acme_app WITH GRANT OPTION"],
    "the services' schema is given away": [
        "ALTER SCHEMA s_acme OWNER TO t_other_owner",
        "ALTER TABLE s_acme.schema_version OWNER TO t_other_owner",
    ],
    "the schema is given away": ["ALTER SCHEMA t_acme OWNER TO t_other_owner"],
}

GRANTED_BY_SUPERUSER: Final[Mapping[str, str]] = {
    "the login becomes the owner": "t_acme_owner TO t_acme_login_a",
    "the login may read all": "pg_read_all_data TO t_acme_login_a WITH ADMIN OPTION",
    "another tenant's login becomes a member": "t_acme_app TO t_other_owner",
    "the login may administer a group": "t_acme_app TO t_acme_login_a WITH ADMIN OPTION",
}
"""Memberships. Before Postgres 16 whoever may make roles takes them back."""

EVERYTHING: Final = """
SELECT kind, fact FROM (
    SELECT 'role' AS kind, row(rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolconnlimit,
        rolreplication, rolbypassrls, coalesce(rolvaliduntil < 'infinity', false))::text AS fact
        FROM pg_roles WHERE rolname ~ '^[ts]_acme'
    UNION ALL SELECT 'member', row(roleid::regrole, member::regrole, admin_option)::text FROM pg_auth_members
        WHERE roleid::regrole::text ~ '^[ts]_acme' OR member::regrole::text ~ '^[ts]_acme'
    UNION ALL SELECT 'schema', row(nspname, nspowner::regrole, a.grantee::regrole, a.privilege_type)::text
        FROM pg_namespace CROSS JOIN LATERAL aclexplode(nspacl) a WHERE nspname ~ '^[ts]_'
    UNION ALL SELECT 'table', row(relname, relowner::regrole, a.grantee::regrole, a.privilege_type)::text
        FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) a WHERE relnamespace::regnamespace::text ~ '^[ts]_'
    UNION ALL SELECT 'column', row(attrelid::regclass, attname, a.grantee::regrole, a.privilege_type)::text
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid CROSS JOIN LATERAL aclexplode(attacl) a
        WHERE relnamespace::regnamespace::text ~ '^[ts]_acme'
    UNION ALL SELECT 'owner', row(oid::regclass, relowner::regrole)::text FROM pg_class
        WHERE relnamespace::regnamespace::text = 's_acme' AND relkind = 'r'
    UNION ALL SELECT 'setting', row(setdatabase, setrole::regrole, one)::text
        FROM pg_db_role_setting CROSS JOIN unnest(setconfig) one
    UNION ALL SELECT 'default', row(defaclrole::regrole, defaclobjtype, a.grantee::regrole, a.privilege_type)::text
        FROM pg_default_acl CROSS JOIN LATERAL aclexplode(defaclacl) a
        WHERE a.grantee::regrole::text ~ '^[ts]_acme' OR a.grantee = 0
    UNION ALL SELECT 'database', row(datname, a.grantee::regrole, a.privilege_type)::text
        FROM pg_database CROSS JOIN LATERAL aclexplode(datacl) a WHERE a.grantee::regrole::text ~ '^[ts]_acme'
) facts WHERE fact !~ 't_other_owner,t_other_owner' ORDER BY 1, 2
"""
"""All that the catalogue says of the tenant, asked in another way than the operator asks."""
