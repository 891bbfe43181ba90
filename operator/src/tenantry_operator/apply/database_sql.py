"""The statements of actions on a database as a whole, and what cannot be done in a transaction."""

import json
from collections.abc import Iterator
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection, sql

from tenantry_operator.model.tenant import CUT_SHORT, PUBLIC, Grant
from tenantry_operator.plan import database_actions as do

Statement = sql.SQL | sql.Composed

ALIKE: Final = """
SELECT to_jsonb(d) || jsonb_build_object('encoding_name', pg_encoding_to_char(d.encoding))
FROM pg_database d WHERE d.datname = current_database()
"""
PROVIDERS: Final = {"c": "libc", "i": "icu", "b": "builtin"}


def database_statements(action: do.DatabaseAction) -> Iterator[Statement]:
    """Yield what is done in a transaction. Raises TypeError for what cannot be."""
    match action:
        case do.OwnDatabase(database=database, owner=owner):
            yield sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), sql.Identifier(owner))
        case do.MarkDatabase(database=database, marker=marker):
            yield sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(marker.text()))
        case do.GrantOnDatabase(grant=g):
            yield _on_database("GRANT {} ON DATABASE {} TO {}", g)
        case do.RevokeOnDatabase(grant=g):
            yield _on_database("REVOKE {} ON DATABASE {} FROM {} CASCADE", g)
        case do.AlterDatabase(database=database):
            yield sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true IS_TEMPLATE false CONNECTION LIMIT -1").format(
                sql.Identifier(database)
            )
        case _:
            raise TypeError(f"no transaction for {type(action).__name__}")


async def is_cut_short(connection: AsyncConnection[Any], action: do.DropDatabase) -> bool:
    """Whether an earlier DROP did not come to its end: it is shut, and to alter it ends the session (tried on 15)."""
    query = "SELECT FROM pg_database WHERE datname = %s AND datconnlimit = %s"
    return bool((await connection.execute(query, (action.database, CUT_SHORT))).rowcount)


def closing_statement(action: do.DropDatabase) -> Statement:
    """Let nobody in any more who could keep the database from being dropped."""
    return sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false IS_TEMPLATE false").format(
        sql.Identifier(action.database)
    )


def dropping_statement(action: do.DropDatabase) -> Statement:
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(action.database))


async def making_statement(connection: AsyncConnection[Any], action: do.MakeDatabase) -> Statement:
    """Make it of template0, which is empty for sure, with the encoding and the order of the database we are in."""
    cursor = await connection.execute(ALIKE)
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the database that we are in is not in the catalogue")
    like = row[0] if isinstance(row[0], dict) else json.loads(row[0])
    provider = like.get("datlocprovider", "c")
    options: dict[LiteralString, object] = {
        "ENCODING": like["encoding_name"],
        "LC_COLLATE": like["datcollate"],
        "LC_CTYPE": like["datctype"],
        "LOCALE_PROVIDER": PROVIDERS[provider],
    }
    # The column has another name since Postgres 17.
    locale = like.get("datlocale") or like.get("daticulocale")
    if provider == "i":
        options["ICU_LOCALE"] = locale
    if provider == "b":
        options["BUILTIN_LOCALE"] = locale
    words = [sql.SQL("{} = {}").format(sql.SQL(name), sql.Literal(value)) for name, value in options.items()]
    return sql.SQL("CREATE DATABASE {} OWNER = {} TEMPLATE = template0 ALLOW_CONNECTIONS = false {}").format(
        sql.Identifier(action.database), sql.Identifier(action.owner), sql.SQL(" ").join(words)
    )


def _on_database(text: LiteralString, grant: Grant) -> Statement:
    grantee = sql.SQL(PUBLIC) if grant.grantee == PUBLIC else sql.Identifier(grant.grantee)
    return sql.SQL(text).format(sql.SQL(grant.privilege), sql.Identifier(grant.on), grantee)
