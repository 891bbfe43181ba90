"""From a pydantic model to the schema of a CRD: references inlined, nulls and titles gone, defaults gone."""

from collections.abc import Mapping

from pydantic import JsonValue

from tenantry_crds.base import KubeObject

Schema = dict[str, JsonValue]

DROPPED = frozenset({"title", "default", "$defs"})
STATUS_DEFAULT: JsonValue = {"observedGeneration": -1}
INT32_MAX = 2**31 - 1


def crd_schema(model: type[KubeObject]) -> Schema:
    """Return the openAPIV3Schema of the model; structural.refusals says whether an API server would take it."""
    raw = model.model_json_schema(by_alias=True)
    schema = _resolve(raw, _mapping(raw.get("$defs", {})))
    properties = _mapping(schema["properties"])
    properties["apiVersion"] = {"type": "string", "description": "Group and version of the object."}
    properties["kind"] = {"type": "string", "description": "Kind of the object."}
    # The API server knows metadata; only what a rule points to may be repeated here.
    properties["metadata"] = {"type": "object", "properties": {"name": {"type": "string"}}}
    properties["status"] = {**_mapping(properties["status"]), "default": STATUS_DEFAULT}
    return {**schema, "required": ["spec"], "properties": properties}


def _resolve(node: Mapping[str, JsonValue], definitions: Mapping[str, JsonValue]) -> Schema:
    merged = _without_null(_without_reference(node, definitions), definitions)
    return _with_integer_format({key: _value(key, merged[key], definitions) for key in merged if _kept(key, merged)})


def _kept(key: str, node: Mapping[str, JsonValue]) -> bool:
    return key not in DROPPED and not (key == "additionalProperties" and node[key] is False)


def _value(key: str, value: JsonValue, definitions: Mapping[str, JsonValue]) -> JsonValue:
    if key == "properties":
        return {name: _resolve(_mapping(child), definitions) for name, child in _mapping(value).items()}
    if key in {"items", "additionalProperties"} and isinstance(value, dict):
        return _resolve(value, definitions)
    return value


def _without_reference(node: Mapping[str, JsonValue], definitions: Mapping[str, JsonValue]) -> Schema:
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return dict(node)
    target = _mapping(definitions[reference.removeprefix("#/$defs/")])
    return {**_without_reference(target, definitions), **{key: node[key] for key in node if key != "$ref"}}


def _without_null(node: Schema, definitions: Mapping[str, JsonValue]) -> Schema:
    """Read `anyOf [X, null]`, pydantic's optional, as X: on the wire an absent field is left out, never null."""
    choices = node.get("anyOf")
    if not isinstance(choices, list):
        return node
    others = [choice for choice in choices if choice != {"type": "null"}]
    if len(others) != 1:
        return node
    rest = {key: node[key] for key in node if key != "anyOf"}
    return {**_without_reference(_mapping(others[0]), definitions), **rest}


def _with_integer_format(node: Schema) -> Schema:
    maximum = node.get("maximum")
    if node.get("type") != "integer" or not isinstance(maximum, int):
        return node
    return {**node, "format": "int32" if maximum <= INT32_MAX else "int64"}


def _mapping(value: JsonValue) -> Schema:
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping in the schema, not {value!r}")
    return value
