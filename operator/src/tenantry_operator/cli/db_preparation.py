"""What an administrator does on a Postgres server before a DatabaseServer can name it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from psycopg import sql

from tenantry_operator.cli.db_access import Connection, may_become
from tenantry_operator.cli.failure import CommandFailed

Statement = sql.SQL | sql.Composed

OPERATOR_ROLE: Final = "tenantry_operator"
TENANTS_DATABASE: Final = "app"
REGISTRY_DATABASE: Final = "tenantry"
OLDEST: Final = 150000

FACTS: Final = """
SELECT current_user, me.rolsuper, me.rolcreaterole, me.rolcreatedb, r.rolname IS NOT NULL,
    coalesce(r.rolsuper, false), array_remove(ARRAY[CASE WHEN NOT r.rolcanlogin THEN 'LOGIN' END,
        CASE WHEN NOT r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN NOT r.rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN NOT r.rolinherit THEN 'INHERIT' END], NULL),
    coalesce(pg_has_role(r.oid, 'pg_signal_backend', 'USAGE'), false)
FROM pg_roles me LEFT JOIN pg_roles r ON r.rolname = %s WHERE me.rolname = current_user
"""
OWNERS: Final = "SELECT datname::text, pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = ANY (%s)"


@dataclass(frozen=True)
class Wanted:
    role: str = OPERATOR_ROLE
    databases: tuple[str, ...] = (TENANTS_DATABASE, REGISTRY_DATABASE)
    take_ownership: bool = False
    """Whether a database of somebody else's becomes the role's."""


@dataclass(frozen=True)
class Standing:
    """What is there already."""

    me: str
    version: int
    superuser: bool
    may_prepare: bool
    role_exists: bool
    role_is_superuser: bool
    lacking: tuple[str, ...]
    """Attributes of the role, if it exists."""
    may_end_sessions: bool
    owners: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """One thing that must be so, and the statement that makes it so; None where it is."""

    what: str
    statement: Statement | None = None
    shown: Statement | None = field(default=None)
    """What is printed of a statement with a secret."""


def look(connection: Connection, wanted: Wanted) -> Standing:
    """Read what is there."""
    row = connection.execute(FACTS, (wanted.role,)).fetchone()
    if row is None:
        raise CommandFailed("the login that we came with is not in the catalogue")
    me, superuser, createrole, createdb, exists, role_is_superuser, lacking, signals = row
    owners = dict(connection.execute(OWNERS, ([*wanted.databases],)).fetchall())
    return Standing(
        me,
        connection.info.server_version,
        superuser=superuser,
        may_prepare=superuser or (createrole and createdb),
        role_exists=exists,
        role_is_superuser=role_is_superuser,
        lacking=tuple(lacking) if exists else (),
        may_end_sessions=signals,
        owners=owners,
    )


def refuse(standing: Standing, wanted: Wanted) -> None:
    """Raise CommandFailed for a server that is not to be made ready, or not by this login."""
    if standing.version < OLDEST:
        raise CommandFailed(f"the server is Postgres {standing.version // 10000}; 15 is the oldest that can be used")
    if standing.me == wanted.role:
        raise CommandFailed(f"ADMIN_URL logs in as {wanted.role} itself; it must be an administrator's")
    if standing.role_is_superuser:
        raise CommandFailed(
            f"role {wanted.role} is a superuser, whom nothing would stop; name another: --operator-role"
        )
    if not standing.may_prepare:
        raise CommandFailed(
            f"{standing.me} is no superuser and lacks CREATEROLE or CREATEDB: log in as one who has both"
        )
    others = [f"{name} ({owner}'s)" for name, owner in standing.owners.items() if owner != wanted.role]
    if others and not wanted.take_ownership:
        raise CommandFailed(
            f"there are databases that are somebody else's: {', '.join(sorted(others))}. Name others (--database, "
            f"--registry), or give them to {wanted.role}: --take-ownership"
        )


def steps(standing: Standing, wanted: Wanted, *, verifier: str | None) -> Iterator[Step]:
    """Say what must be so. `verifier` is what Postgres shall store of the password; None leaves it as it is."""
    role = sql.Identifier(wanted.role)
    yield _role_step(standing, wanted, verifier)
    if standing.role_exists:
        yield _password_step(role, verifier)
    grant = sql.SQL("GRANT pg_signal_backend TO {}").format(role)
    yield Step("it may end sessions of tenants", None if standing.may_end_sessions else grant)
    for name in wanted.databases:
        yield _database_step(standing, wanted, name)


def _role_step(standing: Standing, wanted: Wanted, verifier: str | None) -> Step:
    role = sql.Identifier(wanted.role)
    what = f"role {wanted.role} may log in, and make roles and databases"
    if not standing.role_exists:
        make = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}")
        return Step(what, make.format(role, sql.Literal(verifier)), make.format(role, sql.Literal("…")))
    if not standing.lacking:
        return Step(what)
    # They are words of the query above.
    attributes = sql.SQL(" ").join(map(_word, standing.lacking))
    return Step(what, sql.SQL("ALTER ROLE {} {}").format(role, attributes))


def _password_step(role: sql.Identifier, verifier: str | None) -> Step:
    if verifier is None:
        return Step("its password")
    text = sql.SQL("ALTER ROLE {} PASSWORD {}")
    return Step("its password", text.format(role, sql.Literal(verifier)), text.format(role, sql.Literal("…")))


def _database_step(standing: Standing, wanted: Wanted, name: str) -> Step:
    database, role = sql.Identifier(name), sql.Identifier(wanted.role)
    what, owner = f"database {name} is {wanted.role}'s", standing.owners.get(name)
    if owner is None:
        return Step(what, sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
    change = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role)
    return Step(what, None if owner == wanted.role else change)


def do(connection: Connection, step: Step, role: str) -> None:
    """Do one step. Only who is a member of a role may give it something to own. Raises psycopg.Error."""
    if step.statement is not None:
        with may_become(connection, role):
            connection.execute(step.statement)


def prepare(connection: Connection, wanted: Wanted, *, verifier: str | None) -> Sequence[Step]:
    """Make it all so; return every step. Raises CommandFailed, psycopg.Error."""
    standing = look(connection, wanted)
    refuse(standing, wanted)
    every = [*steps(standing, wanted, verifier=verifier)]
    for step in every:
        do(connection, step, wanted.role)
    return every


def verifier_of(connection: Connection, role: str, password: str) -> str:
    """Return what Postgres stores of a password, so that the password itself is in no statement and no log."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _word(text: str) -> sql.SQL:
    return sql.SQL(text)
