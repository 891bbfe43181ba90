"""The command: help, versions, plug-ins, exit codes."""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tenantry_crds.reasons import Reason
from tenantry_kit.keys import SCOPES
from tenantry_operator.cli import app as app_module
from tenantry_operator.cli.app import application, own_commands
from tenantry_operator.settings import OperatorSettings

runner = CliRunner()


def test_without_a_command_the_commands_are_listed() -> None:
    result = runner.invoke(application(), [])
    for command in ("operator", "tenant", "version"):
        assert command in result.output


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words."""
    command = command or typer.main.get_command(own_commands())
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from commands(below, (*path, name))


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    result = runner.invoke(application(), [*words, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_the_cluster_is_named_alike_everywhere() -> None:
    """A command that asks the cluster takes these by the same names; only those that are listed ask none."""
    without = {("version",), ("explain",), ("operator", "run"), ("migrate", "sql")}
    without |= {("db", verb) for verb in ("init", "start", "stop", "status", "reset")}
    wanted = {"--kubeconfig", "--context"}
    for words, command in commands():
        options = {option for one in command.params for option in one.opts}
        assert options & wanted == (set() if words in without else wanted), words


def test_every_command_of_a_user_shows_examples() -> None:
    lacking = [words for words, command in commands() if not command.epilog]
    assert lacking == [("version",), ("operator", "run")]


def test_kubectl_finds_the_command_as_a_plug_in() -> None:
    scripts = {entry.name: entry.value for entry in importlib.metadata.entry_points(group="console_scripts")}
    assert scripts["kubectl-tenantry"] == scripts["tenantry"]
    program = Path(sys.executable).with_name("kubectl-tenantry")
    done = subprocess.run([str(program), "explain", "--help"], capture_output=True, text=True, check=True)
    assert "Usage: kubectl tenantry explain" in done.stdout


def test_a_reason_is_explained_in_any_case_and_a_mistyped_one_near_to_it() -> None:
    result = runner.invoke(application(), ["explain", "notours"])
    assert result.exit_code == 0
    assert "NotOurs" in result.stdout
    assert "tenantry plan -f <file>" in result.stdout
    wrong = runner.invoke(application(), ["explain", "NotOur"])
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "near: NotOurs" in wrong.stderr


def test_all_reasons_are_listed_for_people_and_for_programs() -> None:
    listed = json.loads(runner.invoke(application(), ["explain", "-o", "json"]).stdout)
    assert {one["reason"] for one in listed} == set(Reason)
    table = runner.invoke(application(), ["explain"]).stdout
    assert all(reason.value in table for reason in Reason)


def test_a_mistake_in_a_plans_command_line_does_not_look_like_changes() -> None:
    assert runner.invoke(application(), ["plan", "--nonsense"]).exit_code == 1
    assert runner.invoke(application(), ["plan"]).exit_code == 1
    assert runner.invoke(application(), ["doctor", "--nonsense"]).exit_code == 2


@pytest.mark.parametrize("scope", ["nonsense", "users:reed", "users"])
def test_a_scope_that_no_route_asks_for_is_refused_with_those_that_are_known(scope: str) -> None:
    words = ["tenant", "create-key", "acme", "--scope", scope, "--postgres-url", "postgresql://127.0.0.1:1/none"]
    result = runner.invoke(application(), words)
    assert result.exit_code == 2
    for known in SCOPES:
        assert known in result.output


def test_the_operators_help_names_the_page_of_its_variables() -> None:
    assert "docs/reference/operator-settings.md" in runner.invoke(application(), ["operator", "run", "--help"]).output


def test_each_setting_says_what_it_means() -> None:
    assert [name for name, field in OperatorSettings.model_fields.items() if not field.description] == []


def test_the_version_is_the_packages() -> None:
    result = runner.invoke(application(), ["version", "--short"])
    assert result.output.strip() == importlib.metadata.version("tenantry-operator")


@pytest.mark.parametrize(
    "words",
    [
        ["--environment", "PROD"],
        ["--environment", "x"],
        ["--expires-in", "soon"],
        ["--expires-in", "0d"],
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(words: list[str]) -> None:
    url = ["--postgres-url", "postgresql://127.0.0.1:1/none"]
    result = runner.invoke(application(), ["tenant", "create-key", "acme", *url, *words])
    assert result.exit_code == 2
    assert words[0] in result.output


def test_a_registry_that_cannot_be_reached_is_told_in_one_line() -> None:
    url = "postgresql://somebody:hunter2@127.0.0.1:1/none"
    result = runner.invoke(application(), ["tenant", "create-key", "acme", "--postgres-url", url])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("tenantry: cannot connect to the registry: nothing listens there")
    assert "hunter2" not in result.output


class Entry:
    """An entry point of another package."""

    value = "elsewhere:app"

    def __init__(self, name: str, loaded: object) -> None:
        self.name = name
        self._loaded = loaded

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def test_other_packages_add_commands_and_a_broken_one_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = typer.Typer()

    @extra.command()
    def hello() -> None:
        typer.echo("hello")

    @extra.command()
    def bye() -> None:
        typer.echo("bye")

    entries = [Entry("extra", extra), Entry("broken", ImportError("no such thing"))]
    monkeypatch.setattr(app_module.importlib.metadata, "entry_points", lambda **_: entries)
    app = application()
    assert "broken" in capsys.readouterr().err
    assert runner.invoke(app, ["extra", "hello"]).output == "hello\n"
