"""The suite's surroundings: the demo comes up before pytest begins, and pytest's word is the last one."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from tenantry_cluster import ClusterError, Layout, Steps
from tenantry_testing.e2e import SETUP_FAILED, Suite


class Stage:
    """Records what happens, in order; `fails` names the parts that fail."""

    def __init__(self, folder: Path, *, fails: frozenset[str] = frozenset(), code: int = 0, keep: bool = False) -> None:
        self.layout = Layout(folder)
        self.layout.state.mkdir(parents=True, exist_ok=True)
        self.out = io.StringIO()
        self.happened: list[str] = []
        self._fails = fails
        self._code = code
        self.suite = Suite(
            Steps(self.out),
            self.layout,
            bring_up=lambda *_: self._happens("up"),
            take_down=lambda *_: self._happens("down"),
            run=self._pytest,
            keep=keep,
        )

    def _happens(self, what: str) -> None:
        self.happened.append(what)
        if what in self._fails:
            raise ClusterError(f"{what} went wrong", cure="mend it")

    def _pytest(self, command: Sequence[str]) -> int:
        self.happened.append("pytest")
        self.command = list(command)
        return self._code


def test_the_demo_is_up_before_pytest_and_down_after_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.suite(["-k", "rest"]) == 0
    assert stage.happened == ["up", "pytest", "down"]
    assert stage.command[-2:] == ["-k", "rest"]


@pytest.mark.parametrize("code", [1, 5])
def test_the_exit_code_is_that_of_pytest(tmp_path: Path, code: int) -> None:
    stage = Stage(tmp_path, code=code, fails=frozenset({"down"}))
    assert stage.suite([]) == code
    assert "down went wrong" in stage.out.getvalue()


def test_without_a_demo_nothing_is_tested_and_the_suite_fails(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fails=frozenset({"up"}))
    assert stage.suite([]) == SETUP_FAILED
    assert stage.happened == ["up", "down"]
    assert "mend it" in stage.out.getvalue()


def test_a_cluster_that_was_up_stays_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.layout.record.write_text("{}")
    stage.suite([])
    assert stage.happened == ["up", "pytest"]


def test_a_cluster_is_kept_on_request(tmp_path: Path) -> None:
    stage = Stage(tmp_path, keep=True)
    stage.suite([])
    assert stage.happened == ["up", "pytest"]
