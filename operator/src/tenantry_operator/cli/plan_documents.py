"""The documents that `tenantry plan` is given, and what they would change in the cluster."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tenantry_crds import names
from tenantry_crds.kinds import KINDS
from tenantry_operator.cli.failure import CommandFailed

STDIN: Final = "-"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Document:
    """One object of a file."""

    source: str
    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body.get("kind", ""))

    @property
    def name(self) -> str:
        return str((self.body.get("metadata") or {}).get("name") or "")

    @property
    def title(self) -> str:
        return f"{self.kind or 'document'} {self.name}".strip()


@dataclass(frozen=True)
class Change:
    """One field that differs; None stands for absent."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.after)}"


def read_documents(files: Sequence[str]) -> list[Document]:
    """Read files, folders, or standard input for `-`; lists are taken apart. Raises CommandFailed."""
    found = [document for name in files for source, text in _texts(name) for document in _parse(source, text)]
    if not found:
        raise CommandFailed(f"there is no document in {', '.join(files)}")
    return found


def _texts(name: str) -> Iterator[tuple[str, str]]:
    try:
        if name == STDIN:
            yield "standard input", sys.stdin.read()
            return
        path = Path(name)
        paths = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES) if path.is_dir() else [path]
        for one in paths:
            yield str(one), one.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error


def _parse(source: str, text: str) -> Iterator[Document]:
    try:
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        raise CommandFailed(f"{source} is no YAML: {str(error).replace(chr(10), ' ')}") from error
    for one in documents:
        if not isinstance(one, dict):
            raise CommandFailed(f"{source}: a document is no object")
        items = one.get("items") if str(one.get("kind", "")).endswith("List") else [one]
        yield from (Document(source, item) for item in items or () if isinstance(item, dict))


def is_ours(document: Document) -> bool:
    group = str(document.body.get("apiVersion", "")).partition("/")[0]
    return group == names.GROUP and document.kind in {kind.name for kind in KINDS}


def merged(live: Mapping[str, Any] | None, body: Mapping[str, Any], last: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the object that `kubectl apply` would ask for.

    What the file says, over what is there; what an earlier apply said and the file says no more is removed; what others
    set stays. Lists are replaced whole, as kubectl does for custom resources.
    """
    kept = {key: value for key, value in (live or {}).items() if key in body or key not in (last or {})}
    result = dict(kept)
    for key, value in body.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below, earlier = kept.get(key), (last or {}).get(key)
            result[key] = merged(
                below if isinstance(below, Mapping) else None, value, earlier if isinstance(earlier, Mapping) else None
            )
        else:
            result[key] = value
    return result


def changes(before: Any, after: Any, path: str = "spec") -> Iterator[Change]:
    """Yield the fields that differ, by their paths."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from changes(before.get(key), after.get(key), f"{path}.{key}")
    elif before != after:
        yield Change(path, before, after)


def _shown(value: Any) -> str:
    return "absent" if value is None else yaml.safe_dump(value, default_flow_style=True, width=1000).split("\n")[0]
