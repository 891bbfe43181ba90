"""One run at a time: two that start or stop one checkout's cluster together would undo each other's work."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenantry_cluster.layout import Layout
from tenantry_cluster.steps import Steps


@contextmanager
def alone(steps: Steps, layout: Layout) -> Iterator[None]:
    """Hold this checkout's lock; wait for another run that holds it. A run that is killed lets go of it."""
    layout.state.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            with steps.step(f"Wait for another run (process {file.read().strip() or 'unknown'})"):
                fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def only_one(file: Path) -> Iterator[None]:
    """Wait until nobody else, in this process or another, is inside for the same file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
