"""Turns a step into what psycopg sends, for one schema and its roles."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from psycopg import sql

from tenantry_migrations.errors import MigrationError
from tenantry_migrations.history import Step

VERSION_TABLE: Final = "schema_version"
"""One row, one column: the revision that a schema is at. It is the truth; every other mention is a copy."""

_PLACEHOLDER = re.compile(r"\{(schema|role:[a-z][a-z0-9_]*)\}")


def render(step: Step, *, roles: Mapping[str, str], schema: str) -> sql.Composed:
    """Render the step as one string of several statements, which ends with the write of the version table.

    Run it inside a transaction of the caller's, after SET LOCAL ROLE to the owner and SET LOCAL search_path to the
    schema. It fails with nothing done when the schema is not at the step's previous revision. `roles` has the role's
    name for each service; a service that lacks one raises MigrationError. In pipeline mode use `render_each`.
    """
    return sql.SQL(";\n").join(render_each(step, roles=roles, schema=schema))


def render_each(step: Step, *, roles: Mapping[str, str], schema: str) -> tuple[sql.SQL | sql.Composed, ...]:
    """Render the step as statements to be sent one at a time, in order."""
    statements = [fill(statement, roles=roles, schema=schema) for statement in step.statements]
    guard, write = _version_statements(step, sql.Identifier(schema, VERSION_TABLE))
    return (guard, *statements, write)


def version_query(schema: str) -> sql.Composed:
    """Select the schema's revision: one row, one column. UndefinedTable means that no step has run yet."""
    return sql.SQL("SELECT version FROM {}").format(sql.Identifier(schema, VERSION_TABLE))


def _version_statements(step: Step, table: sql.Identifier) -> tuple[sql.Composed, sql.Composed]:
    """Return a guard that fails unless the schema is at the previous revision, and the write of the new one."""
    if step.previous is None:
        # Creating the table is the guard: it fails where a step has run already.
        create = sql.SQL("CREATE TABLE {} (version text NOT NULL)").format(table)
        return create, sql.SQL("INSERT INTO {} VALUES ({})").format(table, sql.Literal(step.revision))
    # The cast of the words to a number fails, and says them.
    wrong = sql.Literal(f"{step.revision} follows {step.previous}, but the schema is at ")
    guard = sql.SQL(
        "SELECT CASE WHEN version = {previous} THEN 0 ELSE ({wrong} || coalesce(version, 'nothing'))::integer END"
        " FROM (SELECT (SELECT version FROM {table} FOR UPDATE) AS version) AS found"
    ).format(previous=sql.Literal(step.previous), wrong=wrong, table=table)
    return guard, sql.SQL("UPDATE {} SET version = {}").format(table, sql.Literal(step.revision))


def fill(statement: str, *, roles: Mapping[str, str], schema: str) -> sql.SQL:
    """Put the names into a statement of a step. Raises MigrationError for a service without a role."""

    def name(found: re.Match[str]) -> str:
        return _quoted(schema if found[1] == "schema" else _role(found[1].removeprefix("role:"), roles))

    # Text of our own scripts, never anyone's input.
    return sql.SQL(_PLACEHOLDER.sub(name, statement))


@lru_cache(maxsize=64)
def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


def _role(service: str, roles: Mapping[str, str]) -> str:
    try:
        return roles[service]
    except KeyError:
        raise MigrationError(f"no role is given for the service {service}") from None
