"""The database in which a backup is restored for a trial, and nothing else ever."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import psycopg
from psycopg import sql

from tenantry_operator.backup.orders import BackupError
from tenantry_operator.backup.servers import Connection, Reach, Say
from tenantry_operator.model.extensions import EXTENSIONS as PLACE

FOUND: Final = """
SELECT shobj_description(d.oid, 'pg_database'), pg_get_userbyid(d.datdba) = current_user
FROM pg_database d WHERE d.datname = %s
"""
OURS: Final = "SELECT NOT rolcreatedb FROM pg_roles WHERE rolname = current_user"
SOURCE: Final = "SELECT to_jsonb(d), pg_encoding_to_char(d.encoding) FROM pg_database d WHERE datname = %s"
EXTENSIONS: Final = """
SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql' ORDER BY e.oid
"""
TRUSTED: Final = "SELECT bool_or(trusted) FROM pg_available_extension_versions WHERE name = %s"
PLACES: Final = frozenset({PLACE, "public"})
NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""As spec.database.extensions takes it."""
USED: Final = "SELECT count(*) FROM pg_class WHERE relnamespace >= 16384 OR oid >= 16384"


def scratch_name(uid: str) -> str:
    return f"tenantry_scratch_{sha256(uid.encode()).hexdigest()[:12]}"


def scratch_mark(uid: str, installation: str) -> str:
    """Return the comment that a database bears which may be dropped."""
    return json.dumps({"scratch": uid, "operator": installation})


@contextmanager
def scratch_database(
    reach: Reach, connection: Connection, *, like: str, name: str, mark: str, say: Say,
    extensions: Iterable[tuple[str, str]] | None = None,
) -> Iterator[str]:  # fmt: skip
    """Make an empty database like another one, and drop it at the end; what a killed attempt left is dropped before.

    Without `extensions` it gets those of the other one. Raises BackupError.
    """
    _remove(reach, connection, name, mark)
    _make(connection, name, mark, like=like)
    say(f"made the database {name} for the trial")
    try:
        with reach.session(like) as source, reach.session(name) as fresh:
            if extensions is None:
                extend(fresh, extensions_of(source), untrusted=True)
            else:
                extend(fresh, extensions)
        yield name
    finally:
        if not connection.closed:
            _remove(reach, connection, name, mark)


def _make(connection: Connection, name: str, mark: str, *, like: str) -> None:
    lacking = connection.execute(OURS).fetchone()
    if lacking is None or lacking[0]:
        raise BackupError("the operator's login has no CREATEDB, which the test restore needs: ALTER ROLE … CREATEDB")
    options = alike(connection, like)
    connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(sql.Identifier(name), options))
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(mark)))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def alike(connection: Connection, like: str) -> sql.Composed:
    """Return the options that make a database as another one is. Raises BackupError."""
    row = connection.execute(SOURCE, (like,)).fetchone()
    if row is None:
        raise BackupError(f"there is no database {like}")
    return sql.SQL(" ").join(_options(*row))


def _options(source: dict[str, Any], encoding: str) -> Iterator[sql.Composed]:
    """Say how the new one sorts and writes: as its source, whose comparisons a constraint may rely on."""
    yield sql.SQL("ENCODING {}").format(sql.Literal(encoding))
    yield sql.SQL("LC_COLLATE {} LC_CTYPE {}").format(
        sql.Literal(source["datcollate"]), sql.Literal(source["datctype"])
    )
    locale = source.get("datlocale") or source.get("daticulocale")
    if source.get("datlocprovider") == "i":
        yield sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(locale))
    elif source.get("datlocprovider") == "b":
        yield sql.SQL("LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(sql.Literal(locale))


def extensions_of(source: Connection) -> tuple[tuple[str, str], ...]:
    """Name the extensions of the database, each with its schema, in the order in which they were made."""
    return tuple((str(name), str(schema)) for name, schema in source.execute(EXTENSIONS).fetchall())


def may_be_asked_for(extension: str, schema: str) -> bool:
    """Whether a Tenant may have asked for it, and where it is nothing else is let in with it."""
    return NAME.fullmatch(extension) is not None and schema in PLACES


def extend(fresh: Connection, extensions: Iterable[tuple[str, str]], *, untrusted: bool = False) -> None:
    """Make the extensions that the source has; with `untrusted` also what no Tenant gets, if the server lets us.

    One that is not ours to make is missed by the restore, if at all.
    """
    for extension, schema in extensions:
        if not untrusted and fresh.execute(TRUSTED, (extension,)).fetchone() != (True,):
            continue
        try:
            with fresh.transaction():
                fresh.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
                make = sql.SQL("CREATE EXTENSION {} SCHEMA {}")
                fresh.execute(make.format(sql.Identifier(extension), sql.Identifier(schema)))
                fresh.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(sql.Identifier(schema)))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile, psycopg.errors.DuplicateObject):
            continue


def _remove(reach: Reach, connection: Connection, name: str, mark: str) -> None:
    """Drop the database if it bears our mark; an empty one of ours without any was being made. Raises BackupError."""
    row = connection.execute(FOUND, (name,)).fetchone()
    if row is None:
        return
    comment, owned = row
    if comment != mark and not (comment is None and owned and _is_empty(reach, name)):
        raise BackupError(
            f"database {name} exists and does not bear the mark of this trial; it is left alone: remove it"
        )
    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _is_empty(reach: Reach, name: str) -> bool:
    with reach.session(name) as there:
        row = there.execute(USED).fetchone()
    return row is not None and row[0] == 0
