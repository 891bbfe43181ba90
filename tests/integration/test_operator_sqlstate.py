"""What is told of an error of a real Postgres: its message as far as that names objects, and never a value of a row."""

import psycopg
import pytest

from tenantry_migrations import TENANT, render
from tenantry_operator.backup.sayings import HIDDEN
from tenantry_operator.clients.sqlstate import classify, connect_error
from tenantry_testing.postgres import PostgresServer

PLANTED = "ada-4111@planted"
CARDS = (
    "CREATE TEMPORARY TABLE cards (id int, email text UNIQUE CHECK (email <> ''), short varchar(4), "
    "note text NOT NULL)",
    f"INSERT INTO cards VALUES (1, '{PLANTED}', 'a', 'b'), (2, 'other', 'a', 'b')",
    f"CREATE TYPE pg_temp.colour AS ENUM ('red', '{PLANTED}')",
    f"""CREATE FUNCTION pg_temp.raised() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'no such card: {PLANTED}' USING ERRCODE = 'check_violation', DETAIL = '{PLANTED}';
    END $$""",
)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"INSERT INTO cards VALUES (3, '{PLANTED}', 'a', 'b')", 'violates unique constraint "cards_email_key"'),
        ("CREATE UNIQUE INDEX odd ON cards (note)", 'could not create unique index "odd"'),
        ("INSERT INTO cards VALUES (3, '', 'a', 'b')", 'violates check constraint "cards_email_check"'),
        (f"INSERT INTO cards (email) VALUES ('{PLANTED}2')", 'null value in column "note" of relation "cards"'),
        (f"UPDATE cards SET short = '{PLANTED}'", "value too long for type character varying(4)"),
        ("SELECT email::int FROM cards", "invalid input syntax for type integer"),
        ("SELECT email::uuid FROM cards", "invalid input syntax for type uuid"),
        ("SELECT email::json FROM cards", "invalid input syntax for type json"),
        ("SELECT email::timestamptz FROM cards", "invalid input syntax for type timestamp with time zone"),
        ("SELECT to_date(email, 'YYYY-MM-DD') FROM cards", f"InvalidDatetimeFormat {HIDDEN}"),
        ("SELECT ('x' || email)::pg_temp.colour FROM cards", f"InvalidTextRepresentation {HIDDEN}"),
        ("SELECT pg_temp.raised()", f"CheckViolation {HIDDEN}"),
        ("SELECT 1 / (id - 1) FROM cards", "division by zero"),
        ("DROP TABLE gone", 'table "gone" does not exist'),
        ("SELECT nothing FROM cards", 'column "nothing" does not exist'),
    ],
)
def test_no_value_of_a_row_is_told(postgres: PostgresServer, statement: str, told: str) -> None:
    with postgres.connect() as connection:
        for one in CARDS:
            connection.execute(one)
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement)
    message = classify(caught.value).message
    # Postgres had something to say that is not told, or nothing.
    assert told in message
    assert PLANTED not in message
    assert PLANTED not in str(connect_error(caught.value, where="a server"))


def test_what_a_revision_says_of_the_schema_is_told(postgres: PostgresServer) -> None:
    [step] = TENANT.steps(None, TENANT.head)[:1]
    later = type(step)(**{**vars(step), "revision": "t0009", "previous": "t0008"})
    with postgres.connect() as connection:
        connection.execute("CREATE TEMPORARY TABLE schema_version (version text)")
        connection.execute("INSERT INTO schema_version VALUES ('t0001')")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(render(later, roles={"accounts": "nobody"}, schema="pg_temp"))
    assert "t0009 follows t0008, but the schema is at t0001" in classify(caught.value).message
