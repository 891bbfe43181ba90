"""Reads which databases of trials there are."""

import json
from typing import Any, Final

from psycopg import AsyncConnection

from tenantry_operator.model.leftovers import Trial

TRIALS: Final = """
SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database
WHERE datname ~ '^tenantry_scratch_' AND pg_get_userbyid(datdba) = current_user ORDER BY 1
"""


async def observe_trials(connection: AsyncConnection[Any]) -> tuple[Trial, ...]:
    """Return those that bear a mark. Raises psycopg.Error."""
    cursor = await connection.execute(TRIALS)
    found = [_parse(str(database), mark) for database, mark in await cursor.fetchall()]
    return tuple(one for one in found if one is not None)


def _parse(database: str, mark: str | None) -> Trial | None:
    try:
        said = json.loads(mark or "")
        return Trial(database, uid=str(said["scratch"]), installation=str(said["operator"]))
    except (ValueError, KeyError, TypeError):
        return None
