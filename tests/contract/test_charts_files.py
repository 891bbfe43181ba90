"""What the charts promise, read from their files; no helm and no cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry_crds.render import ROOT

CHARTS = ROOT / "charts"
CHART = CHARTS / "tenantry"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    target = SCHEMA["definitions"][reference.removeprefix("#/definitions/")] if reference else {}
    return {**target, **schema}


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    schema = resolved(schema)
    if schema.get("type") == "object":
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from objects(child, f"{path}.{name}")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from objects(schema["additionalProperties"], f"{path}.*")


def test_both_charts_carry_one_version() -> None:
    charts = [yaml.safe_load((CHARTS / name / "Chart.yaml").read_text()) for name in ("tenantry", "tenantry-crds")]
    assert charts[0]["version"] == charts[1]["version"]
    assert charts[0]["appVersion"] == charts[1]["appVersion"]


def test_a_mistyped_value_cannot_pass_unseen() -> None:
    for path, schema in objects(SCHEMA):
        if path != ".global":
            assert "additionalProperties" in schema, f"values.schema.json lets any key pass at {path or '.'}"


def test_each_default_stands_in_the_schema() -> None:
    def check(values: dict[str, Any], schema: dict[str, Any], path: str) -> None:
        for name, value in values.items():
            child = resolved(schema).get("properties", {}).get(name, resolved(schema).get("additionalProperties"))
            assert child, f"{path}.{name} is no value of the schema"
            if isinstance(value, dict):
                check(value, child, f"{path}.{name}")

    check(VALUES, SCHEMA, "")


def test_each_value_of_the_schema_has_a_default_to_read() -> None:
    written = set(VALUES) | {"global"}
    assert set(SCHEMA["properties"]) == written
    for name in ("operator", "gateway", "registry", "log", "cursorKey", "deletionProtection", "jobs"):
        assert set(SCHEMA["properties"][name]["properties"]) == set(VALUES[name]), name
    assert set(SCHEMA["definitions"]["service"]["properties"]) == set(VALUES["services"]["accounts"])


@pytest.mark.parametrize("path", sorted(CHART.rglob("*")), ids=lambda path: str(path.relative_to(CHART)))
def test_no_image_is_taken_from_where_it_changes(path: Path) -> None:
    if path.is_file():
        assert ":latest" not in path.read_text()
