"""The pages of the command and of the operator's settings are those that the code gives."""

from pathlib import Path

import pytest

from tenantry_crds.render import ROOT
from tenantry_operator.cli import reference


def test_no_page_is_out_of_date() -> None:
    assert reference.outdated(ROOT) == [], f"run `{reference.CURE}` or `make render`"


def test_a_page_that_differs_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs/reference").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / reference.CLI_PAGE).write_text("changed")
    assert reference.main(["--check"]) == 1
    assert f"{reference.CLI_PAGE} is out of date; run: {reference.CURE}" in capsys.readouterr().err


def test_the_page_has_every_command_and_its_codes() -> None:
    page = reference.cli_page()
    for name in ("doctor", "plan", "explain", "tenant status", "tenant psql", "tenant create-key", "operator run"):
        assert f"## `tenantry {name}`" in page
    assert "## Exit codes" in page
