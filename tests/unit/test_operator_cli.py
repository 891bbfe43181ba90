"""The command: help, versions, plug-ins, exit codes."""

import importlib.metadata

import pytest
import typer
from typer.testing import CliRunner

from tenantry_operator.cli import app as app_module
from tenantry_operator.cli.app import application

runner = CliRunner()


def test_without_a_command_the_commands_are_listed() -> None:
    result = runner.invoke(application(), [])
    for command in ("operator", "tenant", "version"):
        assert command in result.output


@pytest.mark.parametrize("words", [["operator", "run"], ["tenant", "create-key"], ["version"]])
def test_every_command_has_help(words: list[str]) -> None:
    assert runner.invoke(application(), [*words, "--help"]).exit_code == 0


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
