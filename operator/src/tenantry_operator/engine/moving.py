"""Which Tenants a MigrationRun moves, or has just moved: what the sweep finds changed of them is its doing."""

from typing import Final

from tenantry_operator.engine.clock import Clock

HELD_FOR: Final = 60.0
"""Seconds after the last move. A run that stopped in the middle keeps nobody from being looked at."""

OWN_HELD_FOR: Final = 300.0
"""Seconds after a Tenant's own move began, or was first tried. A run that lasts keeps nobody so either."""


class Moving:
    """Told by the runs, asked by the sweep. A run that ends, and one that rests, lets go of all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved: dict[str, str] = {}
        self._first: dict[str, float] = {}
        self._last = 0.0

    def begin(self, name: str) -> None:
        self._last = self._clock.monotonic()
        self._first.setdefault(name, self._last)
        self._moved[name] = ""

    def end(self) -> None:
        self._moved.clear()
        self._first.clear()

    def has(self, name: str) -> bool:
        now = self._clock.monotonic()
        return name in self._moved and now - self._last < HELD_FOR and now - self._first[name] < OWN_HELD_FOR

    def note(self, name: str, mark: str) -> None:
        """Remember under which mark the Tenant was found to be changed by its move, and by nothing else."""
        self._moved[name] = mark

    def is_noted(self, name: str, mark: str) -> bool:
        return self.has(name) and self._moved[name] == mark
