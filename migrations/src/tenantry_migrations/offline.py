"""Renders one Alembic script to SQL statements without a database."""

import threading

from alembic.ddl.postgresql import PostgresqlImpl
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from sqlalchemy.dialects.postgresql import psycopg

TERMINATOR = ";"

# Alembic's `op` is one proxy for the whole process.
_one_at_a_time = threading.Lock()


class _Statements:
    """Stands where Alembic expects a text stream. It writes one statement at a time, so nothing need be split."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text.strip().removesuffix(TERMINATOR))

    def flush(self) -> None: ...


def render_script(script: Script, impl: type[PostgresqlImpl] = PostgresqlImpl) -> tuple[str, ...]:
    """Return the statements of the script's `upgrade`, in order, without semicolons; `impl` may change what is made."""
    statements = _Statements()
    # "named": the statements are replayed without parameters, so a percent sign must not be doubled.
    dialect = psycopg.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    options = {"as_sql": True, "output_buffer": statements}
    context = MigrationContext.configure(dialect=dialect, opts=options)
    context.impl = impl(dialect, context.connection, True, None, context.output_buffer, options)
    with _one_at_a_time, Operations.context(context):
        script.module.upgrade()
    return tuple(statements.written)
