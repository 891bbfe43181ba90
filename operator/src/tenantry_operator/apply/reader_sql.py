"""The statements by which the read-only role reads what is there already, or nothing."""

from collections.abc import Iterator
from typing import Final

from psycopg import sql

from tenantry_operator.plan import reader_actions as do

Statement = sql.SQL | sql.Composed

EACH: Final = """DO $each$
DECLARE
    one name;
BEGIN
    FOR one IN
        SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            AND pg_catalog.pg_get_userbyid(c.relowner) = {owner}
    LOOP
        EXECUTE pg_catalog.format({statement}, {schema}, one, {role});
    END LOOP;
END $each$"""
"""Of what the owner has, and not of ALL TABLES: one of somebody else's would fail it all."""


def reader_statements(action: do.GrantReads | do.RevokeReads | do.CloseReader) -> Iterator[Statement]:
    """Yield the statements; one must be a member of the owner to run them."""
    if isinstance(action, do.GrantReads):
        yield _each(action, "GRANT SELECT ON TABLE %I.%I TO %I")
        return
    if isinstance(action, do.CloseReader):
        schema, role = sql.Identifier(action.schema), sql.Identifier(action.role)
        yield sql.SQL("REVOKE ALL ON SCHEMA {} FROM {} CASCADE").format(schema, role)
    yield _each(action, "REVOKE ALL ON TABLE %I.%I FROM %I CASCADE")


def _each(action: do.GrantReads | do.RevokeReads | do.CloseReader, statement: str) -> Statement:
    return sql.SQL(EACH).format(
        schema=sql.Literal(action.schema),
        owner=sql.Literal(action.owner),
        role=sql.Literal(action.role),
        statement=sql.Literal(statement),
    )
