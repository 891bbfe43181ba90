"""The reference pages: the API field by field, and the table of reasons."""

from collections.abc import Iterator

from pydantic import JsonValue

from tenantry_crds.kinds import KINDS, Kind
from tenantry_crds.names import API_VERSION
from tenantry_crds.reasonentry import Entry
from tenantry_crds.reasontable import TABLE
from tenantry_crds.runbooks import RUNBOOKS
from tenantry_crds.schema import Schema, crd_schema

HEADER = "<!-- Written by `make render` from crds/src/tenantry_crds. Edit the models, not this file. -->\n"


def api_page() -> str:
    parts = [HEADER, "# API reference\n", f"All kinds are `apiVersion: {API_VERSION}`.\n", *map(_kind, KINDS)]
    return "\n".join(parts)


def reasons_page() -> str:
    rows = (_reason(entry) for entry in sorted(TABLE, key=lambda entry: entry.reason.value))
    head = (
        HEADER,
        "# Reasons\n",
        "Every condition carries one of these words as its `reason`. `Event` stands where only Events carry it. "
        "`tenantry explain <reason>` prints a row.\n",
        "| reason | conditions | it means | what to do | commands |",
        "|---|---|---|---|---|",
    )
    return "\n".join((*head, *rows)) + "\n"


def _reason(entry: Entry) -> str:
    carriers = ", ".join(condition.value for condition in entry.conditions) or "Event"
    commands = "<br>".join(f"`{_cell(command)}`" for command in RUNBOOKS.get(entry.reason, ()))
    return f"| {entry.reason.value} | {carriers} | {_cell(entry.meaning)} | {_cell(entry.remedy)} | {commands} |"


def _kind(kind: Kind) -> str:
    schema = crd_schema(kind.model)
    scope = "namespaced" if kind.namespaced else "cluster-scoped"
    lines = [
        f"## {kind.name}\n",
        f"{schema['description']} It is {scope}; `kubectl get {kind.short_name}` lists it.\n",
        "| field | type | what it is |",
        "|---|---|---|",
        *(row for row in _fields(schema, "") if row.startswith(("| `spec", "| `status"))),
        "",
        *_rules(schema, ""),
    ]
    return "\n".join(lines) + "\n"


def _fields(node: Schema, path: str) -> Iterator[str]:
    required = node.get("required", [])
    for name, child in _children(node):
        here = f"{path}.{name}" if path else name
        must = " (required)" if isinstance(required, list) and name in required else ""
        description = _cell(f"{child.get('description', '')}{_limits(child)}")
        yield f"| `{here}` | {_type(child)}{must} | {description} |"
        items = child.get("items")
        yield from _fields(child, here)
        if isinstance(items, dict):
            yield from _fields(items, f"{here}[]")


def _type(node: Schema) -> str:
    choices = node.get("enum")
    if isinstance(choices, list):
        return " or ".join(f"`{choice}`" for choice in choices)
    if isinstance(node.get("additionalProperties"), dict):
        return "map of strings"
    return (
        "list"
        if node["type"] == "array"
        else str(node.get("format") if node.get("format") == "date-time" else node["type"])
    )


def _limits(node: Schema) -> str:
    if node["type"] == "integer":
        return f" {node['minimum']} to {node['maximum']}."
    if "pattern" in node:
        return f" At most {node['maxLength']} characters, matching `{node['pattern']}`."
    return f" At most {node['maxLength']} characters." if "maxLength" in node else ""


def _rules(node: Schema, path: str) -> Iterator[str]:
    rules = node.get("x-kubernetes-validations", [])
    for rule in rules if isinstance(rules, list) else []:
        if isinstance(rule, dict):
            yield f"- `{path}{rule['fieldPath']}`".replace("`.", "`") + f": {rule['message']}."
    for name, child in _children(node):
        yield from _rules(child, f"{path}.{name}")


def _children(node: Schema) -> Iterator[tuple[str, Schema]]:
    properties: JsonValue = node.get("properties", {})
    for name, child in properties.items() if isinstance(properties, dict) else ():
        if isinstance(child, dict):
            yield name, child


def _cell(content: str) -> str:
    return content.strip().replace("|", "\\|")
