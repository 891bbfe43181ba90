"""What a level Tenant was left as is read back as it was written, and compared as a whole."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from tenantry_operator.model.level import Level
from tenantry_operator.plan.tenant_level import is_level

LEFT = Level(
    made_by="code",
    tenant=("uid", "7"),
    secret=("acme-database", "tenantry-system", "8"),
    children=(("Namespace", "acme", "", "9"), ("NetworkPolicy", "default-deny", "acme", "10")),
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
