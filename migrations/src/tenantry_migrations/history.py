"""A history: one line of revisions, each rendered to SQL text.

What ships is read from `rendered/`, so that nobody who replays a history loads Alembic; `scripts` renders it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from tenantry_migrations.errors import NotAnUpgrade, UnknownRevision

PHASES: Final = ("expand", "contract")


@dataclass(frozen=True, order=True)
class Privilege:
    """What one service may do with one table."""

    table: str
    service: str
    privileges: frozenset[str]


@dataclass(frozen=True)
class Step:
    """The way from the revision before to this one.

    Statements are SQL text, one statement each without a semicolon, with placeholders `{role:<service>}` and
    `{schema}`. They end with the grants; the write of the version table comes with `render`.
    """

    revision: str
    phase: str
    statements: tuple[str, ...]
    previous: str | None = None


@dataclass(frozen=True)
class Revision:
    """The step to a revision, and what there is at it."""

    step: Step
    privileges: frozenset[Privilege]
    tables: tuple[str, ...] = ()
    """Of the pool: in the order in which they were made."""
    customers: frozenset[str] = frozenset()
    """Of the pool: the tables whose rows a customer reads itself."""


class History:
    """Revisions, oldest first. They are read once, at first use."""

    def __init__(self, read: Callable[[], Sequence[Revision]]) -> None:
        self._read = read

    @property
    def head(self) -> str:
        """The newest revision."""
        return self.revisions[-1]

    @cached_property
    def revisions(self) -> tuple[str, ...]:
        """All revisions, oldest first."""
        return tuple(one.step.revision for one in self.line)

    def steps(self, start: str | None, to: str) -> tuple[Step, ...]:
        """Return the steps from `start` (None: an empty schema) to `to`, oldest first; none when they are the same.

        Raises UnknownRevision when the history lacks one of them, NotAnUpgrade when `to` lies before `start`.
        """
        begin = 0 if start is None else self.position(start) + 1
        end = self.position(to) + 1
        if end < begin:
            raise NotAnUpgrade(f"{to} lies before {start}")
        return tuple(one.step for one in self.line[begin:end])

    def privileges(self, revision: str) -> tuple[Privilege, ...]:
        """Every privilege that services hold at a revision, sorted; a table that is not named is nobody's."""
        granted = self.line[self.position(revision)].privileges
        return tuple(sorted(granted, key=lambda privilege: (privilege.table, privilege.service)))

    def position(self, revision: str) -> int:
        """Return the place in the line, from 0. Raises UnknownRevision."""
        try:
            return self.revisions.index(revision)
        except ValueError:
            raise UnknownRevision(f"this version knows no revision {revision!r}; its newest is {self.head}") from None

    @cached_property
    def line(self) -> tuple[Revision, ...]:
        return tuple(self._read())
