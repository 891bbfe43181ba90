import io

import pytest

from tenantry_cluster import Steps


class Clock:
    """Moves on by what is added to it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_step_that_ends_well_is_one_line_with_its_seconds() -> None:
    out, clock = io.StringIO(), Clock()
    with Steps(out, clock).step("Build") as step:
        clock.now += 12.34
        step.result("three programs")
    assert out.getvalue() == "  OK     12.3 s  Build: three programs\n"


def test_a_step_that_fails_says_so_and_lets_the_error_pass() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="broken"), Steps(out, Clock()).step("Build"):
        raise ValueError("broken")
    assert out.getvalue() == "  FAIL    0.0 s  Build\n"


def test_an_interrupted_step_is_not_ok() -> None:
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Steps(out, Clock()).step("Build"):
        raise KeyboardInterrupt
    assert "FAIL" in out.getvalue()


def test_a_log_gets_a_line_of_progress_now_and_then() -> None:
    out, clock = io.StringIO(), Clock()
    with Steps(out, clock).step("Build") as step:
        for done in range(100):
            clock.now += 1
            step.note(f"{done} of 100")
    progress = out.getvalue().splitlines()[:-1]
    assert progress == [f"  ...  Build: {done} of 100" for done in (19, 39, 59, 79, 99)]


def test_a_terminal_has_its_line_rewritten() -> None:
    out = Terminal()
    with Steps(out, Clock()).step("Build") as step:
        step.note("1 of 2")
    assert out.getvalue().endswith("\r\033[K  ...  Build: 1 of 2\r\033[K  OK      0.0 s  Build\n")
