"""What a MigrationRun asks for, and what was seen of all tenants' schemas."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Wave:
    """Whom a wave takes: Tenants with all `labels`, or `percent` of the rest, or, without both, everybody left."""

    labels: frozenset[tuple[str, str]] | None = None
    percent: int | None = None
    max_parallel: int = 4


@dataclass(frozen=True)
class Line:
    """The tenant history, without its SQL: the revisions, oldest first, each with its phase."""

    phases: Mapping[str, str]

    @property
    def revisions(self) -> tuple[str, ...]:
        return tuple(self.phases)

    def position(self, revision: str | None) -> int:
        """Say how many revisions lead to this one; 0 for none and for one that is not known."""
        return self.revisions.index(revision) + 1 if revision in self.phases else 0

    def reaches(self, revision: str | None, to: str) -> bool:
        """Say whether a schema at `revision` has what `to` brings."""
        return revision in self.phases and self.position(revision) >= self.position(to)

    def between(self, start: str | None, to: str) -> tuple[str, ...]:
        """Return the revisions after `start` up to `to`; none when `to` is not after it."""
        return self.revisions[self.position(start) : self.position(to)]


LAST_WAVE: Final = 10**6
"""The wave of a pool: whoever is last may be last with it, and what breaks it breaks all that are in it."""


@dataclass(frozen=True)
class Member:
    """A tenant that has a schema, or a server's pool, which is moved as one for all tenants in it."""

    name: str
    id: str
    uid: str
    server: str
    database: str
    version: str
    """What the schema itself says; while its server cannot be asked, the registry's copy."""
    copy: str | None = None
    """What the registry says."""
    labels: frozenset[tuple[str, str]] = frozenset()
    wave: int | None = None
    """The Tenant's own; the first is 1."""
    hold: bool = False
    pooled: bool = False
    """Whether it is a pool."""

    @property
    def life(self) -> str:
        """Identify this very Tenant, or pool: one that is made again under the name, or restored, is another."""
        return self.uid or self.id


@dataclass(frozen=True)
class DesiredRun:
    """What the MigrationRun says, with every absent field replaced by what it means."""

    to: str
    phase: str
    waves: tuple[Wave, ...]
    """The last one takes the rest."""
    failure_budget: int = 0
    dry_run: bool = False
    lock_timeout: str = "3s"


@dataclass(frozen=True)
class ObservedFleet:
    """Everything that a run's plan needs to know."""

    line: Line
    released: str
    members: tuple[Member, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    """Names of Tenants that could not be moved in this run, with what Postgres said."""
