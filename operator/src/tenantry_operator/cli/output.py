"""What a command prints: a table for people, JSON or YAML for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import yaml
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

WIDE: Final = 200
"""Columns where nobody says how many there are, as in a pipe: cutting texts there would lose them."""

STYLES: Final = {"True": "green", "OK": "green", "WARN": "yellow", "FAIL": "bold red", "False": "red"}


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def console(*, stderr: bool = False) -> Console:
    """Return where to print. Texts are printed as they are: no markup is read in them."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else WIDE, markup=False, highlight=False, emoji=False, soft_wrap=True
    )


def show(value: Any, output: Format, table: Callable[[], RenderableType]) -> None:
    """Print the value; `table` is asked only when a person reads it."""
    if output is Format.TABLE:
        console().print(table())
    else:
        print(as_text(value, output), end="")


def as_text(value: Any, output: Format) -> str:
    """Write the value as one document."""
    if output is Format.YAML:
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def columns(heads: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Make a table without frames, as kubectl's; the last column takes what is left."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head != heads[-1])
    for row in rows:
        table.add_row(*row)
    return table


def coloured(word: str) -> Text:
    return Text(word, style=STYLES.get(word, ""))


def age(since: str | None, now: datetime) -> str:
    """Say how long ago an RFC 3339 time was, in the largest unit that gives at least two of it."""
    if not since:
        return "-"
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def now() -> datetime:
    return datetime.now(UTC)


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of an object; empty when it has none of that type."""
    found = (body.get("status") or {}).get("conditions") or []
    return next((one for one in found if one.get("type") == kind), {})
