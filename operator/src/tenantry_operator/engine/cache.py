"""What the API server was last seen to hold, fed by the watch and by our own writes."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any, Final

from tenantry_operator.engine.queue import Key

RawObject = dict[str, Any]

TOMBSTONES = 4096
"""How many deletions are remembered, so that the late answer to an own write does not bring an object back."""
TOLD_BY_MANAGERS: Final = frozenset({"ResourceQuota"})
"""Kinds of which only who wrote which field says that somebody changed them: a count moves their resourceVersion."""


class ObjectCache:
    """Raw Kubernetes objects by key. The newest resourceVersion wins, whoever brings it.

    A pass puts the answer of its own write here. The watch event of that write then tells nothing new,
    and starts no pass. But that answer may hold what somebody else asked for a moment before, whose own event comes
    too late to be news; then ``slipped_in`` is told the key.
    """

    def __init__(self) -> None:
        self.slipped_in: Callable[[Key], None] = lambda _key: None
        self._objects: dict[str, dict[Key, RawObject]] = {}
        self._removed: OrderedDict[Key, str] = OrderedDict()

    def get(self, key: Key) -> RawObject | None:
        return self._objects.get(key.kind, {}).get(key)

    def all(self, kind: str) -> tuple[RawObject, ...]:
        return tuple(self._objects.get(kind, {}).values())

    def keys(self, kind: str) -> tuple[Key, ...]:
        return tuple(self._objects.get(kind, {}))

    def observed(self, kind: str, obj: RawObject) -> bool:
        """Keep the object if it is newer than what is known; say whether it was."""
        key = key_of(kind, obj)
        version = resource_version(obj)
        if _not_newer(version, self._removed.get(key)):
            return False
        held = self.get(key)
        if held is not None and _not_newer(version, resource_version(held)):
            return False
        kept = obj if kind in TOLD_BY_MANAGERS else _without_managers(obj)
        _share_texts(kept)
        self._objects.setdefault(kind, {})[key] = kept
        self._removed.pop(key, None)
        return True

    def put(self, kind: str, obj: RawObject) -> None:
        """Record the answer to an own write, which changed nothing of what `asked_for` shows.

        The answer to the patch that takes the last finalizer bears the version from before it: the object is gone. It
        is kept until the watch says so, for who reads it sees that we have let go.
        """
        key = key_of(kind, obj)
        held = self.get(key)
        if held is not None and resource_version(held) == resource_version(obj) and _has_ended(held, obj):
            self._objects[kind][key] = _without_managers(obj)
            return
        if self.observed(kind, obj) and held is not None and asked_for(held) != asked_for(obj):
            self.slipped_in(key)

    def remove(self, key: Key, *, version: str = "") -> bool:
        """Forget a deleted object; say whether it was known.

        ``version`` is the resourceVersion of the deletion. An object that is newer than it was made anew, and stays.
        """
        held = self.get(key)
        if held is not None and version and not _not_newer(resource_version(held), version):
            return False
        if version:
            self._removed[key] = version
            self._removed.move_to_end(key)
            if len(self._removed) > TOMBSTONES:
                self._removed.popitem(last=False)
        return self._objects.get(key.kind, {}).pop(key, None) is not None


def _without_managers(obj: RawObject) -> RawObject:
    """Return the object without what says who wrote which field, which is the larger half of it."""
    metadata = obj["metadata"]
    if "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def _share_texts(obj: dict[str, Any]) -> None:
    """Make equal texts within objects one: ten thousand Tenants say the same of themselves."""
    for name, value in obj.items():
        if type(value) is str:
            obj[name] = intern(value)
        elif type(value) is dict:
            _share_texts(value)
        elif type(value) is list:
            _share_texts_of(value)


def _share_texts_of(values: list[Any]) -> None:
    for place, value in enumerate(values):
        if type(value) is str:
            values[place] = intern(value)
        elif type(value) is dict:
            _share_texts(value)


def _has_ended(held: RawObject, obj: RawObject) -> bool:
    ended = bool(obj["metadata"].get("deletionTimestamp")) and not obj["metadata"].get("finalizers")
    return ended and bool(held["metadata"].get("finalizers"))


def asked_for(obj: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what a user changes of an object of ours, and we never do: its generation, its leaving, its annotations.

    Of objects that have no generation, such as Secrets, nothing.
    """
    metadata = obj.get("metadata", {})
    if "generation" not in metadata:
        return ()
    return metadata["generation"], metadata.get("deletionTimestamp"), metadata.get("annotations")


def key_of(kind: str, obj: Mapping[str, Any]) -> Key:
    metadata = obj["metadata"]
    return Key(kind, metadata["name"], metadata.get("namespace", ""))


def resource_version(obj: Mapping[str, Any]) -> str:
    return str(obj.get("metadata", {}).get("resourceVersion", ""))


def _not_newer(version: str, than: str | None) -> bool:
    """Compare resourceVersions; one that is no number counts as newer, for nothing can be said about it."""
    if than is None or not (version.isdigit() and than.isdigit()):
        return False
    return int(version) <= int(than)
