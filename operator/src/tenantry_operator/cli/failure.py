"""How a command ends when it cannot do what it was asked."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

FAILED = 1


class CommandFailed(Exception):
    """The message is for the user; the exit code is 1."""


@contextmanager
def told() -> Iterator[None]:
    """Print a CommandFailed to standard error and end with its code."""
    try:
        yield
    except CommandFailed as failure:
        print(f"tenantry: {failure}", file=sys.stderr)
        raise typer.Exit(FAILED) from failure
