"""What is told on of a server's error: names of objects, and never a value of a row."""

import psycopg
import pytest

from tenantry_operator.backup.sayings import HIDDEN, summary, told_by, told_of, without_values

PLANTED = "4111-planted"

CHECKED = f"""\
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3456; 0 16400 TABLE DATA cards t_acme_owner
pg_restore: error: COPY failed for table "cards": ERROR:  new row for relation "cards" violates check constraint "sane"
DETAIL:  Failing row contains (1, {PLANTED}).
CONTEXT:  COPY cards, line 1: "1	{PLANTED}"
"""
RAISED = f"""\
pg_restore: error: COPY failed for table "cards": ERROR:  no such card: {PLANTED}
second line of {PLANTED}
CONTEXT:  PL/pgSQL function t_acme.look(text) line 1 at RAISE
pg_restore: hint: {PLANTED}
"""


def test_a_row_that_is_refused_is_not_shown() -> None:
    assert told_by(CHECKED) == [
        "from TOC entry 3456; 0 16400 TABLE DATA cards t_acme_owner",
        'error: COPY failed for table "cards": ERROR: new row for relation "cards" violates check constraint "sane"',
    ]
    assert PLANTED not in summary(CHECKED)


def test_what_a_function_raises_is_not_shown() -> None:
    assert told_by(RAISED) == [f'error: COPY failed for table "cards": ERROR: {HIDDEN}']
    assert summary("Killed\n") == "it did not say why"


def test_why_a_dump_failed_is_told() -> None:
    said = (
        'pg_dump: error: Dumping the contents of table "cards" failed: PQgetResult() failed.\n'
        "pg_dump: detail: Error message from server: ERROR:  permission denied for table cards\n"
        "pg_dump: detail: Command was: COPY t_acme.cards (id) TO stdout;\n"
    )
    assert summary(said).endswith("detail: Error message from server: ERROR: permission denied for table cards")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('invalid input syntax for type integer: "planted"', "invalid input syntax for type integer"),
        ('invalid byte sequence for encoding "UTF8": 0xff', 'invalid byte sequence for encoding "UTF8"'),
        ('role "gone" does not exist', 'role "gone" does not exist'),
        ('schema "t_acme" already exists', 'schema "t_acme" already exists'),
        ("permission denied for table planted", "permission denied for table planted"),
        ("canceling statement due to statement timeout", "canceling statement due to statement timeout"),
        ('the planted one: role "gone" does not exist', HIDDEN),
        ("planted", HIDDEN),
        ("", HIDDEN),
    ],
)
def test_of_a_message_only_what_names_objects_is_told(message: str, told: str) -> None:
    assert without_values(message) == told


def test_without_a_session_all_is_told() -> None:
    assert told_of(psycopg.OperationalError("connection failed:\n timeout")) == "connection failed: timeout"
