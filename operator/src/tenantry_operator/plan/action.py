"""What every action is."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Action:
    """One change. `reason` is for people: it is logged, and shown in an Event when it repairs something."""

    reason: str
