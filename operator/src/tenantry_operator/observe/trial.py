"""Logs in as a tenant, with the password that its Secret has, and tries to reach what it must not.

All is tried in one transaction that may only read and is rolled back, so that nothing changes whatever is let through;
and in one round trip, without an error in the server's log for each refusal. Only a tenant that has a database of its
own knocks at two others besides: that it connects to no other is what keeps it apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql

from tenantry_operator.clients.postgres import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseError,
    DatabaseMissing,
    ServerAddress,
    Servers,
)
from tenantry_operator.clients.sqlstate import FailureKind, classify
from tenantry_operator.model.exposure import Trial
from tenantry_operator.model.isolation import Isolation, Layout
from tenantry_operator.model.names import OWNER, SERVICES, TENANTS, service_login
from tenantry_operator.model.pool import DIRECTORY_SCHEMA, DIRECTORY_TABLE, POOL_CUSTOMERS, POOL_ROLES, POOL_SCHEMA

POWERS: Final = (
    "pg_read_all_data", "pg_write_all_data", "pg_read_all_stats", "pg_signal_backend",
    "pg_read_server_files", "pg_write_server_files", "pg_execute_server_program",
)  # fmt: skip
"""Predefined roles that reach past a tenant."""

NEIGHBOURS: Final[Mapping[Isolation, str]] = {
    Isolation.SCHEMA: "SELECT nspname::text AS name FROM pg_namespace WHERE nspname ^@ 't_'"
    " AND pg_get_userbyid(nspowner) = (nspname || '_owner')::name",
    Isolation.DATABASE: "SELECT datname::text AS name FROM pg_database WHERE datname ^@ 't_' AND datallowconn"
    " AND pg_get_userbyid(datdba) = 'tenantry_owner'",
    Isolation.POOLED: "SELECT DISTINCT left(pg_get_userbyid(m.member)::text, -length('_login_a')) AS name"
    " FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE g.rolname = 'tenantry_pool_customers'"
    " AND pg_get_userbyid(m.member) ~ '^t_.+_login_[ab]$'",
}
"""How others that are kept apart in the same way are found; each answers the name of a customer's schema."""

OF_NEIGHBOUR: Final[Mapping[Isolation, Sequence[str]]] = {
    Isolation.SCHEMA: (
        "SELECT FROM %1$s.tenantry_trial", "SELECT FROM %2$s.schema_version",
        "SET ROLE %1$s_owner", "SET ROLE %1$s_app", "SET ROLE %1$s_ro", "SET ROLE %1$s_migrator",
    ),
    Isolation.DATABASE: (
        "SET ROLE %1$s_owner", "SET ROLE %1$s_app", "SET ROLE %1$s_ro", "SET ROLE %1$s_migrator",
        "SET ROLE %1$s_login_a", "SET ROLE %1$s_login_b",
    ),
    Isolation.POOLED: (
        "SET ROLE %1$s_owner", "SET ROLE %1$s_login_a", "SET ROLE %1$s_login_b",
        "SELECT 1 / count(tenantry.tenant_of('%1$s_login_a'))", "SELECT 1 / count(tenantry.tenant_of('%1$s_login_b'))",
    ),
}  # fmt: skip
"""What is tried of the neighbour, by its schema's name and its services'. A count of nothing refuses by itself."""

IN_POOL: Final = f"""
SELECT format(query, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN unnest(ARRAY['SET LOCAL row_security TO off; SELECT FROM {POOL_SCHEMA}.%1$I LIMIT 1',
    'SELECT 1 / count(*) FROM (SELECT FROM {POOL_SCHEMA}.%1$I'
    ' WHERE tenant_id IS DISTINCT FROM (SELECT {DIRECTORY_SCHEMA}.tenant_of(session_user)) LIMIT 1) others']) AS query
WHERE n.nspname = '{POOL_SCHEMA}' AND c.relkind IN ('r', 'p')
"""  # noqa: S608  # names of our own
"""With row security off, a query that it would divide is refused; one that it does not divide is answered."""

BESIDE_POOL: Final = f"""
SELECT format('SELECT FROM %I.tenantry_trial', nspname) FROM pg_namespace
WHERE nspname IN ('{POOL_SCHEMA}', '{DIRECTORY_SCHEMA}')
"""  # noqa: S608  # names of our own

REFUSED_FOR_IT: Final = "password authentication failed"
"""What a server says of the password itself. No SQLSTATE comes with it."""

TRIAL: Final = """BEGIN READ ONLY; SET LOCAL search_path TO pg_catalog;
SET LOCAL lock_timeout TO '1s'; SET LOCAL statement_timeout TO '5s'; SET LOCAL client_min_messages TO error;
DO $trial$
DECLARE
    mine CONSTANT text := {schema};
    -- The next one in a ring, so that every tenant is the other of one.
    other CONSTANT text := (
        SELECT name FROM ({neighbours}) AS n WHERE name <> mine ORDER BY name > mine DESC, name LIMIT 1);
    tried text[] := {tried}::text[] || ARRAY({listed})::text[];
    reached text[] := '{{}}';
    who text;
    one text;
BEGIN
    IF other IS NOT NULL THEN
        FOREACH one IN ARRAY {of_neighbour}::text[] LOOP
            tried := tried || format(one, other, 's' || substr(other, 2));
        END LOOP;
    END IF;
    FOREACH who IN ARRAY {whos} LOOP
        EXECUTE format('SET LOCAL ROLE %I', who);
        FOREACH one IN ARRAY tried LOOP
            BEGIN
                EXECUTE one;
                RAISE EXCEPTION USING ERRCODE = 'TN001';
            EXCEPTION
                -- To learn that there is no such table takes the right to look into its schema.
                WHEN SQLSTATE 'TN001' OR undefined_table THEN reached := reached || (who || ': ' || one);
                WHEN OTHERS THEN NULL;
            END;
        END LOOP;
    END LOOP;
    SET LOCAL ROLE NONE;
    PERFORM set_config('tenantry.reached', reached::text, true);
    PERFORM set_config('tenantry.other', coalesce(other, ''), true);
END
$trial$;
SELECT current_setting('tenantry.reached')::text[] || ARRAY(
    SELECT w.who || ': ' || p.may FROM unnest({whos}) AS w(who) CROSS JOIN LATERAL (
        SELECT p.word || ' in database ' || d.datname FROM pg_database d
        CROSS JOIN (VALUES ('CREATE'), ('TEMPORARY'), ('CONNECT')) AS p(word)
        WHERE (d.datname = current_database() AND p.word <> 'CONNECT'
                OR d.datname <> current_database() AND d.datname = ANY ({closed}::name[]))
            AND has_database_privilege(w.who, d.oid, p.word)
        UNION ALL
        SELECT 'CREATE in schema ' || n.nspname FROM pg_namespace n
        WHERE (n.nspname = ANY ({foreign}::name[]) OR n.nspname = current_setting('tenantry.other'))
            AND has_schema_privilege(w.who, n.oid, 'CREATE')
    ) AS p(may)), current_setting('tenantry.other');
ROLLBACK"""
"""What a transaction that may only read refuses to everybody is asked of the catalogue instead. No function and no
operator that the tenant made has a say in the verdict."""


def attempts(layout: Layout) -> list[str]:
    """Return what is tried whoever the neighbour is; each must be refused for want of a right."""
    names = layout.names
    pool_roles = [role for role in POOL_ROLES.values() if role != OWNER]
    if layout.is_pooled:
        # Of its own it has no schema, and the marker's role is nobody's to become.
        own = [f"SELECT FROM {DIRECTORY_SCHEMA}.{DIRECTORY_TABLE}", f"SELECT {DIRECTORY_SCHEMA}.chosen_tenant()"]
        roles = [names.owner, *(role for role in pool_roles if role != POOL_CUSTOMERS)]
    else:
        own = [f"SELECT FROM {names.service_schema}.schema_version"]
        roles = [*(names.service_role(service) for service in SERVICES), *pool_roles]
    if layout.own_database:
        roles.append(TENANTS)
    return [
        *own,
        *(f"SET ROLE {role}" for role in (*roles, OWNER, *map(service_login, SERVICES), *POWERS)),
        "SELECT FROM pg_catalog.pg_authid",
        "SELECT FROM pg_catalog.pg_largeobject",
        "SELECT pg_catalog.pg_read_file('PG_VERSION')",
    ]


def closed_schemas(layout: Layout) -> list[str]:
    """Name the schemas in which the tenant's roles make nothing."""
    own = [] if layout.is_pooled else [layout.names.service_schema]
    return ["public", "extensions", *own, POOL_SCHEMA, DIRECTORY_SCHEMA]


def closed_databases(layout: Layout, *, shared: str, registry: str) -> list[str]:
    """Name the databases in which the tenant's roles may do nothing; `shared` is the server's for all tenants."""
    return [registry, shared] if layout.own_database else [registry]


async def try_log_in(
    servers: Servers, address: ServerAddress, layout: Layout, *, login: str, password: str, registry: str
) -> Trial:
    """Log in with the password of a Secret and try. Raises nothing that is expected.

    Who logs in, and where, is never for a Secret to say: tenants may write theirs. The tenant's own limit of
    connections counts this one too, for as long as the trial takes.
    """
    who = replace(address, user=login, password=password, database=layout.database)
    reached: list[str] = []
    try:
        async with servers.visit(address, who) as connection:
            found, other = await _tried(connection, layout, shared=address.database, registry=registry)
        reached += found
        if layout.own_database:
            for database in (address.database, *([other] if other else [])):
                if await _lets_in(servers, address, replace(who, database=database)):
                    reached.append(f"CONNECT to database {database}")
    except DatabaseError as error:
        if not reached:
            said, refused = error.failure.message, error.failure.kind is FailureKind.AUTH
            return Trial(problem=said, refused=refused, wrong_password=refused and REFUSED_FOR_IT in said)
    except psycopg.Error as error:
        return Trial(problem=classify(error).message)
    return Trial(reached=tuple(sorted(reached)))


async def _lets_in(servers: Servers, address: ServerAddress, who: ServerAddress) -> bool:
    """Whether a login that its own database let in is let into this one, too. Raises DatabaseError."""
    try:
        async with servers.visit(address, who):
            return True
    except (ConnectionRefused, AuthenticationFailed, DatabaseMissing):
        return False


async def _tried(
    connection: AsyncConnection[Any], layout: Layout, *, shared: str, registry: str
) -> tuple[Sequence[str], str]:
    """Return what was not refused, and the neighbour of which it was tried, or ""."""
    names, isolation = layout.names, layout.isolation
    # A pooled tenant's login is no member of the role that bears its marker.
    whos = "ARRAY[session_user::text]" if layout.is_pooled else "ARRAY[session_user::text, {owner}]"
    statement = sql.SQL(TRIAL).format(
        schema=sql.Literal(names.schema),
        neighbours=sql.SQL(NEIGHBOURS[isolation]),
        tried=sql.Literal(attempts(layout)),
        listed=sql.SQL(IN_POOL if layout.is_pooled else BESIDE_POOL),
        of_neighbour=sql.Literal(list(OF_NEIGHBOUR[isolation])),
        whos=sql.SQL(whos).format(owner=sql.Literal(names.owner)),
        closed=sql.Literal(closed_databases(layout, shared=shared, registry=registry)),
        foreign=sql.Literal(closed_schemas(layout)),
    )
    cursor = await connection.execute(statement)
    found: tuple[Sequence[str], str] = ((), "")
    while True:
        if cursor.description is not None:
            row = await cursor.fetchone()
            found = (row[0], row[1]) if row is not None else ((), "")
        if not cursor.nextset():
            return found
