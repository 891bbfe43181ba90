"""What the API server can answer when it does not do as asked."""

import json
import re
from typing import Any


class ApiError(Exception):
    """A request that failed. ``status`` is the HTTP status, 0 when there was no answer; ``retry_after`` is seconds."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{reason} ({status}): {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later without anybody changing anything."""
        return self.status in (0, 408, 409, 429) or self.status >= 500


class ApiUnreachable(ApiError):
    """No answer came; what was asked may have been done or not."""


class NotFound(ApiError):
    """There is no such object, or no such resource type."""


class Conflict(ApiError):
    """Somebody else wrote first, or another field manager owns the field."""


class AlreadyExists(Conflict):
    """The name is taken."""


class Gone(ApiError):
    """The resourceVersion asked for is too old."""


class Invalid(ApiError):
    """The server refuses this body, now and later."""


class Forbidden(ApiError):
    """Not allowed: a role is missing, or a policy refuses it."""


_TYPES: dict[int, type[ApiError]] = {
    400: Invalid, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone, 413: Invalid, 422: Invalid,
}  # fmt: skip

# Server-side apply answers 500 to a field that the type does not have; it will never be accepted.
_UNKNOWN_FIELD = re.compile(r"field not declared in schema|failed to create typed patch object|unknown field")
MESSAGE_LIMIT = 2000


def from_response(status: int, content: bytes, retry_after: str | None = None) -> ApiError:
    """Build the typed error of an answer with a status of 400 or more."""
    body = _status_object(content)
    reason = str(body.get("reason") or f"HTTP{status}")
    message = str(body.get("message") or "no message")[:MESSAGE_LIMIT]
    wait = _seconds(retry_after) or _detail_seconds(body)
    error_type = _TYPES.get(status, ApiError)
    if status == 409 and reason == "AlreadyExists":
        error_type = AlreadyExists
    if status == 500 and _UNKNOWN_FIELD.search(message):
        error_type, status = Invalid, 422
    return error_type(status, reason, message, retry_after=wait)


def read_object(content: bytes, method: str) -> dict[str, Any]:
    """Return the object in an answer; one that was cut off midway is no answer. Raises ApiUnreachable."""
    try:
        body = json.loads(content) if content else {}
    except ValueError as error:
        raise ApiUnreachable(0, "Garbled", f"the API server's answer to {method} is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiUnreachable(0, "Garbled", f"the API server's answer to {method} is no object")
    return body


def _status_object(content: bytes) -> dict[str, object]:
    try:
        body = json.loads(content)
    except ValueError:
        return {"message": content[:MESSAGE_LIMIT].decode(errors="replace").strip()}
    return body if isinstance(body, dict) else {}


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header else None
    except ValueError:
        return None


def _detail_seconds(body: dict[str, object]) -> float | None:
    details = body.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return float(seconds) if seconds else None
