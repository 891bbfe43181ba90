"""Each reason has commands, and what they name exists."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tenantry_crds.kinds import KINDS
from tenantry_crds.pages import reasons_page
from tenantry_crds.reasons import Reason
from tenantry_crds.reasontable import TABLE
from tenantry_crds.runbooks import RUNBOOKS
from tenantry_operator.cli.app import own_commands

CURE = "give it a line in crds/src/tenantry_crds/runbooks.py"

KUBECTL_VERBS = {"apply", "create", "delete", "describe", "edit", "get", "logs", "patch", "scale", "wait"}
KUBECTL_KINDS = {
    *("configmap", "deployment", "events", "gateways", "httproute", "namespace", "pods", "secret", "services"),
    *(word for kind in KINDS for word in (kind.singular, kind.plural, kind.short_name, kind.crd_name)),
    *("crd", "job", "lease", "persistentvolumeclaims"),
}
WITHOUT_KIND = {"apply"}
OPTIONS_WITH_VALUE = {"-n", "--namespace", "-l", "-p", "--type", "-f", "-o"}


def commands() -> Iterator[str]:
    """Each command by itself: a pipe is two."""
    for lines in RUNBOOKS.values():
        for line in lines:
            yield from line.split(" | ")


def words_of(command: str) -> list[str]:
    return shlex.split(re.sub(r"<[a-z.-]+>", "x", command))


def test_every_reason_has_its_commands() -> None:
    assert {entry.reason for entry in TABLE} == set(Reason)
    lacking = sorted(reason.value for reason in Reason if not RUNBOOKS.get(reason))
    assert lacking == [], CURE


def test_the_page_shows_the_commands() -> None:
    row = next(line for line in reasons_page().splitlines() if line.startswith("| Protected |"))
    assert "`kubectl delete tenant <tenant>`" in row


def tenantry_mistake(words: list[str]) -> str | None:
    """What of a `tenantry …` does not exist."""
    command: Any = typer.main.get_command(own_commands())
    rest = list(words)
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        if name not in command.commands:
            return f"there is no command {name}"
        command = command.commands[name]
    if hasattr(command, "commands"):
        return "the command is not whole"
    known = {option for one in command.params for option in one.opts}
    wrong = [word for word in rest if word.startswith("-") and word != "-" and word.split("=")[0] not in known]
    return f"there is no option {wrong[0]}" if wrong else None


def kubectl_mistake(words: list[str]) -> str | None:
    """Which verb or kind of a `kubectl …` does not exist."""
    plain = []
    rest = iter(words)
    for word in rest:
        if word in OPTIONS_WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            plain.append(word)
    if not plain or plain[0] not in KUBECTL_VERBS:
        return f"kubectl has no verb {plain[:1]}"
    if plain[0] in WITHOUT_KIND:
        return None
    kind = plain[1].split("/")[0] if len(plain) > 1 else ""
    return None if kind in KUBECTL_KINDS else f"there is no kind {kind}"


def mistake(command: str) -> str | None:
    program, *words = words_of(command)
    if program == "tenantry":
        return tenantry_mistake(words)
    if program == "kubectl":
        return kubectl_mistake(words)
    return None if program in {"psql", "helm"} else f"{program} is not known here"


def test_what_the_commands_name_exists() -> None:
    assert {command: found for command in commands() if (found := mistake(command))} == {}


@pytest.mark.parametrize(
    "command",
    [
        "tenantry tenant heal <tenant>",
        "tenantry tenant status <tenant> --loudly",
        "tenantry tenant",
        "kubectl mend tenant <tenant>",
        "kubectl get tennants",
        "rm -rf <tenant>",
    ],
)
def test_a_command_that_names_what_is_not_there_is_noticed(command: str) -> None:
    assert mistake(command)
