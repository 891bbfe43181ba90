"""What an error of Postgres means for us: whether waiting may cure it, and what to tell a person."""

import re
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from tenantry_operator.backup.sayings import LIMIT, message_of


class FailureKind(StrEnum):
    TRANSIENT = "transient"
    """The same may succeed later without anybody changing anything."""
    UNREACHABLE = "unreachable"
    """No conversation with the server; it may come back."""
    AUTH = "auth"
    """The server refuses these credentials."""
    TLS = "tls"
    """The server's identity could not be proven, or it speaks no TLS."""
    MISSING = "missing"
    """Something that must exist does not: a database, a schema, a role, a table."""
    PRIVILEGE = "privilege"
    """The operator's login may not do this."""
    PERMANENT = "permanent"
    """Anything else: the statement will fail again."""


@dataclass(frozen=True)
class Failure:
    """``reason`` is a CamelCase word for a condition; ``message`` is one sentence for a person.

    It holds no secret, and of what the server said no value of a row.
    """

    kind: FailureKind
    reason: str
    message: str
    sqlstate: str | None = None

    @property
    def transient(self) -> bool:
        return self.kind in (FailureKind.TRANSIENT, FailureKind.UNREACHABLE)


class DatabaseError(Exception):
    """A connection could not be had. ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ServerUnreachable(DatabaseError):
    """No answer at the address, or the server is starting, stopping or full."""


class AuthenticationFailed(DatabaseError):
    """The server refuses the login."""


class TlsFailed(DatabaseError):
    """TLS was asked for and could not be had."""


class DatabaseMissing(DatabaseError):
    """The server answers, and has no such database."""


class ConnectionRefused(DatabaseError):
    """The server answers and refuses for another reason."""


_Rule = tuple[FailureKind, str]

# Longest prefix wins: a whole SQLSTATE, then its class.
_BY_STATE: dict[str, _Rule] = {
    "08": (FailureKind.UNREACHABLE, "NotReachable"),
    "57P": (FailureKind.UNREACHABLE, "NotReachable"),
    "57014": (FailureKind.TRANSIENT, "TimedOut"),
    "25006": (FailureKind.TRANSIENT, "ReadOnly"),
    "25P": (FailureKind.TRANSIENT, "TimedOut"),
    "40": (FailureKind.TRANSIENT, "Conflict"),
    "55P03": (FailureKind.TRANSIENT, "LockTimeout"),
    "55006": (FailureKind.TRANSIENT, "InUse"),
    "53300": (FailureKind.TRANSIENT, "TooManyConnections"),
    "53": (FailureKind.TRANSIENT, "OutOfResources"),
    "58": (FailureKind.TRANSIENT, "SystemError"),
    # Somebody made or dropped the same thing meanwhile; the next look sees it.
    "23505": (FailureKind.TRANSIENT, "Conflict"),
    "42710": (FailureKind.TRANSIENT, "Conflict"),
    "42P04": (FailureKind.TRANSIENT, "Conflict"),
    "42P06": (FailureKind.TRANSIENT, "Conflict"),
    "42P07": (FailureKind.TRANSIENT, "Conflict"),
    "2BP01": (FailureKind.PERMANENT, "ObjectsLeft"),
    "28": (FailureKind.AUTH, "AuthenticationFailed"),
    "42501": (FailureKind.PRIVILEGE, "PrivilegesMissing"),
    "3D000": (FailureKind.MISSING, "DatabaseMissing"),
    "3F000": (FailureKind.MISSING, "SchemaMissing"),
    "42704": (FailureKind.MISSING, "ObjectMissing"),
    "42P01": (FailureKind.MISSING, "TableMissing"),
}

# A failed attempt to connect carries no SQLSTATE, only libpq's and the server's words.
_BY_WORDS: tuple[tuple[re.Pattern[str], FailureKind, str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, reason, message)
    for pattern, kind, reason, message in (
        (r"password authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" does not exist"
         r"|is not permitted to log in|authentication failed",
         FailureKind.AUTH, "AuthenticationFailed", "the server refuses the operator's login"),
        (r"is not currently accepting connections|permission denied for database",
         FailureKind.PERMANENT, "ConnectionRefused", "the database takes no connections from us"),
        (r"cannot connect to invalid database",
         FailureKind.PERMANENT, "ConnectionRefused", "a DROP DATABASE of it was cut short"),
        (r"database \".*\" does not exist", FailureKind.MISSING, "DatabaseMissing", "the server has no such database"),
        (r"not currently accepting connections|permission denied for database",
         FailureKind.PRIVILEGE, "PrivilegesMissing", "the database lets the operator's login not in"),
        (r"too many (clients|connections)|remaining connection slots",
         FailureKind.UNREACHABLE, "TooManyConnections", "the server has no connection left"),
        (r"server does not support SSL|certificate|SSL error|tlsv1|root certificate|could not initiate SSL",
         FailureKind.TLS, "TlsFailed", "a trusted TLS connection could not be made"),
        (r"starting up|shutting down|recovery mode",
         FailureKind.UNREACHABLE, "NotReachable", "the server is starting or stopping"),
        (r"could not translate host name|name or service not known|temporary failure in name resolution"
         r"|failed to resolve host|nodename nor servname",
         FailureKind.UNREACHABLE, "NotReachable", "the host name is not known"),
        (r"connection refused", FailureKind.UNREACHABLE, "NotReachable", "nothing listens there"),
        (r"timeout|timed out", FailureKind.UNREACHABLE, "NotReachable", "no answer came in time"),
        (r"no route to host|network is unreachable", FailureKind.UNREACHABLE, "NotReachable", "there is no way there"),
    )
)  # fmt: skip


def classify(error: BaseException) -> Failure:
    """Say what an exception of this client or of psycopg means. Anything unknown is permanent."""
    if isinstance(error, DatabaseError):
        return error.failure
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.TRANSIENT, "TimedOut", "the database did not answer in time")
    if not isinstance(error, psycopg.Error):
        return Failure(FailureKind.PERMANENT, "InternalError", type(error).__name__)
    if error.sqlstate is None:
        return _by_words(error)
    kind, reason = _rule(error.sqlstate, str(error))
    return Failure(kind, reason, message_of(error), error.sqlstate)


def connect_error(error: BaseException, *, where: str) -> DatabaseError:
    """Turn a failed attempt to connect into the typed error; ``where`` names the server for a person."""
    failure = classify(error)
    detail = message_of(error) if isinstance(error, psycopg.Error) else _first_line(error)
    named = Failure(failure.kind, failure.reason, f"cannot connect to {where}: {_join(failure.message, detail)}")
    types: dict[FailureKind, type[DatabaseError]] = {
        FailureKind.UNREACHABLE: ServerUnreachable,
        FailureKind.TRANSIENT: ServerUnreachable,
        FailureKind.AUTH: AuthenticationFailed,
        FailureKind.TLS: TlsFailed,
        FailureKind.MISSING: DatabaseMissing,
    }
    return types.get(failure.kind, ConnectionRefused)(named)


def _rule(sqlstate: str, text: str) -> _Rule:
    if "tuple concurrently" in text:  # XX000: two sessions touched one catalogue row
        return FailureKind.TRANSIENT, "Conflict"
    for length in range(5, 1, -1):
        rule = _BY_STATE.get(sqlstate[:length])
        if rule is not None:
            return rule
    return FailureKind.PERMANENT, "StatementRefused"


def _by_words(error: psycopg.Error) -> Failure:
    text = str(error)
    for pattern, kind, reason, message in _BY_WORDS:
        if pattern.search(text):
            return Failure(kind, reason, message)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Failure(FailureKind.UNREACHABLE, "NotReachable", "the connection failed or was lost")
    return Failure(FailureKind.PERMANENT, "StatementRefused", message_of(error))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:LIMIT] if lines else type(error).__name__


def _join(message: str, detail: str) -> str:
    return message if detail in message else f"{message} ({detail})"
