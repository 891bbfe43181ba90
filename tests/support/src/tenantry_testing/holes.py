"""Ways between tenants that an administrator can open by hand, outside of what a Tenant's own repair looks at."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_MEMBERSHIP: Final = re.compile(r"GRANT ([\w, ]+) TO ([\w, ]+)")


def taken_back(opened: Iterable[str], version: str) -> tuple[str, ...]:
    """Return what takes back the memberships that a superuser gave: since Postgres 16 it is his to do."""
    if int(version.partition(".")[0]) < 16:
        return ()
    found = (_MEMBERSHIP.fullmatch(one) for one in opened if " ON " not in one)
    return tuple(f"REVOKE {one[1]} FROM {one[2]} CASCADE" for one in found if one)


@dataclass(frozen=True)
class Opened:
    """One hole: what opens it, what the operator says of it, and what closes it if the operator does not."""

    name: str
    opened: tuple[str, ...]
    said: str
    closed: tuple[str, ...] = ()
    """Empty: the operator closes it by itself."""

    def __repr__(self) -> str:
        return self.name


PREPARED: Final = (
    "CREATE ROLE s_stranger LOGIN",
    "CREATE SCHEMA shared",
    "GRANT USAGE ON SCHEMA shared TO PUBLIC",
    "CREATE TABLE shared.things (id int)",
    "GRANT SELECT ON shared.things TO PUBLIC",
)
"""Run before: what everybody may only read is no hole."""

CLOSED_BY_US: Final = (
    Opened(
        "the group belongs to a role", ("GRANT pg_read_all_data TO tenantry_tenants",), "belongs to pg_read_all_data"
    ),
    Opened("the group owns the services", ("GRANT tenantry_owner TO tenantry_tenants",), "belongs to tenantry_owner"),
    Opened(
        "a stranger is a service",
        ("GRANT tenantry_svc_accounts_1 TO s_stranger",),
        "s_stranger belongs to tenantry_svc_accounts_1",
    ),
    Opened("the group makes roles", ("ALTER ROLE tenantry_tenants CREATEROLE",), "tenantry_tenants has CREATEROLE"),
    Opened(
        "the group reaches the registry",
        ("GRANT CONNECT ON DATABASE tenantry TO tenantry_tenants",),
        "CONNECT in database",
    ),
    Opened("everybody reaches the registry", ("GRANT CONNECT ON DATABASE tenantry TO PUBLIC",), "CONNECT in database"),
    Opened("temporary tables", ("GRANT TEMPORARY ON DATABASE app TO PUBLIC",), "TEMPORARY in database app"),
    Opened("everybody makes in public", ("GRANT CREATE ON SCHEMA public TO PUBLIC",), "create in schema public"),
)
"""The DatabaseServer's own pass closes these."""

NAMED_ONLY: Final = (
    Opened(
        "everybody makes in a shared schema",
        ("GRANT CREATE ON SCHEMA shared TO PUBLIC",),
        "create in schema shared",
        ("REVOKE CREATE ON SCHEMA shared FROM PUBLIC, tenantry_tenants",),
    ),
    Opened(
        "everybody writes a shared table",
        ("GRANT UPDATE (id) ON shared.things TO PUBLIC",),
        "write shared.things of postgres",
        ("REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON shared.things FROM PUBLIC",),
    ),
    Opened(
        "a view shows a tenant's rows",
        ("CREATE VIEW shared.rows AS SELECT * FROM s_beta.users", "GRANT SELECT ON shared.rows TO PUBLIC"),
        "shared.rows shows every tenant's login what is in schema s_beta",
        ("ALTER VIEW shared.rows SET (security_invoker)",),
    ),
    Opened(
        "a function runs with its owner's rights",
        (
            "CREATE FUNCTION shared.everything() RETURNS int LANGUAGE sql SECURITY DEFINER "
            "AS 'SELECT count(*)::int FROM s_beta.users'",
        ),
        "call shared.everything(), which runs with the rights of postgres",
        ("ALTER FUNCTION shared.everything() SECURITY INVOKER",),
    ),
    Opened(
        "everybody reads files",
        ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC",),
        "call pg_read_file(text)",
        ("REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM PUBLIC",),
    ),
    Opened(
        "everybody reads passwords",
        ("GRANT SELECT (rolpassword) ON pg_authid TO PUBLIC",),
        "read pg_authid",
        ("REVOKE ALL ON pg_authid FROM PUBLIC", "REVOKE ALL (rolpassword) ON pg_authid FROM PUBLIC"),
    ),
    Opened(
        "everybody sets a parameter",
        ("GRANT SET ON PARAMETER session_preload_libraries TO PUBLIC",),
        "set session_preload_libraries",
        ("REVOKE ALL ON PARAMETER session_preload_libraries FROM PUBLIC",),
    ),
    Opened(
        "what the services' owner makes is everybody's",
        ("ALTER DEFAULT PRIVILEGES FOR ROLE tenantry_owner GRANT SELECT ON TABLES TO PUBLIC",),
        "what tenantry_owner makes is SELECT to PUBLIC",
        ("ALTER DEFAULT PRIVILEGES FOR ROLE tenantry_owner REVOKE ALL ON TABLES FROM PUBLIC",),
    ),
    Opened(
        "the walls around large objects are down",
        ("ALTER DATABASE app SET lo_compat_privileges = on",),
        "lo_compat_privileges is on",
        ("ALTER DATABASE app RESET lo_compat_privileges",),
    ),
    Opened(
        "a stranger's view is in the schema",
        ("CREATE VIEW t_acme.theirs AS SELECT * FROM s_beta.users", "GRANT SELECT ON t_acme.theirs TO t_acme_app"),
        "view t_acme.theirs belongs to postgres",
        ("ALTER VIEW t_acme.theirs OWNER TO t_acme_owner",),
    ),
    Opened(
        "a stranger's function is in the services' schema",
        ("CREATE FUNCTION s_acme.theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'",),
        "function s_acme.theirs() belongs to postgres",
        ("ALTER FUNCTION s_acme.theirs() OWNER TO tenantry_owner",),
    ),
    Opened(
        "the tenant's view is outside",
        ("CREATE VIEW shared.ours AS SELECT 1 AS id", "ALTER VIEW shared.ours OWNER TO t_acme_owner"),
        "view shared.ours is outside the tenant's schemas and belongs to t_acme_owner",
        ("DROP VIEW shared.ours",),
    ),
)
"""These are somebody's objects, or a superuser's to take back: they stay, and are named with what closes them."""

UNDONE: Final = ("DROP SCHEMA shared CASCADE", "ALTER DATABASE app RESET ALL")
"""Run after: what a test's end does not remove by itself."""
