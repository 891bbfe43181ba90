"""What Postgres and its programs say, without what is in a customer's rows.

A message of theirs ends in a pod's log, in a condition and in an Event. Of a server's error only what names objects is
told on; DETAIL, CONTEXT and a text that a function raised hold values, and are in the server's own log alone.
"""

import re
from typing import Final

import psycopg

HIDDEN: Final = "(not told here, for it may hold rows: see the server's log)"
LINE: Final = re.compile(
    r"^pg_(?:dump|restore): (?P<said>error: .*|from TOC entry .*|detail: Error message from server: .*)$"
)
ERROR: Final = re.compile(r"\bERROR:\s+")
LIMIT: Final = 300
LINES: Final = 4

_NAME: Final = r'"[^"]{1,130}"'
_KINDS: Final = (
    "role|schema|extension|type|relation|table|column|view|sequence|function|procedure|operator|operator class|"
    "collation|language|database|tablespace|server|access method|domain|constraint|index|trigger|policy"
)
KNOWN: Final = re.compile(
    "|".join(
        [
            rf"new row for relation {_NAME} violates check constraint {_NAME}",
            rf"value for domain \S{{1,130}} violates check constraint {_NAME}",
            rf"new row violates row-level security policy(?: {_NAME})? for table {_NAME}",
            rf"duplicate key value violates unique constraint {_NAME}",
            rf"could not create unique index {_NAME}",
            rf"conflicting key value violates exclusion constraint {_NAME}",
            rf"null value in column {_NAME} of relation {_NAME} violates not-null constraint",
            rf"(?:insert or update|update or delete) on table {_NAME} violates foreign key constraint {_NAME}",
            rf"no partition of relation {_NAME} found for row",
            rf"column {_NAME} of relation {_NAME} contains null values",
            rf"check constraint {_NAME} of relation {_NAME} is violated by some row",
            rf"missing data for column {_NAME}",
            rf"(?:{_KINDS}) {_NAME}(?: of relation {_NAME})? (?:does not exist|already exists)",
            rf"extension {_NAME} is not available",
            rf"unrecognized configuration parameter {_NAME}",
            r"(?:function|operator) \S{1,130} does not exist",
            rf"permission denied (?:for|to) (?:{_KINDS}|foreign server|large object|tablespace) \S{{1,130}}",
            r"permission denied to [a-z ]{1,60}",
            r"must be (?:owner|member) of [a-z]{1,20} \S{1,130}",
            # A revision says in a value that it does not follow: see `render_each`.
            r'invalid input syntax for type integer: "[a-z]\d{4} follows [a-z]\d{4}, but the schema is at '
            r'(?:[a-z]\d{4}|nothing)"',
            r"invalid input syntax for type [a-z ]{1,40}",
            rf"invalid byte sequence for encoding {_NAME}",
            r"value too long for type [a-z ]{1,40}\(\d+\)",
            r"(?:integer|bigint|smallint) out of range",
            r"numeric field overflow",
            r"division by zero",
            r"date/time field value out of range",
            r"extra data after last expected column",
            r"(?:canceling statement|terminating connection) due to [a-z ]{1,60}",
            r"cannot execute [A-Z ]{1,60} in a read-only transaction",
            r"deadlock detected",
            r"tuple concurrently (?:updated|deleted)",
            r"out of (?:shared )?memory",
            rf"could not \w+ file {_NAME}: No space left on device",
        ]
    )
)
"""Messages of Postgres' own, up to where a value may follow."""
NAMING: Final = frozenset({"08", "0A", "25", "28", "2B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "F0"})
"""Classes of SQLSTATE whose messages name objects and settings, and no values."""


def told_of(error: psycopg.Error) -> str:
    """Say in a line what a session was told: severity, SQLSTATE, and the message if it holds no value."""
    if error.sqlstate is None:
        return message_of(error)
    severity = error.diag.severity_nonlocalized or error.diag.severity or "ERROR"
    return f"{severity} {error.sqlstate}: {message_of(error)}"[:LIMIT]


def message_of(error: psycopg.Error) -> str:
    """Return the message that a session was told, as far as it holds no value; its detail never."""
    if error.sqlstate is None:
        # Our side says this: there is no session, or no more.
        return " ".join(str(error).split())[:LIMIT]
    message = error.diag.message_primary or ""
    said = message if error.sqlstate[:2] in NAMING else without_values(message)
    if said == HIDDEN:
        # Its name says what it is about.
        said = f"{type(error).__name__} {HIDDEN}"
    return " ".join(said.split())[:LIMIT]


def told_by(stderr: str) -> list[str]:
    """Return what pg_dump or pg_restore says went wrong, and about which entry."""
    found = (LINE.match(line) for line in stderr.splitlines())
    return [_told(one["said"]) for one in found if one]


def summary(stderr: str) -> str:
    """Say the last of it in one line."""
    return "; ".join(told_by(stderr)[-LINES:]) or "it did not say why"


def without_values(message: str) -> str:
    """Return of a server's error what names objects."""
    known = KNOWN.match(message)
    return known[0] if known else HIDDEN


def _told(said: str) -> str:
    before, severity, message = _parted(said)
    return f"{before}{severity}{without_values(message)}" if severity else said[:LIMIT]


def _parted(said: str) -> tuple[str, str, str]:
    found = ERROR.search(said)
    return (said[: found.start()], "ERROR: ", said[found.end() :]) if found else (said, "", "")
