"""The cache: the newest resourceVersion wins, and what is gone stays gone."""

import json
from typing import Any

import pytest

from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key

ACME = Key("Tenant", "acme")


def tenant(version: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "acme", "resourceVersion": version}, **more}


def test_the_watch_event_of_an_own_write_tells_nothing_new() -> None:
    cache = ObjectCache()
    cache.put("Tenant", tenant("7"))
    assert not cache.observed("Tenant", tenant("7"))


def test_an_older_event_does_not_replace_a_newer_object() -> None:
    cache = ObjectCache()
    assert cache.observed("Tenant", tenant("10", spec="new"))
    assert not cache.observed("Tenant", tenant("9", spec="old"))
    assert cache.get(ACME) == tenant("10", spec="new")


def test_versions_are_numbers_and_not_texts() -> None:
    cache = ObjectCache()
    cache.observed("Tenant", tenant("9"))
    assert cache.observed("Tenant", tenant("10"))


def test_the_late_answer_to_an_own_write_does_not_bring_a_deleted_object_back() -> None:
    cache = ObjectCache()
    cache.observed("Tenant", tenant("5"))
    assert cache.remove(ACME, version="8")
    cache.put("Tenant", tenant("7"))
    assert cache.get(ACME) is None


def test_who_was_let_go_is_seen_to_be_though_the_answer_bears_the_version_from_before() -> None:
    def leaving(version: str, *finalizers: str) -> dict[str, Any]:
        body = tenant(version)
        return {"metadata": {**body["metadata"], "deletionTimestamp": "now", "finalizers": list(finalizers)}}

    cache = ObjectCache()
    cache.observed("Tenant", leaving("5", "ours"))
    cache.put("Tenant", leaving("5", "ours"))
    assert cache.get(ACME) == leaving("5", "ours")
    cache.put("Tenant", leaving("5"))
    assert cache.get(ACME) == leaving("5")
    assert cache.remove(ACME, version="6")
    cache.put("Tenant", leaving("5"))
    assert cache.get(ACME) is None


def test_an_object_that_was_made_anew_is_kept() -> None:
    cache = ObjectCache()
    cache.observed("Tenant", tenant("5"))
    cache.remove(ACME, version="8")
    assert cache.observed("Tenant", tenant("9"))
    assert not cache.remove(ACME, version="8")
    assert cache.get(ACME) is not None


def test_objects_are_told_apart_by_kind_and_namespace() -> None:
    cache = ObjectCache()
    cache.observed("Secret", {"metadata": {"name": "acme", "namespace": "a", "resourceVersion": "1"}})
    cache.observed("Secret", {"metadata": {"name": "acme", "namespace": "b", "resourceVersion": "2"}})
    cache.observed("Tenant", tenant("3"))
    assert set(cache.keys("Secret")) == {Key("Secret", "acme", "a"), Key("Secret", "acme", "b")}
    assert cache.all("Tenant") == (tenant("3"),)
    assert cache.all("Deployment") == ()


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"annotations": {"tenantry.dev/reconcile": "1"}},
    ],
)
def test_what_somebody_asked_for_under_an_own_write_is_told(change: dict[str, Any]) -> None:
    """The answer to a status patch holds a deletion of a moment before; the deletion's own event comes too late."""
    cache = ObjectCache()
    slipped: list[Key] = []
    cache.slipped_in = slipped.append
    metadata = {"name": "acme", "generation": 1}
    cache.observed("Tenant", {"metadata": {**metadata, "resourceVersion": "5"}})
    cache.put("Tenant", {"metadata": {**metadata, "resourceVersion": "6"}, "status": {"phase": "Ready"}})
    assert slipped == [], "a status of our own is no news"
    cache.put("Tenant", {"metadata": {**metadata, "resourceVersion": "8", **change}})
    assert slipped == [ACME]
    assert not cache.observed("Tenant", {"metadata": {**metadata, "resourceVersion": "7", **change}})


def test_who_wrote_which_field_is_not_kept() -> None:
    cache = ObjectCache()
    managed = {"name": "acme", "resourceVersion": "7", "managedFields": [{"manager": "kubectl"}]}
    cache.put("Tenant", {"metadata": managed, "spec": "new"})
    assert cache.get(ACME) == tenant("7", spec="new")
    assert "managedFields" in managed, "the caller's object is left as it was"


def test_who_wrote_which_field_of_a_quota_is_kept_since_nothing_else_tells_of_a_change() -> None:
    cache = ObjectCache()
    managed = {"name": "acme", "namespace": "acme", "resourceVersion": "7", "managedFields": [{"manager": "kubectl"}]}
    cache.put("ResourceQuota", {"metadata": managed})
    assert cache.get(Key("ResourceQuota", "acme", "acme")) == {"metadata": managed}


def test_equal_texts_of_objects_are_one() -> None:
    """Text from two answers is equal, and in two places."""
    cache = ObjectCache()
    for name in ("acme", "other"):
        said = f'{{"metadata": {{"name": "{name}", "resourceVersion": "1"}}, "status": {{"conditions": [{{"reason": '
        cache.observed("Tenant", json.loads(said + '"Provisioned"}], "roles": ["a role of"]}}'))
    first, second = (body["status"] for body in cache.all("Tenant"))
    assert first == second == {"conditions": [{"reason": "Provisioned"}], "roles": ["a role of"]}
    assert first["conditions"][0]["reason"] is second["conditions"][0]["reason"]
    assert first["roles"][0] is second["roles"][0]
