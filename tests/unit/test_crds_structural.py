"""What the renderer refuses, one guard at a time."""

import pytest
from pydantic import JsonValue

from tenantry_crds.kinds import KINDS, Kind
from tenantry_crds.schema import Schema, crd_schema
from tenantry_crds.structural import refusals

STRING: Schema = {"type": "string", "maxLength": 5, "description": "A string."}


def field(node: Schema) -> Schema:
    return {"type": "object", "properties": {"f": node}}


def said(schema: Schema) -> str:
    return "\n".join(map(str, refusals(schema)))


def test_a_bounded_and_described_schema_is_not_refused() -> None:
    assert said(field(STRING)) == ""


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({**STRING, "anyOf": [{"type": "integer"}]}, "anyOf cannot be said"),
        ({**STRING, "nullable": True}, "nullable cannot be said"),
        ({**STRING, "const": "a"}, "const cannot be said"),
        ({**STRING, "$ref": "#/$defs/X"}, "$ref cannot be said"),
        ({"type": "integer", "exclusiveMinimum": 0, "description": "A."}, "exclusiveMinimum cannot be said"),
        ({"description": "Anything."}, "type must be one of"),
        ({"type": "number", "description": "A float."}, "type must be one of"),
        ({"type": "string", "maxLength": 5}, "needs a description"),
        ({"type": "string", "description": "A."}, "needs maxLength"),
        ({**STRING, "format": "uuid4"}, "is not checked by the API server"),
        ({**STRING, "pattern": "^(?=a)b$"}, "RE2"),
        ({**STRING, "pattern": r"^(a)\1$"}, "RE2"),
        ({**STRING, "pattern": "abc"}, "not anchored"),
        ({**STRING, "default": "x"}, "no default"),
        ({"type": "integer", "minimum": 0, "description": "A."}, "minimum and maximum"),
        ({"type": "object", "description": "A."}, "needs properties"),
        ({"type": "object", "description": "A.", "additionalProperties": STRING}, "maxProperties"),
        (
            {"type": "object", "description": "A.", "properties": {"a": STRING}, "additionalProperties": STRING},
            "exclude each other",
        ),
        ({"type": "object", "description": "A.", "properties": {"a": STRING}, "required": ["b"]}, "not declared"),
        ({"type": "array", "description": "A.", "items": STRING, "x-kubernetes-list-type": "set"}, "maxItems"),
        ({"type": "array", "description": "A.", "items": STRING, "maxItems": 3}, "x-kubernetes-list-type"),
        ({"type": "array", "description": "A.", "maxItems": 3}, "one schema for its items"),
    ],
)
def test_the_renderer_refuses(node: Schema, words: str) -> None:
    assert words in said(field(node))


def list_map(*, keys: list[JsonValue], required: list[JsonValue]) -> Schema:
    items: Schema = {"type": "object", "properties": {"name": STRING}, "required": required}
    kind: Schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
    return {"type": "array", "description": "A.", "maxItems": 3, "items": items, **kind}


def test_a_list_map_needs_keys_that_are_required() -> None:
    assert said(field(list_map(keys=["name"], required=["name"]))) == ""
    assert "must be a required field" in said(field(list_map(keys=["name"], required=[])))
    assert "needs x-kubernetes-list-map-keys" in said(field(list_map(keys=[], required=["name"])))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"rule": "true", "fieldPath": ".f"}, "lacks message"),
        ({"rule": "true", "message": "No."}, "lacks fieldPath"),
        ({"rule": "true", "message": "No.", "fieldPath": ".g"}, "which is no field"),
    ],
)
def test_a_rule_says_what_is_wrong_and_where(rule: Schema, words: str) -> None:
    assert words in said({**field(STRING), "x-kubernetes-validations": [rule]})


def test_a_refusal_names_the_path() -> None:
    inner: Schema = {"type": "object", "description": "An inner object.", "properties": {"g": {"type": "string"}}}
    assert ".f.g: a string needs maxLength" in said(field(inner))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_models_are_not_refused(kind: Kind) -> None:
    assert said(crd_schema(kind.model)) == ""
