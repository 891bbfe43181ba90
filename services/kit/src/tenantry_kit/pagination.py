"""Keyset pages with opaque, signed cursors.

A cursor names the last row that was seen, so a page costs the same at any depth, and rows that come or go elsewhere
neither shift nor repeat what follows. Its signature covers the tenant and the list, so that a cursor of another tenant
or list is refused like a tampered one.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, Field

from tenantry_kit.problems import INVALID_CURSOR, Problem

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_FORM = b"\x01"
_SIGNATURE_BYTES = 16

Item = TypeVar("Item")
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item] = Field(description="The rows of this page, in the order in which they were made.")
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the rows that follow; null when there are none.",
        examples=["AQGTk3uJcQ3XbFq0d0K5yTnJ8Yk1cW2mZl0rT3pQ7uVx"],
    )


@dataclass(frozen=True)
class PageRequest:
    """Which page is asked for: at most `limit` rows after the row `after`."""

    limit: int
    after: UUID | None


class Cursors:
    """Makes and reads cursors. `key` is asked at each use, so that a replaced key is taken up."""

    def __init__(self, key: Callable[[], str]) -> None:
        self._key = key

    def sign(self, position: UUID, list_name: str, *, tenant_id: UUID) -> str:
        """Return the cursor behind the row `position` of a tenant's list."""
        payload = _FORM + position.bytes
        return base64.urlsafe_b64encode(payload + self._signature(payload, list_name, tenant_id)).decode().rstrip("=")

    def read(self, cursor: str, list_name: str, *, tenant_id: UUID) -> UUID:
        """Return the row that a cursor stands behind. Raises Problem(INVALID_CURSOR) for any but ours."""
        raw = _decoded(cursor)
        payload, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload, list_name, tenant_id)):
            raise Problem(INVALID_CURSOR)
        return UUID(bytes=payload[1:])

    def _signature(self, payload: bytes, list_name: str, tenant_id: UUID) -> bytes:
        message = b"cursor\0" + tenant_id.bytes + list_name.encode() + b"\0" + payload
        return hmac.digest(self._key().encode(), message, hashlib.sha256)[:_SIGNATURE_BYTES]


def _decoded(cursor: str) -> bytes:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(INVALID_CURSOR) from error
    # The last character of base64 holds spare bits: only the form that we write is ours.
    canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=") == cursor
    if not canonical or len(raw) != len(_FORM) + 16 + _SIGNATURE_BYTES or not raw.startswith(_FORM):
        raise Problem(INVALID_CURSOR)
    return raw


def link_to_next(path: str, *, limit: int, cursor: str) -> str:
    """Return the `Link` header (RFC 8288) that leads to the next page; relative, for any gateway prefix above us."""
    return f'<{path}?{urlencode({"limit": limit, "cursor": cursor})}>; rel="next"'
