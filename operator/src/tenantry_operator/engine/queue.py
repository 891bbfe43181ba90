"""Which object is looked at next. No input or output: time comes from the clock it is given."""

import heapq
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from tenantry_operator.engine.clock import Clock

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 60.0
BACKOFF_AFTER_NEWS = 1.0
"""A failing key that was changed is tried again at the latest after so many seconds."""

LEAST_TIMERS = 64
"""So many timers are not worth being looked through."""


class Key(NamedTuple):
    """Names one object; cluster-scoped objects have no namespace."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


@dataclass(frozen=True)
class Result:
    """How a pass ended. ``requeue_after`` is seconds; for a failed pass it is the least to wait.

    ``error`` says in one word what stood in the way, also of a pass that did what it could; it is a metric's label.
    """

    requeue_after: float | None = None
    failed: bool = False
    error: str = ""


class Lane(IntEnum):
    NEWS = 0
    """Somebody changed it."""
    ROUTINE = 1
    """Start-up and sweep: nobody is waiting."""
    FAILING = 2
    """Its last pass failed."""


# Nobody starves: of six picks, four go to what somebody is waiting for.
TURNS = (Lane.NEWS, Lane.NEWS, Lane.ROUTINE, Lane.NEWS, Lane.NEWS, Lane.FAILING)


@dataclass
class _Entry:
    failures: int = 0
    due: float | None = None
    lane: Lane = Lane.ROUTINE
    running: bool = False
    not_before: float = 0.0
    added: float = 0.0
    waited: float = 0.0
    again: list[tuple[float, Lane]] = field(default_factory=list)


class KeyedQueue:
    """Each key waits at most once and runs at most once at a time; a failing key delays only itself.

    A key that fails waits 0.2 s, doubling to 60 s, a little less by chance. Failing keys together hold at most
    ``failing_limit`` places, so that they cannot fill the workers.
    """

    def __init__(self, clock: Clock, jitter: random.Random | None = None, *, failing_limit: int = 8) -> None:
        self._clock = clock
        self._jitter = jitter or random.Random()  # noqa: S311  spreads retries, guards nothing
        self._failing_limit = failing_limit
        self._failing_running: set[Key] = set()
        self._entries: dict[Key, _Entry] = {}
        self._ready: dict[Lane, OrderedDict[Key, None]] = {lane: OrderedDict() for lane in Lane}
        self._timers: list[tuple[float, Key]] = []
        self._turn = 0

    def add(self, key: Key, delay: float = 0.0, *, lane: Lane = Lane.NEWS) -> None:
        """Ask for a pass, ``delay`` seconds from now or earlier. A running key runs once more afterwards."""
        now = self._clock.monotonic()
        entry = self._entries.setdefault(key, _Entry())
        if entry.running:
            entry.again.append((now + delay, lane))
            return
        self._schedule(key, entry, max(now + delay, entry.not_before), lane=lane)

    def take(self) -> Key | None:
        """Return the key to run now, and hold it until `done`; None when nothing is due."""
        self._wake_due()
        for _ in TURNS:
            lane = TURNS[self._turn % len(TURNS)]
            self._turn += 1
            key = self._pop(lane)
            if key is not None:
                return key
        return None

    def done(self, key: Key, result: Result) -> float | None:
        """Give back a taken key; return the seconds of backoff when it failed."""
        now = self._clock.monotonic()
        entry = self._entries[key]
        entry.running = False
        self._failing_running.discard(key)
        backoff = self._after(entry, result, now)
        again, entry.again = entry.again, []
        due = [(now + backoff, Lane.FAILING)] if backoff is not None else []
        if backoff is None and result.requeue_after is not None:
            due = [(now + result.requeue_after, Lane.ROUTINE)]
        for moment, lane in due + [(max(moment, entry.not_before), lane) for moment, lane in again]:
            self._schedule(key, entry, moment, lane=lane)
        if entry.due is None and not entry.failures:
            del self._entries[key]
        return backoff

    def next_due(self) -> float | None:
        """Return seconds until something falls due: 0 when it is already, None when nothing is planned."""
        self._wake_due()
        now = self._clock.monotonic()
        if any(self._may_run(lane) and self._ready[lane] for lane in Lane):
            return 0.0
        while self._timers and self._is_stale(*self._timers[0]):
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - now) if self._timers else None

    def depth(self) -> int:
        """Return how many keys are due and wait for a worker."""
        self._wake_due()
        return sum(len(keys) for keys in self._ready.values())

    def oldest(self) -> float:
        """Return for how many seconds the key that is due for longest has waited."""
        self._wake_due()
        now = self._clock.monotonic()
        return max((now - self._entries[key].added for keys in self._ready.values() for key in keys), default=0.0)

    def waited(self, key: Key) -> float:
        """Return for how many seconds a running key was due before it was taken."""
        return self._entries[key].waited

    def failing(self) -> int:
        return sum(1 for entry in self._entries.values() if entry.failures)

    def forget(self, key: Key) -> None:
        """Drop what is known of a key whose object is gone, unless it is running."""
        entry = self._entries.get(key)
        if entry is None or entry.running:
            return
        for keys in self._ready.values():
            keys.pop(key, None)
        del self._entries[key]

    def _after(self, entry: _Entry, result: Result, now: float) -> float | None:
        if not result.failed:
            entry.failures = 0
            entry.not_before = 0.0
            return None
        entry.failures += 1
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(entry.failures - 1, 16))
        backoff *= self._jitter.uniform(0.75, 1.0)
        backoff = max(backoff, result.requeue_after or 0.0)
        entry.not_before = now + min(backoff, max(BACKOFF_AFTER_NEWS, result.requeue_after or 0.0))
        return backoff

    def _schedule(self, key: Key, entry: _Entry, due: float, *, lane: Lane) -> None:
        if entry.failures:
            lane = Lane.FAILING
        if entry.due is None:
            entry.lane = lane
            entry.added = due
        elif key in self._ready[entry.lane]:
            self._promote(key, entry, lane)
            return
        elif due >= entry.due:
            entry.lane = min(entry.lane, lane)
            return
        entry.due = entry.added = due
        entry.lane = min(entry.lane, lane)
        heapq.heappush(self._timers, (due, key))
        if len(self._timers) > LEAST_TIMERS + 2 * len(self._entries):
            self._drop_stale()

    def _promote(self, key: Key, entry: _Entry, lane: Lane) -> None:
        if lane < entry.lane:
            del self._ready[entry.lane][key]
            entry.lane = lane
            self._ready[lane][key] = None

    def _wake_due(self) -> None:
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            due, key = heapq.heappop(self._timers)
            if not self._is_stale(due, key):
                self._ready[self._entries[key].lane][key] = None

    def _drop_stale(self) -> None:
        """Drop the overtaken: a timer of weeks would stay until then, and one more with each pass."""
        self._timers = [timer for timer in self._timers if not self._is_stale(*timer)]
        heapq.heapify(self._timers)

    def _is_stale(self, due: float, key: Key) -> bool:
        entry = self._entries.get(key)
        return entry is None or entry.due != due or key in self._ready[entry.lane]

    def _may_run(self, lane: Lane) -> bool:
        return lane is not Lane.FAILING or len(self._failing_running) < self._failing_limit

    def _pop(self, lane: Lane) -> Key | None:
        if not self._ready[lane] or not self._may_run(lane):
            return None
        key, _ = self._ready[lane].popitem(last=False)
        entry = self._entries[key]
        entry.running, entry.due = True, None
        entry.waited = max(0.0, self._clock.monotonic() - entry.added)
        if lane is Lane.FAILING:
            self._failing_running.add(key)
        return key
