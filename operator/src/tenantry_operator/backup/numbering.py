"""The numbers that a pool's sequences give to rows of all tenants, when one tenant's rows come back with theirs."""

from collections.abc import Sequence
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from tenantry_operator.backup.orders import BackupError, KeptTable
from tenantry_operator.backup.servers import Connection

FARTHEST: Final = 1 << 40
"""More than a pool numbers in its life. A row that somebody forged may not take the numbers of all others."""

NUMBERED: Final[LiteralString] = """
SELECT attname, pg_get_serial_sequence(%(table)s, attname) FROM pg_attribute
WHERE attrelid = %(table)s::regclass AND attname = ANY (%(columns)s)
AND pg_get_serial_sequence(%(table)s, attname) IS NOT NULL
"""

# The highest number that was put there, if the sequence may still come to it; and how far it lets itself be moved.
BEHIND: Final[LiteralString] = """
SELECT m, last_value, last_value + least(%s, (s.seqmax - last_value) / 2)
FROM (SELECT max({column})::bigint FROM {kept}) AS k(m), {sequence}, pg_sequence s
WHERE s.seqrelid = %s::regclass AND (m > last_value OR m = last_value AND NOT is_called)
"""
STEP_OF: Final[LiteralString] = "SELECT seqincrement FROM pg_sequence WHERE seqrelid = %s::regclass"

# Others who number a row wait for whoever waits here.
BRIEFLY: Final = "SET LOCAL lock_timeout TO '5s'"


def put_aside(number: int) -> sql.Identifier:
    """Name the table of this session that holds the rows of a backup's table before they are put where they belong."""
    return sql.Identifier("pg_temp", f"kept_{number}")


def count_on(connection: Connection, schema: str, tables: Sequence[KeptTable], *, shared: bool) -> None:
    """Have the pool's sequences go on behind the rows that were put there; they go forwards only.

    Whoever numbers a row waits until the transaction ends. `shared` says that others are in the pool: then none is
    moved so far that they might be left without numbers. Raises BackupError.
    """
    for number, table in enumerate(tables):
        where = sql.Identifier(schema, table.table).as_string(connection)
        asked = {"table": where, "columns": [*table.columns]}
        for column, sequence in connection.execute(NUMBERED, asked).fetchall():
            # Its name comes quoted from the catalogue.
            counter, kept = sql.SQL(sequence), put_aside(number)
            behind = sql.SQL(BEHIND).format(column=sql.Identifier(column), kept=kept, sequence=counter)
            row = connection.execute(behind, (FARTHEST, sequence)).fetchone()
            if row is None:
                continue
            highest, last, farthest = row
            if shared and highest > farthest:
                raise BackupError(
                    f"{table.table}.{column} of the backup goes up to {highest}, and {sequence}, which numbers the "
                    f"rows of all tenants, is at {last}: a restore moves it to {farthest} at most. If that number is "
                    "right, move the sequence there by hand first"
                )
            hold(connection, sequence)
            forward = sql.SQL("SELECT setval({}::regclass, greatest({}, last_value)) FROM {}")
            connection.execute(forward.format(sql.Literal(sequence), sql.Literal(highest), counter))


def hold(connection: Connection, sequence: str) -> None:
    """Let nobody take a number before the transaction ends. LOCK takes no sequence; this changes nothing of it."""
    [(step,)] = connection.execute(STEP_OF, (sequence,)).fetchall()
    connection.execute(BRIEFLY)
    try:
        keep = sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}")
        connection.execute(keep.format(sql.SQL(sequence), sql.Literal(step)))
    except psycopg.errors.LockNotAvailable as error:
        raise BackupError(
            f"somebody has a transaction open that has taken a number from {sequence}, and does not end it"
        ) from error
