"""Ways to a Postgres server as its administrator, and from there to be the operator's login."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import conninfo, sql

from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.clients.sqlstate import AuthenticationFailed, classify, connect_error

APPLICATION_NAME: Final = "tenantry-cli"

Connection = psycopg.Connection[Any]

MEMBER: Final = """
SELECT pg_has_role(current_user, oid, <right>)
FROM pg_roles WHERE rolname = %(role)s
"""


def database_url(url: str, database: str) -> str:
    """Return what reaches another database of the same server. Raises CommandFailed."""
    try:
        return conninfo.make_conninfo(url, dbname=database)
    except psycopg.ProgrammingError as error:
        raise CommandFailed(f"the URL is none of Postgres: {error}") from error


@contextmanager
def session(url: str, database: str | None = None) -> Iterator[Connection]:
    """Connect in autocommit mode. Raises CommandFailed, also for what Postgres refuses meanwhile."""
    where = f"database {database}" if database else "the server"
    try:
        connection = _connect(database_url(url, database) if database else url)
    except psycopg.Error as error:
        raise CommandFailed(str(connect_error(error, where=where))) from error
    try:
        with connection:
            yield connection
    except psycopg.Error as error:
        raise CommandFailed(f"{where} refused: {classify(error).message}") from error


def _connect(url: str) -> Connection:
    # Functions and operators that somebody left in `public` would be run as an administrator.
    return psycopg.connect(
        url, autocommit=True, application_name=APPLICATION_NAME, connect_timeout=10, options="-c search_path=pg_catalog"
    )


def is_let_in(url: str, user: str, password: str) -> bool:
    """Whether the server takes this password of this user; not where it lets everybody in without asking for one."""
    try:
        with _connect(conninfo.make_conninfo(url, user=user, password=password)) as connection:
            return bool(connection.pgconn.used_password)
    except psycopg.Error as error:
        if isinstance(failure := connect_error(error, where="the server"), AuthenticationFailed):
            return False
        raise CommandFailed(str(failure)) from error


@contextmanager
def may_become(connection: Connection, role: str) -> Iterator[bool]:
    """Be a member of the role meanwhile, if we are not one anyway; yield whether there is such a role.

    Who made a role may give it to himself: since Postgres 16 by the membership that its maker keeps.
    """
    right = "'SET'" if connection.info.server_version >= 160000 else "'MEMBER'"
    # The text is one of the two above.
    row = connection.execute(sql.SQL(MEMBER.replace("<right>", right)), {"role": role}).fetchone()
    if row is None or row[0]:
        yield row is not None
        return
    connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
    try:
        yield True
    finally:
        if not connection.closed:
            connection.execute("RESET ROLE")
            connection.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(sql.Identifier(role)))
