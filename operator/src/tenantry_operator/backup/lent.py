"""The login by which a customer's part of a backup is restored."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from psycopg import sql

from tenantry_operator.backup.servers import Connection, Reach

MOST: Final = timedelta(days=7)
"""After which one that nobody dropped lets nobody in."""
SESSIONS: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
THERE: Final = "SELECT 1 FROM pg_roles WHERE rolname = %s"


def lent_name(database: str, role: str) -> str:
    return f"tenantry_lent_{sha256(f'{database}/{role}'.encode()).hexdigest()[:12]}"


@contextmanager
def lent_login(reach: Reach, *, database: str, role: str) -> Iterator[Mapping[str, str]]:
    """Make a login that may become `role`, in this database and in none else; yield the environment that uses it.

    What a customer defined runs while its rows are restored: a check, a domain, the key of a partition. In a session
    of the operator's it could reset its role, and be the operator. One that a killed attempt left is dropped before.
    """
    name, password = lent_name(database, role), secrets.token_urlsafe(32)
    with reach.session(database) as connection:
        _remove(connection, name, database)
        encrypted = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        until = (datetime.now(UTC) + MOST).isoformat()
        with connection.transaction():
            make = sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {} VALID UNTIL {}")
            connection.execute(make.format(sql.Identifier(name), sql.Literal(encrypted), sql.Literal(until)))
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name)))
            let_in = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
            connection.execute(let_in.format(sql.Identifier(database), sql.Identifier(name)))
        try:
            yield {**reach.environment(database), "PGUSER": name, "PGPASSWORD": password}
        finally:
            if not connection.closed:
                _remove(connection, name, database)


def _remove(connection: Connection, name: str, database: str) -> None:
    if connection.execute(THERE, (name,)).fetchone() is None:
        return
    role = sql.Identifier(name)
    with connection.transaction():
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(sql.Identifier(database), role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))
    connection.execute(SESSIONS, (name,))
