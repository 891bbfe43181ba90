"""What a level Tenant was left as is read back as it was written, and compared as a whole."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.level import Level
from tenantry_operator.model.tenant import Place, RegistryRow, RowState
from tenantry_operator.plan.tenant_level import is_level
from tenantry_operator.reconcile.tenant_level import LevelBook
from tenantry_operator.settings import OperatorSettings

LEFT = Level(
    made_by="code",
    tenant=("uid", "7"),
    secret=("acme-database", "tenantry-system", "8"),
    children=(("Namespace", "acme", "", "9"), ("NetworkPolicy", "default-deny", "acme", "10")),
    told="told",
    place="place",
    row="row",
    mark="23 -66",
    due=datetime(2026, 5, 1, tzinfo=UTC),
)


@pytest.mark.parametrize("level", [LEFT, replace(LEFT, due=None, secret=("a", "b", None), children=())])
def test_it_is_read_back_as_it_was_written(level: Level) -> None:
    assert Level.parse(level.text()) == level


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "7", LEFT.text()[:-1], LEFT.text().replace("mark", "marks")])
def test_what_cannot_be_read_says_nothing(text: str) -> None:
    assert Level.parse(text) is None


@pytest.mark.parametrize("field", ["tenant", "secret", "children"])
def test_what_was_written_with_more_parts_says_nothing(field: str) -> None:
    said = json.loads(LEFT.text())
    parts = said[field][0] if field == "children" else said[field]
    parts.append("and another")
    assert Level.parse(json.dumps(said)) is None


def test_each_thing_that_changes_asks_for_a_pass() -> None:
    assert is_level(LEFT, replace(LEFT, due=None))
    for field in fields(Level):
        if field.name != "due":
            assert not is_level(LEFT, replace(LEFT, **{field.name: None})), field.name


def level_of(**changes: dict[str, Any]) -> Level:
    """Say what a Tenant is level as; each object that is changed keeps its resourceVersion."""
    cache = ObjectCache()
    for kind, namespace in (("Tenant", ""), ("Secret", "tenantry-system"), ("Namespace", "")):
        metadata = {"name": "acme", "namespace": namespace, "uid": kind, "resourceVersion": "7"}
        body: dict[str, Any] = {"metadata": metadata, "spec": {}}
        body |= {part: body[part] | change for part, change in changes.get(kind, {}).items()}
        cache.observed(kind, body)
    none: Any = None
    book = LevelBook(none, cache, none, settings=OperatorSettings(registry_server="primary", registry_database="r"))
    tenant = cache.get(Key("Tenant", "acme"))
    assert tenant is not None
    return book.level(
        tenant,
        ("acme", "tenantry-system", "7"),
        frozenset({(Key("Namespace", "acme"), "7")}),
        place=Place("primary", "app", "localhost", 5432, "disable"),
        row=(RegistryRow("id", "uid", "primary", "app", RowState.ACTIVE), None),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"Tenant": {"spec": {"lifecycle": "Suspended"}}},
        {"Tenant": {"metadata": {"generation": 2}}},
        {"Tenant": {"metadata": {"annotations": {"a": "b"}}}},
        {"Tenant": {"metadata": {"labels": {"a": "b"}}}},
        {"Secret": {"metadata": {"uid": "another"}}},
        {"Secret": {"metadata": {"annotations": {"a": "b"}}}},
        {"Namespace": {"metadata": {"uid": "another"}}},
    ],
)
def test_the_same_resource_version_of_another_object_asks_for_a_pass(changes: dict[str, Any]) -> None:
    assert is_level(level_of(), level_of())
    assert not is_level(level_of(), level_of(**changes))
