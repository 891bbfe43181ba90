"""What ties the lines of one request together: request id, W3C trace id, session id, tenant and principal."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import uuid_utils

REQUEST_ID_HEADER = "x-request-id"
SESSION_ID_HEADER = "x-session-id"
TRACE_HEADER = "traceparent"

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff is forbidden, later versions may append fields.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?P<rest>-.*)?"
)


@dataclass
class Correlation:
    """The ids of one request. Whoever learns of the tenant, principal or session fills them in."""

    request_id: str
    trace_id: str
    span_id: str
    session_id: str | None = None
    tenant: str | None = None
    principal: str | None = None


_current: ContextVar[Correlation | None] = ContextVar("tenantry_correlation", default=None)


def current() -> Correlation | None:
    """Return the ids of the request that is being served, or None outside of one."""
    return _current.get()


@contextmanager
def correlating(correlation: Correlation) -> Iterator[None]:
    """Make `correlation` the current one for the duration."""
    token = _current.set(correlation)
    try:
        yield
    finally:
        _current.reset(token)


def correlate(headers: Mapping[str, str]) -> Correlation:
    """Return the ids of a request with these lower-case headers.

    Ids that the caller sent are kept when they are well formed, so that a line can be found from both sides; others
    are made anew, never repeated in a log.
    """
    return Correlation(
        request_id=_accepted(headers.get(REQUEST_ID_HEADER)) or uuid_utils.uuid7().hex,
        trace_id=trace_id_of(headers.get(TRACE_HEADER)) or secrets.token_hex(16),
        span_id=secrets.token_hex(8),
        session_id=_accepted(headers.get(SESSION_ID_HEADER)),
    )


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace id of a W3C `traceparent`, or None when there is none or it is invalid."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or (match["rest"] and traceparent is not None and traceparent.startswith("00")):
        return None
    if match["trace"] == "0" * 32 or match["parent"] == "0" * 16:
        return None
    return match["trace"]


def _accepted(value: str | None) -> str | None:
    return value if value is not None and _ACCEPTED_ID.fullmatch(value) else None
