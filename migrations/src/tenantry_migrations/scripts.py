"""Alembic's scripts, read and rendered: what `make render` does, and who tries a history that is not rendered yet.

Nobody who replays a history imports this: Alembic and SQLAlchemy take a third of the memory of an operator.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from tenantry_migrations.errors import WrongHistory
from tenantry_migrations.history import PHASES, History, Privilege, Revision, Step
from tenantry_migrations.offline import render_script

_HERE: Final = Path(__file__).parent

TENANT_SCRIPTS: Final = _HERE / "tenant"
REGISTRY_SCRIPTS: Final = _HERE / "registry"
DIRECTORY_SCRIPTS: Final = _HERE / "directory"

GRANTABLE: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
"""What a service may be granted on a table: rows, never its shape."""

Grants = Mapping[str, Mapping[str, str]]
"""Table, then service, then privileges as words: `{"users": {"accounts": "SELECT INSERT"}}`."""


def history_of(folder: Path, *, grants_in_steps: bool = True) -> History:
    """Return the history of the scripts under `folder/versions`. Its first use raises WrongHistory if they are none."""
    return History(lambda: render_revisions(folder, grants_in_steps=grants_in_steps))


def render_revisions(folder: Path, *, grants_in_steps: bool = True) -> Sequence[Revision]:
    """Render the scripts under `folder/versions`, oldest first. Raises WrongHistory.

    With `grants_in_steps` false the declared privileges are for the caller to grant, to logins that come and go.
    """
    scripts = read_scripts(folder)
    granted = granted_after(scripts)
    before = (frozenset[Privilege](), *granted)
    return [
        Revision(
            Step(
                revision=script.revision,
                phase=script.module.phase,
                statements=(
                    *render_script(script),
                    *(_grant_statements(had, has, _grants_of(script)) if grants_in_steps else ()),
                ),
                previous=previous,
            ),
            has,
        )
        for script, had, has, previous in zip(scripts, before, granted, previous_of(scripts), strict=False)
    ]


def read_scripts(folder: Path) -> tuple[Script, ...]:
    """Return the scripts, oldest first. Raises WrongHistory: not one line, none, or one that hides what it is."""
    directory = ScriptDirectory(folder)
    try:
        scripts = list(directory.walk_revisions("base", "heads"))
        head = directory.get_current_head()
    except CommandError as error:
        raise WrongHistory(f"{folder} is not one line of revisions: {error}") from error
    if not scripts:
        raise WrongHistory(f"no revision in {folder}")
    if any(script.is_merge_point for script in scripts) or head is None:
        raise WrongHistory(f"{folder} is not one line of revisions")
    for script in scripts:
        _check_declarations(script)
    return tuple(reversed(scripts))


def previous_of(scripts: Sequence[Script]) -> tuple[str | None, ...]:
    """Return for each script which revision comes before it."""
    return (None, *(script.revision for script in scripts[:-1]))


def granted_after(scripts: Sequence[Script]) -> tuple[frozenset[Privilege], ...]:
    """Return what services hold after each revision."""
    tables: dict[str, Mapping[str, str]] = {}
    result = []
    for script in scripts:
        tables |= _grants_of(script)
        result.append(frozenset(_privileges(tables)))
    return tuple(result)


def _grants_of(script: Script) -> Grants:
    grants: Grants = script.module.grants
    return grants


def _check_declarations(script: Script) -> None:
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
