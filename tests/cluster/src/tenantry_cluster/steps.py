"""Named steps on the terminal: one line each, with OK or FAIL and the seconds that it took."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

# A log that nobody watches gets a line of progress now and then; a terminal gets its line rewritten.
SECONDS_BETWEEN_LINES = 20.0


class Step:
    """One step in progress."""

    def __init__(self, title: str, show: Callable[[str], None]) -> None:
        self.title = title
        self._show = show

    def note(self, progress: str) -> None:
        """Show how far the step is, for a step that takes long."""
        self._show(f"{self.title}: {progress}")

    def result(self, text: str) -> None:
        """Say more in the step's last line than its title did."""
        self.title = f"{self.title}: {text}"


class Steps:
    """Prints steps as they end; `out` absent means the standard output of the moment."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._shown_at = clock()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Print `OK` and the seconds when the body ends, or `FAIL` and let its exception pass."""
        started = self._shown_at = self._clock()
        step = Step(title, self._progress)
        try:
            yield step
        except BaseException:
            self._line("FAIL", started, step.title)
            raise
        self._line("OK", started, step.title)

    def say(self, text: str = "") -> None:
        """Print a line that is no step."""
        self._write(f"{text}\n")

    def _line(self, verdict: str, started: float, title: str) -> None:
        clear = "\r\033[K" if self._terminal() else ""
        self._write(f"{clear}  {verdict:<4} {self._clock() - started:6.1f} s  {title}\n")

    def _progress(self, text: str) -> None:
        if self._terminal():
            self._write(f"\r\033[K  ...  {text}")
        elif self._clock() - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._shown_at = self._clock()
            self._write(f"  ...  {text}\n")

    def _terminal(self) -> bool:
        return (self._out or sys.stdout).isatty()

    def _write(self, text: str) -> None:
        out = self._out or sys.stdout
        out.write(text)
        out.flush()
