"""Side effects in the order in which they passed, over all proxies, and the one at which a process is to die."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Moment(StrEnum):
    """Where a process dies, as seen by the server."""

    BEFORE = "before"
    """The server never hears of the effect."""
    AFTER = "after"
    """The server has done it, and nobody hears the answer."""


@dataclass(frozen=True)
class Effect:
    """One write as it passes a proxy. `number` counts from 1 since the last `Effects.start`; 0 is counted apart."""

    number: int
    label: str
    moment: Moment | None = None
    """Set when the process is to die here; the proxy then calls `Effects.strike` and drops the connection."""


@dataclass(frozen=True)
class _Armed:
    number: int
    moment: Moment
    callback: Callable[[], None]


class Effects:
    """Counts effects. Safe for threads; the proxies call `note` and `strike`, everybody else the rest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels: list[str] = []
        self._armed: _Armed | None = None
        self.listener: Callable[[str], None] | None = None
        """Told each counted effect in the proxy's thread, before it is passed on."""
        self._struck: Effect | None = None
        self._last = time.monotonic()

    def start(self) -> None:
        """Count from 1 again, with nothing armed."""
        with self._lock:
            self._labels, self._armed, self._struck = [], None, None

    def arm(self, number: int, moment: Moment, callback: Callable[[], None]) -> None:
        """Count from 1 again; at the effect of this number run `callback` in the proxy's thread, once."""
        with self._lock:
            self._labels, self._struck = [], None
            self._armed = _Armed(number, moment, callback)

    def disarm(self) -> None:
        with self._lock:
            self._armed = None

    @property
    def struck(self) -> Effect | None:
        """The effect at which the callback ran."""
        with self._lock:
            return self._struck

    def count(self) -> int:
        with self._lock:
            return len(self._labels)

    def labels(self) -> tuple[str, ...]:
        """What each effect was, oldest first."""
        with self._lock:
            return tuple(self._labels)

    def quiet_for(self) -> float:
        """Seconds since the last effect, also of those that are counted apart."""
        with self._lock:
            return time.monotonic() - self._last

    def note(self, label: str, *, apart: bool = False) -> Effect:
        """Count an effect that is about to be passed on."""
        with self._lock:
            self._last = time.monotonic()
            if apart:
                return Effect(0, label)
            self._labels.append(label)
            number, armed = len(self._labels), self._armed
            here = armed is not None and armed.number == number
            effect = Effect(number, label, armed.moment if armed and here else None)
        if self.listener is not None:
            self.listener(label)
        return effect

    def strike(self, effect: Effect) -> None:
        """Run the callback for the effect that it was armed for."""
        with self._lock:
            armed, self._armed = self._armed, None
            if armed is not None:
                self._struck = effect
        if armed is not None:
            armed.callback()
