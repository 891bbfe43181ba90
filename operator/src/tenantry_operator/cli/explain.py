"""``tenantry explain``."""

import difflib
import sys
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from tenantry_crds.reasonentry import Entry
from tenantry_crds.reasontable import TABLE
from tenantry_crds.runbooks import RUNBOOKS
from tenantry_operator.cli.failure import FAILED
from tenantry_operator.cli.options import Output
from tenantry_operator.cli.output import Format, columns, show

EPILOG = "Examples: `tenantry explain NotOurs` · `tenantry explain` lists all reasons · `-o json` for programs."


def explain(
    reason: Annotated[str | None, typer.Argument(help="As a condition or an Event carries it. Absent: all.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what a reason of a condition or an Event means, what to do, and what to type.

    Needs no cluster. Ends with 0, or with 1 when there is no such reason.
    """
    if reason is None:
        entries = sorted(TABLE, key=lambda entry: entry.reason.value)
        rows = ((entry.reason.value, entry.meaning) for entry in entries)
        return show([as_value(entry) for entry in entries], output, lambda: columns(("REASON", "MEANING"), rows))
    found = find(reason)
    if isinstance(found, Entry):
        return show(as_value(found), output, lambda: text_of(found))
    near = f"; near: {', '.join(found)}" if found else "; `tenantry explain` lists them"
    print(f"tenantry: there is no reason {reason}{near}", file=sys.stderr)
    raise typer.Exit(FAILED)


def find(reason: str) -> Entry | list[str]:
    """Return the entry of a reason, in capitals or not; else the names that are like it."""
    by_name = {entry.reason.value.lower(): entry for entry in TABLE}
    asked = reason.strip().lower()
    if asked in by_name:
        return by_name[asked]
    near = difflib.get_close_matches(asked, by_name, n=4, cutoff=0.4)
    within = [name for name in by_name if len(asked) >= 4 and asked in name]
    return [by_name[name].reason.value for name in dict.fromkeys([*within, *near])]


def as_value(entry: Entry) -> dict[str, Any]:
    """Return one row of the table for programs."""
    return {
        "reason": entry.reason.value,
        "conditions": [one.value for one in entry.conditions],
        "meaning": entry.meaning,
        "remedy": entry.remedy,
        "commands": list(RUNBOOKS.get(entry.reason, ())),
    }


def text_of(entry: Entry) -> Group:
    carriers = ", ".join(entry.conditions) or "Events only"
    commands = (Text(f"  {command}", style="cyan") for command in RUNBOOKS.get(entry.reason, ()))
    return Group(
        Text(entry.reason.value, style="bold"),
        Text(f"  carried by  {carriers}"),
        Text(f"  it means    {entry.meaning}"),
        Text(f"  what to do  {entry.remedy}"),
        Text("commands", style="bold"),
        *commands,
    )
