"""Files that somebody else replaces while we run: mounted Secrets, which the kubelet refreshes."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

RECHECK_SECONDS = 1.0


def read_directory(directory: Path) -> Mapping[str, str]:
    """Return the files of a mounted Secret by name; empty when there is no directory.

    The kubelet's own entries (`..data`, `..2026_…`) are left out.
    """
    try:
        files = [path for path in directory.iterdir() if not path.name.startswith(".") and path.is_file()]
        return {path.name: path.read_text() for path in files}
    except FileNotFoundError:
        return {}


class MountedDirectory:
    """The content of a mounted Secret, read again when it changed, looked at no more than once in a second."""

    def __init__(
        self, directory: Path, monotonic: Callable[[], float] = time.monotonic, *, recheck: float = RECHECK_SECONDS
    ) -> None:
        self.directory = directory
        self._monotonic = monotonic
        self._recheck = recheck
        self._looked_at: float | None = None
        self._content: Mapping[str, str] = {}

    def read(self, *, now: bool = False) -> Mapping[str, str]:
        """Return the files by name. With `now` they are read even if that was done a moment ago."""
        moment = self._monotonic()
        if now or self._looked_at is None or moment - self._looked_at >= self._recheck:
            self._looked_at = moment
            self._content = read_directory(self.directory)
        return self._content


class MountedText:
    """The text of one mounted file, stripped, read again when it changed."""

    def __init__(
        self, path: Path, monotonic: Callable[[], float] = time.monotonic, *, recheck: float = RECHECK_SECONDS
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._recheck = recheck
        self._looked_at: float | None = None
        self._text = ""

    def __call__(self) -> str:
        """Return the text. Raises OSError when the file has never been readable."""
        moment = self._monotonic()
        if self._looked_at is None or moment - self._looked_at >= self._recheck:
            try:
                self._text = self._path.read_text().strip()
            except FileNotFoundError:
                # Between two versions of a mount there may be no file for an instant; the last text still holds.
                if self._looked_at is None:
                    raise
            self._looked_at = moment
        return self._text


def fingerprint(content: Mapping[str, str]) -> str:
    """Return a digest that changes when any file does."""
    parts = "\0".join(f"{name}\0{content[name]}" for name in sorted(content))
    return hashlib.sha256(parts.encode()).hexdigest()
