"""The statements about extensions."""

from collections.abc import Iterator
from typing import Final

from psycopg import sql

from tenantry_operator.model.extensions import MADE_BY_US
from tenantry_operator.model.tenant import PUBLIC
from tenantry_operator.plan import extension_actions as do

Statement = sql.SQL | sql.Composed

IN_TURN: Final = sql.SQL("SELECT pg_advisory_xact_lock(hashtextextended('tenantry extensions', 0))")
"""Two sessions that make the same one at once would fail each other."""


def extension_statements(action: do.ExtensionAction) -> Iterator[Statement]:
    yield IN_TURN
    match action:
        case do.GuardExtensions(schema=schema, owner=owner, writers=writers):
            place, heir = sql.Identifier(schema), sql.Identifier(owner)
            yield sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(place, heir)
            for writer in writers:
                who = sql.SQL(PUBLIC) if writer == PUBLIC else sql.Identifier(writer)
                yield sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {} CASCADE").format(place, who)
            yield sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(place)
        case do.CreateExtension(extension=extension, schema=schema):
            yield sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(
                sql.Identifier(extension), sql.Identifier(schema)
            )
            yield sql.SQL("COMMENT ON EXTENSION {} IS {}").format(sql.Identifier(extension), sql.Literal(MADE_BY_US))
        case do.DropExtension(extension=extension):
            yield sql.SQL("DROP EXTENSION IF EXISTS {} RESTRICT").format(sql.Identifier(extension))
        case do.DropExtensionsSchema(schema=schema):
            yield sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(sql.Identifier(schema))
