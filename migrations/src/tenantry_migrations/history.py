"""A history: one line of Alembic revisions, rendered to SQL text without a database.

Alembic is imported at the first use of a history: most commands use none, and to import it takes longer than they do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tenantry_migrations.errors import NotAnUpgrade, UnknownRevision, WrongHistory

if TYPE_CHECKING:
    from alembic.script import Script

PHASES: Final = ("expand", "contract")

GRANTABLE: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
"""What a service may be granted on a table: rows, never its shape."""

Grants = Mapping[str, Mapping[str, str]]
"""Table, then service, then privileges as words: `{"users": {"accounts": "SELECT INSERT"}}`."""


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


class History:
    """The scripts under `folder/versions`, oldest first. Reading and rendering happen once, at first use.

    With `grants_in_steps` false the declared privileges are for the caller to grant, to logins that come and go.
    """

    def __init__(self, folder: Path, *, grants_in_steps: bool = True) -> None:
        self.folder = folder
        self.grants_in_steps = grants_in_steps

    @property
    def head(self) -> str:
        """The newest revision."""
        return self.revisions[-1]

    @cached_property
    def revisions(self) -> tuple[str, ...]:
        """All revisions, oldest first. Raises WrongHistory when they are not one line, or one declares no phase."""
        scripts = self.scripts
        if not scripts:
            raise WrongHistory(f"no revision in {self.folder}")
        return tuple(script.revision for script in scripts)

    def steps(self, start: str | None, to: str) -> tuple[Step, ...]:
        """Return the steps from `start` (None: an empty schema) to `to`, oldest first; none when they are the same.

        Raises UnknownRevision when the history lacks one of them, NotAnUpgrade when `to` lies before `start`.
        """
        begin = 0 if start is None else self._position(start) + 1
        end = self._position(to) + 1
        if end < begin:
            raise NotAnUpgrade(f"{to} lies before {start}")
        return self._steps[begin:end]

    def privileges(self, revision: str) -> tuple[Privilege, ...]:
        """Every privilege that services hold at a revision, sorted; a table that is not named is nobody's."""
        granted = self._granted[self._position(revision)]
        return tuple(sorted(granted, key=lambda privilege: (privilege.table, privilege.service)))

    def _position(self, revision: str) -> int:
        try:
            return self.revisions.index(revision)
        except ValueError:
            raise UnknownRevision(f"this version knows no revision {revision!r}; its newest is {self.head}") from None

    @cached_property
    def scripts(self) -> "tuple[Script, ...]":
        """The scripts, oldest first. Raises WrongHistory."""
        from alembic.script import ScriptDirectory  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        directory = ScriptDirectory(self.folder)
        try:
            scripts = list(directory.walk_revisions("base", "heads"))
            head = directory.get_current_head()
        except CommandError as error:
            raise WrongHistory(f"{self.folder} is not one line of revisions: {error}") from error
        if any(script.is_merge_point for script in scripts) or (scripts and head is None):
            raise WrongHistory(f"{self.folder} is not one line of revisions")
        for script in scripts:
            _check_declarations(script)
        return tuple(reversed(scripts))

    @cached_property
    def _granted(self) -> tuple[frozenset[Privilege], ...]:
        """What is granted after each revision."""
        tables: dict[str, Mapping[str, str]] = {}
        result = []
        for script in self.scripts:
            tables |= _grants_of(script)
            result.append(frozenset(_privileges(tables)))
        return tuple(result)

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(self._step(position) for position in range(len(self.revisions)))

    def _step(self, position: int) -> Step:
        from tenantry_migrations.offline import render_script  # noqa: PLC0415

        script = self.scripts[position]
        return Step(
            revision=script.revision,
            phase=script.module.phase,
            statements=(*render_script(script), *self._grant_statements(position)),
            previous=self.revisions[position - 1] if position else None,
        )

    def _grant_statements(self, position: int) -> Iterable[str]:
        if not self.grants_in_steps:
            return ()
        before = self._granted[position - 1] if position else frozenset[Privilege]()
        return _grant_statements(before, self._granted[position], _grants_of(self.scripts[position]))


def _grants_of(script: "Script") -> Grants:
    grants: Grants = script.module.grants
    return grants


def _check_declarations(script: "Script") -> None:
    """Raise WrongHistory unless the script says its phase and what it grants."""
    if getattr(script.module, "phase", None) not in PHASES:
        raise WrongHistory(f"{script.revision} must declare phase = {' or '.join(map(repr, PHASES))}")
    if not isinstance(getattr(script.module, "grants", None), dict):
        raise WrongHistory(f"{script.revision} must declare grants = {{table: {{service: privileges}}}}; {{}} for none")
    words = {word for services in _grants_of(script).values() for held in services.values() for word in held.split()}
    if unknown := words - GRANTABLE:
        raise WrongHistory(f"{script.revision} grants {', '.join(sorted(unknown))}, which no service may hold")


def _privileges(tables: Grants) -> Iterable[Privilege]:
    for table, services in tables.items():
        for service, words in services.items():
            yield Privilege(table, service, frozenset(words.split()))


def _grant_statements(before: frozenset[Privilege], after: frozenset[Privilege], named: Grants) -> Iterable[str]:
    """Grants and revokes that lead from one state to the other, for the tables that the revision names.

    A table with no entry left and dropped by the script itself must not be named: its privileges went with it.
    """
    held = {(p.table, p.service): p.privileges for p in before}
    wanted = {(p.table, p.service): p.privileges for p in after}
    for table, service in sorted(key for key in held.keys() | wanted.keys() if key[0] in named):
        had, wants = (state.get((table, service), frozenset[str]()) for state in (held, wanted))
        if revoked := had - wants:
            yield f'REVOKE {", ".join(sorted(revoked))} ON "{table}" FROM {{role:{service}}}'
        if granted := wants - had:
            yield f'GRANT {", ".join(sorted(granted))} ON "{table}" TO {{role:{service}}}'
