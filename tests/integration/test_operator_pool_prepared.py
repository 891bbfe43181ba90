"""A transaction that is prepared has no session, and may still bring rows into the pool."""

import pytest
from psycopg import AsyncConnection

from tenantry_operator.apply import pool_writers
from tenantry_operator.backup.rows import AT_WORK
from tenantry_operator.model.pool import POOL_SCHEMA
from tenantry_testing.postgres import PostgresServer


async def test_a_prepared_transaction_is_waited_for_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_writers, "END_WITHIN", 0.1)
    with (
        PostgresServer(settings=["max_prepared_transactions=2"]) as server,
        server.connect("postgres") as writer,
    ):
        writer.execute(f"CREATE SCHEMA {POOL_SCHEMA}")
        writer.execute(f"CREATE TABLE {POOL_SCHEMA}.things (id int)")
        writer.execute("BEGIN")
        writer.execute(f"INSERT INTO {POOL_SCHEMA}.things VALUES (1)")
        writer.execute("PREPARE TRANSACTION 'kept'")
        async with await AsyncConnection.connect(server.url("postgres"), autocommit=True) as connection:
            with pytest.raises(
                pool_writers.WritersRemain, match=r"prepared transaction kept of .*ROLLBACK PREPARED 'kept'"
            ):
                await pool_writers.writers_ended(connection)
            assert len(await (await connection.execute(AT_WORK, (POOL_SCHEMA,))).fetchall()) == 1
            writer.execute("ROLLBACK PREPARED 'kept'")
            await pool_writers.writers_ended(connection)
