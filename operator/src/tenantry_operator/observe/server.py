"""Reads what a server has for all tenants together."""

import json
from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from tenantry_operator.model.names import OWNER, SERVICES, TENANTS
from tenantry_operator.model.server import ServerCatalogue
from tenantry_operator.model.tenant import Grant, Membership
from tenantry_operator.observe.catalogue_sql import FOREIGN, FOREIGN_JOINS
from tenantry_operator.observe.tenant import parse_foreign, parse_role

FACTS: Final = """
SELECT jsonb_build_object(
    'version', current_setting('server_version_num')::int,
    'version_text', split_part(current_setting('server_version'), ' ', 1),
    'max_connections', current_setting('max_connections')::int,
    'reserved_connections', current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int,
    'me', current_user,
    'superuser', me.rolsuper,
    'may_create_roles', me.rolcreaterole,
    'may_create_databases', me.rolcreatedb,
    'owns_database', (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()),
    'may_end_sessions', pg_has_role('pg_signal_backend', 'USAGE'),
    'claim', (SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %(owner)s),
    'databases', (SELECT coalesce(jsonb_agg(datname), '[]')
        FROM pg_database WHERE datname = ANY (%(databases)s::name[])),
    'roles', (SELECT coalesce(jsonb_agg(jsonb_build_array(
        rolname, oid::bigint, rolcanlogin, rolinherit, rolconnlimit, coalesce(rolvaliduntil < 'infinity', false),
        to_jsonb(array_remove(ARRAY[
            CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
            CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)), '[]'::jsonb)), '[]')
        FROM pg_roles WHERE rolname = ANY (%(roles)s::name[]) OR rolname ~ %(logins)s),
    -- Since Postgres 16 the maker of a role keeps a membership by which it can only administer it.
    'memberships', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(
        pg_get_userbyid(roleid), pg_get_userbyid(member), false)), '[]')
        FROM pg_auth_members WHERE pg_get_userbyid(roleid) = %(owner)s AND NOT (
            admin_option AND current_setting('server_version_num')::int >= 160000
            AND pg_get_userbyid(member) = current_user)),
    'strays', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(
        pg_get_userbyid(roleid), pg_get_userbyid(member), false)), '[]')
        FROM pg_auth_members m JOIN pg_roles w ON w.oid = m.member
        WHERE (m.member = (SELECT oid FROM pg_roles WHERE rolname = %(tenants)s)
                OR m.roleid = ANY (ARRAY(SELECT oid FROM pg_roles WHERE rolname ~ %(logins)s)))
            AND w.rolname <> current_user AND NOT w.rolsuper),
    'group_grants', (SELECT coalesce(jsonb_agg(<foreign>), '[]')
        FROM (SELECT DISTINCT r.rolname, d.classid, d.objid FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
            WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname = %(tenants)s AND d.deptype = 'a'
                AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                AND d.classid NOT IN ('pg_database'::regclass, 'pg_namespace'::regclass)
        ) AS e <joins>),
    'database_grants', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(
        datname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END, privilege_type)), '[]')
        FROM pg_database CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba)))
        WHERE datname = ANY (%(databases)s::name[]) AND grantee <> datdba),
    'public_grants', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(nspname, 'PUBLIC', privilege_type)), '[]')
        FROM pg_namespace CROSS JOIN LATERAL aclexplode(nspacl) WHERE nspname = 'public' AND grantee = 0)
) FROM pg_roles me WHERE me.rolname = current_user
""".replace("<foreign>", FOREIGN).replace("<joins>", FOREIGN_JOINS)


async def observe_server(connection: AsyncConnection[Any], databases: Sequence[str]) -> ServerCatalogue:
    """Read the database that the connection is in, the shared roles, and who may use the databases named."""
    logins = f"^tenantry_svc_({'|'.join(SERVICES)})_[1-9][0-9]{{0,3}}$"
    parameters = {
        "owner": OWNER,
        "tenants": TENANTS,
        "roles": [OWNER, TENANTS],
        "logins": logins,
        "databases": list(databases),
    }
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(FACTS, parameters)
        row = await cursor.fetchone()
    if row is None:
        raise LookupError("the operator's own role is not in the catalogue")
    return _catalogue(row[0] if isinstance(row[0], dict) else json.loads(row[0]))


def _catalogue(facts: dict[str, Any]) -> ServerCatalogue:
    roles = [parse_role(role) for role in facts.pop("roles")]
    return ServerCatalogue(
        roles={role.name: role for role in roles},
        memberships=frozenset(Membership(*fact) for fact in facts.pop("memberships")),
        databases=frozenset(facts.pop("databases")),
        strays=frozenset(Membership(*fact) for fact in facts.pop("strays")),
        group_grants=frozenset(map(parse_foreign, facts.pop("group_grants"))),
        database_grants=frozenset(Grant(*fact) for fact in facts.pop("database_grants")),
        public_grants=frozenset(Grant(*fact) for fact in facts.pop("public_grants")),
        **facts,
    )
