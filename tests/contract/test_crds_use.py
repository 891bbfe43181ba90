"""Nothing in the API is a promise without a keeper: each reason, condition and fixed name is used by a room."""

import re

import pytest

from tenantry_crds import ConditionType, Reason, names
from tenantry_crds.render import ROOT

SOURCES = "\n".join(
    path.read_text()
    for room in ("operator/src", "services", "tests/support/src")
    for path in sorted((ROOT / room).rglob("*.py"))
)
CONSTANTS = [name for name in vars(names) if re.fullmatch(r"[A-Z_]+", name)]
# What the renderer itself writes into the CRDs.
RENDERED = {"GROUP", "VERSION", "CATEGORY"}


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_of_the_table_is_given_by_the_operator(reason: Reason) -> None:
    assert re.search(rf"\bReason\.{reason.name}\b", SOURCES), f"nothing gives {reason}: take it out of reasons.py"


@pytest.mark.parametrize("condition", ConditionType)
def test_a_condition_is_written_by_the_operator(condition: ConditionType) -> None:
    pattern = rf"\b(ConditionType|C)\.{condition.name}\b|\"{condition.value}\""
    assert re.search(pattern, SOURCES), f"nothing writes the condition {condition}"


@pytest.mark.parametrize("name", [name for name in CONSTANTS if name not in RENDERED])
def test_a_fixed_name_is_used(name: str) -> None:
    assert re.search(rf"\b{name}\b", SOURCES), f"nothing uses {name}: take it out of names.py"
