"""Refuses what a structural schema cannot say, and what our own rules for the API forbid.

The rules are Kubernetes' (structural schemas) and the project's: every field is described and bounded, every list says
how it merges, nothing has a default but the status.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

Node = Mapping[str, JsonValue]

# What a node may carry. Everything else, such as oneOf, const, nullable or exclusiveMinimum as a number, is refused.
KEYWORDS = frozenset(
    {
        "type", "description", "properties", "required", "items", "additionalProperties", "enum", "format", "pattern",
        "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties", "default",
        "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
        "x-kubernetes-preserve-unknown-fields",
    }
)  # fmt: skip
TYPES = frozenset({"object", "array", "string", "integer", "boolean"})
FORMATS = frozenset({"date-time", "int32", "int64"})
LIST_TYPES = frozenset({"atomic", "set", "map"})
# The API server's regular expressions are RE2: no look-around, no back references.
NOT_RE2 = re.compile(r"\(\?[=!<]|\\[1-9]")
# Fields that Kubernetes itself describes and bounds.
KUBERNETES_OWN = frozenset({".apiVersion", ".kind", ".metadata", ".metadata.name"})
DEFAULTS: Mapping[str, JsonValue] = {".status": {"observedGeneration": -1}}


@dataclass(frozen=True)
class Refusal:
    """What is wrong, and at which field."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path or '.'}: {self.what}"


class NotStructural(Exception):
    """The model says something that a CRD cannot, or that the project does not want in one."""

    def __init__(self, kind: str, refusals: tuple[Refusal, ...]) -> None:
        super().__init__("\n".join(f"{kind}{refusal}" for refusal in refusals))
        self.refusals = refusals


def refusals(schema: Node, path: str = "", *, is_field: bool = False) -> Iterator[Refusal]:
    """Yield everything that is wrong with the schema, node by node."""
    yield from _shape(schema, path)
    if path not in KUBERNETES_OWN:
        yield from _bounds(schema, path)
        if is_field and not schema.get("description"):
            yield Refusal(path, "a field needs a description: it becomes the user's reference")
    yield from _rules(schema, path)
    for name, child in _nodes(schema.get("properties")):
        yield from refusals(child, f"{path}.{name}", is_field=True)
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        child_node = schema.get(key)
        if isinstance(child_node, dict):
            yield from refusals(child_node, f"{path}{suffix}")


def _shape(node: Node, path: str) -> Iterator[Refusal]:
    for keyword in sorted(set(node) - KEYWORDS):
        yield Refusal(path, f"{keyword} cannot be said in a structural schema, or is not used here")
    if node.get("type") not in TYPES:
        yield Refusal(path, f"type must be one of {', '.join(sorted(TYPES))}, not {node.get('type')!r}")
    if "properties" in node and "additionalProperties" in node:
        yield Refusal(path, "properties and additionalProperties exclude each other")
    if "default" in node and (path not in DEFAULTS or DEFAULTS[path] != node["default"]):
        yield Refusal(path, "no default: what an absent field means stands in absent.py")
    declared = {name for name, _ in _nodes(node.get("properties"))}
    required = node.get("required", [])
    for name in required if isinstance(required, list) else []:
        if name not in declared:
            yield Refusal(path, f"{name} is required but not declared")


def _bounds(node: Node, path: str) -> Iterator[Refusal]:
    match node.get("type"):
        case "string":
            yield from _string(node, path)
        case "integer" if "minimum" not in node or "maximum" not in node:
            yield Refusal(path, "an integer needs minimum and maximum")
        case "array":
            yield from _array(node, path)
        case "object":
            yield from _object(node, path)
        case _:
            pass


def _string(node: Node, path: str) -> Iterator[Refusal]:
    if "format" in node and node["format"] not in FORMATS:
        yield Refusal(path, f"format {node['format']!r} is not checked by the API server")
    if "maxLength" not in node and "enum" not in node and node.get("format") != "date-time":
        yield Refusal(path, "a string needs maxLength, or enum, or the format date-time")
    pattern = node.get("pattern")
    if isinstance(pattern, str) and NOT_RE2.search(pattern):
        yield Refusal(path, "the pattern uses look-around or back references, which RE2 does not have")
    if isinstance(pattern, str) and not (pattern.startswith("^") and pattern.endswith("$")):
        yield Refusal(path, "the pattern is not anchored: it would match anywhere in the value")


def _array(node: Node, path: str) -> Iterator[Refusal]:
    if "maxItems" not in node:
        yield Refusal(path, "a list needs maxItems")
    if not isinstance(node.get("items"), dict):
        yield Refusal(path, "a list needs one schema for its items")
        return
    if node.get("x-kubernetes-list-type") not in LIST_TYPES:
        yield Refusal(path, "a list needs x-kubernetes-list-type: atomic, set or map")
    if node.get("x-kubernetes-list-type") == "map":
        yield from _list_map(node, path)


def _list_map(node: Node, path: str) -> Iterator[Refusal]:
    keys, items = node.get("x-kubernetes-list-map-keys"), node["items"]
    required = items.get("required", []) if isinstance(items, dict) else []
    if not isinstance(keys, list) or not keys:
        yield Refusal(path, "a list-map needs x-kubernetes-list-map-keys")
        return
    for key in keys:
        if not isinstance(required, list) or key not in required:
            yield Refusal(path, f"the list-map's key {key} must be a required field of its items")


def _object(node: Node, path: str) -> Iterator[Refusal]:
    if node.get("x-kubernetes-preserve-unknown-fields") is True:
        return
    if isinstance(node.get("additionalProperties"), dict):
        if "maxProperties" not in node:
            yield Refusal(path, "a map needs maxProperties")
    elif not node.get("properties"):
        yield Refusal(path, "an object needs properties, or additionalProperties with a schema")


def _rules(node: Node, path: str) -> Iterator[Refusal]:
    rules = node.get("x-kubernetes-validations", [])
    for rule in rules if isinstance(rules, list) else []:
        missing = [key for key in ("rule", "message", "fieldPath") if not (isinstance(rule, dict) and rule.get(key))]
        if missing:
            yield Refusal(path, f"a CEL rule lacks {' and '.join(missing)}")
        elif isinstance(rule, dict) and not _has_field(node, str(rule["fieldPath"])):
            yield Refusal(path, f"the CEL rule points to {rule['fieldPath']}, which is no field of it")


def _has_field(node: Node, field_path: str) -> bool:
    for name in field_path.removeprefix(".").split("."):
        children = dict(_nodes(node.get("properties")))
        if name not in children:
            return False
        node = children[name]
    return True


def _nodes(value: JsonValue) -> Iterator[tuple[str, Node]]:
    for name, child in value.items() if isinstance(value, dict) else ():
        if isinstance(child, dict):
            yield name, child
