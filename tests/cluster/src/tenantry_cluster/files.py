"""Writing files so that a run that is killed leaves the old content or the new, never a part."""

import os
from pathlib import Path

PRIVATE = 0o600


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole; one that holds the same already stays untouched."""
    wanted = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == wanted:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write at once: each has a file of its own, and the last one stays.
    young = path.with_name(f".{path.name}.{os.getpid()}")
    young.unlink(missing_ok=True)
    young.touch(mode=mode)
    young.write_bytes(wanted)
    young.replace(path)
