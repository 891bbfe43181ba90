"""The word under which a failure is counted."""

from typing import Final

from tenantry_operator.clients.sqlstate import DatabaseError

UNEXPECTED: Final = "Unexpected"
TIMEOUT: Final = "Timeout"


def error_word(error: BaseException) -> str:
    """Return one of few words for an expected error: the reason of a database's, else the name of its type."""
    if isinstance(error, DatabaseError):
        return error.failure.reason
    return TIMEOUT if isinstance(error, TimeoutError) else type(error).__name__
