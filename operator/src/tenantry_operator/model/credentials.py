"""What a Tenant asks for its credentials, and what its Secret remembers of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

LONGEST_NOTE: Final = 253


@dataclass(frozen=True)
class DesiredCredentials:
    """When the credentials are to be replaced, seen from `now`."""

    now: datetime
    interval: timedelta = timedelta(hours=720)
    """Zero: never by time."""
    overlap: timedelta = timedelta(hours=1)
    rotate: str | None = None
    """What the annotation that asks for a rotation says."""
    template: Mapping[str, str] = field(default_factory=dict)
    """More keys of the Secret."""


@dataclass(frozen=True)
class RotationNotes:
    """The Secret's annotations about rotation; they alone are remembered."""

    rotated_at: datetime | None = None
    previous_expires_at: datetime | None = None
    rotated_for: str | None = None
    """Which value of the Tenant's annotation was honoured last."""


def note_of(rotate: str) -> str:
    """Return what the Secret notes of a value of the Tenant's annotation, which may be of any length."""
    return rotate if len(rotate) <= LONGEST_NOTE else hashlib.sha256(rotate.encode()).hexdigest()


def applied_mark(oid: int, password: str) -> str:
    """Make the annotation that says: this role was given this password.

    Without superuser rights nobody can ask Postgres for a role's verifier, so the Secret remembers. A role that was
    made anew has another oid, an edited Secret another password; either shows.
    """
    return f"{oid}:{hashlib.sha256(password.encode()).hexdigest()[:32]}"


def write_time(moment: datetime | None) -> str | None:
    """Write the time for an annotation, in milliseconds: an overlap may be short."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str | None) -> datetime | None:
    """Return the time that an annotation tells; None when it tells none."""
    try:
        moment = datetime.fromisoformat(text or "")
        # Near the ends of the calendar there are times that cannot be told in UTC.
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
