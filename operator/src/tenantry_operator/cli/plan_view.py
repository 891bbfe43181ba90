"""What a plan looks like: for people, and for programs. Never a password: what was observed of a Secret is left out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from tenantry_operator.model.tenant import ObservedSecret


class Outcome(StrEnum):
    """What the operator would come to."""

    NOTHING = "nothing to do"
    CHANGES = "changes"
    REFUSED = "refused"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"
    NOT_PLANNED = "not planned"

    @property
    def is_failure(self) -> bool:
        return self in {Outcome.REFUSED, Outcome.BLOCKED, Outcome.UNKNOWN}


HIDDEN: Final = frozenset({"reason", "marker", "id"})
"""Fields of an action that are shown elsewhere, or are made up anew for each plan."""

STYLES = {
    Outcome.NOTHING: "green",
    Outcome.CHANGES: "yellow",
    Outcome.NOT_PLANNED: "dim",
}


@dataclass(frozen=True)
class Step:
    """One action: its kind, what it is about, and why."""

    action: str
    about: Mapping[str, Any]
    reason: str

    def __str__(self) -> str:
        details = " ".join(f"{key}={_word(value)}" for key, value in self.about.items())
        return f"{self.action} {details}"


@dataclass(frozen=True)
class Forecast:
    """What would become of one document."""

    title: str
    source: str
    outcome: Outcome
    reason: str = ""
    """Of the table of reasons, where something stands in the way."""
    message: str = ""
    place: str = ""
    changes: tuple[str, ...] = ()
    """What applying the file changes in the spec."""
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """What could not be seen from here."""


def steps_of(actions: Iterable[object]) -> tuple[Step, ...]:
    """Describe actions in their order."""
    return tuple(Step(type(action).__name__, _about(action), getattr(action, "reason", "")) for action in actions)


def _about(action: object) -> dict[str, Any]:
    if not is_dataclass(action):
        return {}
    described = {one.name: _plain(getattr(action, one.name)) for one in fields(action) if one.name not in HIDDEN}
    return {key: value for key, value in described.items() if value not in (None, [], {}, "", False)}


def _plain(value: object) -> Any:
    if isinstance(value, ObservedSecret):
        return f"{value.namespace}/{value.name}"
    if is_dataclass(value) and not isinstance(value, type):
        inner = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        return {key: item for key, item in inner.items() if item not in (None, [], {}, "", False)}
    if isinstance(value, tuple | list | set | frozenset):
        items = [_plain(item) for item in value]
        return items if isinstance(value, tuple | list) else sorted(items, key=str)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, int | float) else str(value)


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + " ".join(f"{key}={_word(item)}" for key, item in value.items()) + ")"
    return ",".join(map(_word, value)) if isinstance(value, list) else str(value)


def as_value(forecast: Forecast) -> dict[str, Any]:
    """Return a forecast for programs."""
    return {
        "object": forecast.title,
        "source": forecast.source,
        "outcome": forecast.outcome.value,
        "reason": forecast.reason,
        "message": forecast.message,
        "place": forecast.place,
        "changes": list(forecast.changes),
        "steps": [{"action": one.action, "about": dict(one.about), "reason": one.reason} for one in forecast.steps],
        "notes": list(forecast.notes),
    }


def text_of(forecasts: Iterable[Forecast]) -> Group:
    return Group(*(part for forecast in forecasts for part in _lines(forecast)))


def _lines(forecast: Forecast) -> Iterable[RenderableType]:
    style = STYLES.get(forecast.outcome, "bold red")
    place = f" ({forecast.place})" if forecast.place else ""
    why = f" {forecast.reason}" if forecast.reason else ""
    yield Text.assemble((forecast.title, "bold"), f"{place}: ", (f"{forecast.outcome}{why}", style))
    if forecast.message:
        yield Text(f"  {forecast.message}")
    if forecast.reason:
        yield Text(f"  `tenantry explain {forecast.reason}` says what to do")
    for change in forecast.changes:
        yield Text(f"  apply: {change}")
    for number, step in enumerate(forecast.steps, start=1):
        yield Text.assemble(f"  {number:>3}. {step}", (f"  -- {step.reason}", "dim"))
    for note in forecast.notes:
        yield Text(f"  note: {note}", style="yellow")
