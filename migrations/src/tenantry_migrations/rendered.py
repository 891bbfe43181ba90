"""What ships of a history: its revisions as JSON, one file each, written by `make render` and read by whoever replays.

    {"revision": "t0001", "phase": "expand", "privileges": {"users": {"accounts": "SELECT INSERT"}}, "statements": […]}

Of the pool also `tables`, in the order in which they were made, and `customers`, those whose rows a customer reads. The
number in front of the file's name is the revision's place in the line.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tenantry_migrations.errors import WrongHistory
from tenantry_migrations.history import Privilege, Revision, Step

RENDERED: Final = Path(__file__).parent / "rendered"


def read_rendered(name: str) -> Sequence[Revision]:
    """Return the revisions of the history that ships under this name, oldest first. Raises WrongHistory for none."""
    revisions: list[Revision] = []
    for file in sorted((RENDERED / name).glob("*.json")):
        previous = revisions[-1].step.revision if revisions else None
        revisions.append(_revision(json.loads(file.read_text(encoding="utf-8")), previous))
    if not revisions:
        raise WrongHistory(f"no revision in {RENDERED / name}; this installation is not whole")
    return revisions


def written(name: str, revisions: Sequence[Revision]) -> dict[Path, str]:
    """Return the files of a history, with their text."""
    return {
        RENDERED / name / f"{number:04}_{one.step.revision}.json": json.dumps(_body(one), indent=2) + "\n"
        for number, one in enumerate(revisions, start=1)
    }


def _revision(body: Mapping[str, Any], previous: str | None) -> Revision:
    privileges = frozenset(
        Privilege(table, service, frozenset(words.split()))
        for table, services in body["privileges"].items()
        for service, words in services.items()
    )
    step = Step(body["revision"], body["phase"], tuple(body["statements"]), previous)
    return Revision(step, privileges, tuple(body.get("tables", ())), frozenset(body.get("customers", ())))


def _body(one: Revision) -> dict[str, Any]:
    privileges: dict[str, dict[str, str]] = {}
    for held in sorted(one.privileges, key=lambda held: (held.table, held.service)):
        privileges.setdefault(held.table, {})[held.service] = " ".join(sorted(held.privileges))
    body: dict[str, Any] = {"revision": one.step.revision, "phase": one.step.phase, "privileges": privileges}
    if one.tables:
        body |= {"tables": list(one.tables), "customers": sorted(one.customers)}
    return {**body, "statements": list(one.step.statements)}
