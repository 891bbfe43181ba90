"""What can go wrong between the operator and the API server, as data."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

ENDLESS = -1


class Harm(StrEnum):
    """What becomes of a request."""

    DELAY = "delay"
    """It is answered `seconds` late."""
    RESET = "reset"
    """The connection is reset before the API server hears of it."""
    LOST = "lost"
    """The API server does it, and the connection is reset in place of an answer."""
    REFUSE = "refuse"
    """It is answered with `status` and `reason`, and the API server never hears of it."""
    TRUNCATE = "truncate"
    """It is done; of the answer only the first half comes, as if that were all."""


@dataclass
class ApiFault:
    """Harms the next `times` requests, watches too, whose method and path match. `hits` counts them."""

    harm: Harm
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    seconds: float = 0.0
    status: int = 500
    reason: str = "InternalError"
    retry_after: int | None = None
    hits: int = 0

    def takes(self, method: str, path: str) -> bool:
        """Say whether the request is harmed, and count it."""
        if self.times == self.hits or not re.fullmatch(self.method, method) or not re.search(self.path, path):
            return False
        self.hits += 1
        return True


@dataclass
class WatchFault:
    """Harms the events of watches whose path matches."""

    path: str = ".*"
    drop: int = 0
    """So many events, bookmarks aside, are not passed on."""
    stale: bool = False
    """After each event of an object the one before is sent once more."""
    garble: int = 0
    """So many events are cut in half; the stream ends there."""
    hits: int = 0
    _before: dict[str, bytes] = field(default_factory=dict)

    def alter(self, uid: str, line: bytes) -> tuple[list[bytes], bool]:
        """Return what to send in place of the line, and whether the stream goes on."""
        if self.drop:
            self.drop, self.hits = self.drop - 1, self.hits + 1
            return [], True
        if self.garble:
            self.garble, self.hits = self.garble - 1, self.hits + 1
            return [line[: len(line) // 2] + b"\n"], False
        if self.stale:
            before, self._before[uid] = self._before.get(uid), line
            if before is not None:
                self.hits += 1
                return [line, before], True
        return [line], True
