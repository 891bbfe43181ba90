"""What the breaker remembers: the drops of data that were begun, and whether it has opened."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class BreakerLimits:
    """Both must be passed within the window for the breaker to open. No drops at all: there is no breaker."""

    drops: int = 5
    percent: float = 1
    """Of the tenants in the registry."""
    window: timedelta = timedelta(minutes=1)

    @property
    def are_off(self) -> bool:
        return self.drops == 0


@dataclass(frozen=True)
class Latch:
    """Why the breaker is open, and since when."""

    since: datetime
    message: str


@dataclass(frozen=True)
class BreakerState:
    """All that outlives a process; the text of it lies in the cluster."""

    begun: Mapping[str, datetime] = field(default_factory=dict)
    """UID of the Tenant to when the dropping of its data was last begun."""
    latch: Latch | None = None
    approved: frozenset[str] = frozenset()
    """UIDs of Tenants that somebody let go in spite of the limits."""

    def text(self) -> str:
        """Write it; the same state gives the same text."""
        latch = None if self.latch is None else {"since": self.latch.since.isoformat(), "message": self.latch.message}
        begun = {uid: at.isoformat() for uid, at in sorted(self.begun.items())}
        return json.dumps({"latch": latch, "begun": begun, "approved": sorted(self.approved)})

    @classmethod
    def parse(cls, text: str) -> "BreakerState":
        """Read it back. Raises ValueError when it is nothing of ours."""
        try:
            said = json.loads(text)
            latch = said["latch"]
            return cls(
                begun={str(uid): _time(at) for uid, at in said["begun"].items()},
                latch=None if latch is None else Latch(_time(latch["since"]), str(latch["message"])),
                approved=frozenset(map(str, said["approved"])),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a breaker's state: {error!r}") from error


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
