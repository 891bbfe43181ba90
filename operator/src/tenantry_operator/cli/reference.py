"""`python -m tenantry_operator.cli.reference [--check]`: the pages of the command, the operator's settings and metrics.

Writes `cli.md`, `operator-settings.md` and `metrics.md` into `docs/reference` under the current directory. With
`--check` it writes nothing and ends with 1 when one of them is out of date. Commands of plug-ins are not in them.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tenantry_operator.cli.app import own_commands
from tenantry_operator.cli.metrics_page import metrics_page
from tenantry_operator.settings import OperatorSettings

CURE: Final = "python -m tenantry_operator.cli.reference"
HEADER: Final = f"<!-- Written by `{CURE}`. Edit the code, not this file. -->\n"
CLI_PAGE: Final = "docs/reference/cli.md"
SETTINGS_PAGE: Final = "docs/reference/operator-settings.md"
METRICS_PAGE: Final = "docs/reference/metrics.md"

EXIT_CODES: Final = """\
| code | means |
|---|---|
| 0 | done; for `plan`: there is nothing to do; for `doctor`: nothing fails |
| 1 | not done, and why is on standard error; for `plan`: refused, blocked, unknown, a mistake in the command line |
| 2 | a mistake in the command line; for `plan`: there are changes |
| 3 | `tenant suspend`, `archive`, `resume`, `rotate` and `restore`: asked for, and not so within `--timeout` |

`tenant psql` ends as psql does, `operator run` as its own text says.
"""


def pages() -> Mapping[str, str]:
    """Return the generated pages by their path in the repository."""
    return {CLI_PAGE: cli_page(), SETTINGS_PAGE: settings_page(), METRICS_PAGE: metrics_page(HEADER)}


def cli_page() -> str:
    """Write the reference of the command."""
    root = typer.main.get_command(own_commands())
    parts = [
        HEADER,
        "# The command `tenantry`\n",
        "The package installs `kubectl-tenantry` too: with it on PATH, each of these is `kubectl tenantry …` also.\n",
        "## Exit codes\n",
        EXIT_CODES,
        *_commands(root, "tenantry"),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _commands(command: Any, path: str) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is None:
        yield _command(command, path)
        return
    for name in sorted(below):
        yield from _commands(below[name], f"{path} {name}")


def _command(command: Any, path: str) -> str:
    lines = [f"## `{path}`\n", f"{_prose(command.help or '')}\n"]
    parameters = [one for one in command.params if one.name != "help"]
    if parameters:
        lines += ["| option | default | means |", "|---|---|---|", *map(_parameter, parameters), ""]
    if command.epilog:
        lines.append(f"{command.epilog}\n")
    return "\n".join(lines)


def _parameter(one: Any) -> str:
    if one.param_type_name == "argument":
        name = f"`{one.metavar or (one.name or '').upper()}`"
    else:
        name = ", ".join(f"`{option}`" for option in (*one.opts, *one.secondary_opts))
    default = getattr(one.default, "value", one.default)
    shown = "" if default in (None, False, ...) or callable(default) or one.required else f"`{default}`"
    variable = f" Also by `{one.envvar}`." if one.envvar else ""
    needed = " Required." if one.required else ""
    annotation = one.type_descriptor.annotation
    choices = annotation if isinstance(annotation, type) and issubclass(annotation, Enum) else ()
    named = ", ".join(f"`{choice.value}`" for choice in choices)
    among = f" One of {named}." if named else ""
    meaning = f"{one.help or ''}{among}{variable}{needed}".strip().replace("|", "\\|")
    return f"| {name} | {shown} | {meaning} |"


def _prose(text: str) -> str:
    """Keep paragraphs, and join the lines within them."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))


def settings_page() -> str:
    """Write the reference of the operator's environment variables."""
    rows = (_setting(name, field) for name, field in OperatorSettings.model_fields.items())
    parts = [
        HEADER,
        "# Settings of the operator\n",
        "Environment variables of `tenantry operator run`. The chart `tenantry` sets what it must. What makes no sense "
        "is refused at start, by name, with exit code 2. Durations are seconds.\n",
        "| variable | default | means |",
        "|---|---|---|",
        *rows,
    ]
    return "\n".join(parts) + "\n"


def _setting(name: str, field: FieldInfo) -> str:
    default = field.default
    if field.default_factory is not None:
        shown = "the host's name"
    elif default in (PydanticUndefined, None, ""):
        shown = ""
    else:
        shown = f"`{getattr(default, 'value', default)}`"
    meaning = " ".join((field.description or "").replace("``", "`").split())
    return f"| `TENANTRY_{name.upper()}` | {shown} | {meaning} |"


def outdated(root: Path) -> list[str]:
    """Return the pages under `root` that differ from what the code says."""
    return [path for path, text in pages().items() if _written(root / path) != text]


def _written(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def main(arguments: list[str]) -> int:
    """Write or check the pages; return the exit code."""
    root = Path.cwd()
    if arguments == ["--check"]:
        stale = outdated(root)
        for path in stale:
            sys.stderr.write(f"{path} is out of date; run: {CURE}\n")
        return 1 if stale else 0
    for path, text in pages().items():
        (root / path).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
