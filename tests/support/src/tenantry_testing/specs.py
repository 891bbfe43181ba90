"""Specs that are drawn from the committed CRDs: those that the schema lets in, and those that differ in one thing."""

import copy
import random
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]  # the only parser of regular expressions there is
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

import yaml

Schema = Mapping[str, Any]
Spec = dict[str, Any]

OPTIONAL: Final = 0.5
"""How likely a field is there that need not be."""
MOST: Final = 3
"""Items, characters and entries that are drawn where the schema names no smaller number."""
ATTEMPTS: Final = 200
ANY: Final = string.ascii_lowercase + string.digits + " -_"


def schema_of(root: Path, plural: str) -> Schema:
    """Return the schema of a kind's spec, as it is committed."""
    manifest = yaml.safe_load((root / f"crds/manifests/{plural}.yaml").read_text())
    found: Schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


class Drawn:
    """Draws values of schemas; the same `random.Random` draws the same."""

    def __init__(self, draw: random.Random, fixed: Mapping[str, Any] | None = None) -> None:
        self._draw = draw
        self._fixed = fixed or {}
        """Values by the path of their field, for what a schema does not describe."""

    def value(self, schema: Schema, path: str = "") -> Any:
        """Return a value that the schema lets in; what its CEL rules say is not asked."""
        if path in self._fixed:
            return copy.deepcopy(self._fixed[path])
        if "enum" in schema:
            return self._draw.choice(schema["enum"])
        kinds: dict[str, Callable[[Schema, str], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "boolean": lambda _schema, _path: self._draw.random() < 0.5,
        }
        return kinds[schema["type"]](schema, path)

    def _object(self, schema: Schema, path: str) -> Spec:
        if "additionalProperties" in schema:
            keys = {self._word() for _ in range(self._draw.randint(0, MOST))}
            return {key: self.value(schema["additionalProperties"], f"{path}.*") for key in sorted(keys)}
        required = set(schema.get("required", ()))
        return {
            name: self.value(below, f"{path}.{name}")
            for name, below in schema.get("properties", {}).items()
            if name in required or self._draw.random() < OPTIONAL
        }

    def _array(self, schema: Schema, path: str) -> list[Any]:
        count = self._draw.randint(schema.get("minItems", 0), min(schema.get("maxItems", MOST), MOST))
        items = [self.value(schema["items"], f"{path}[]") for _ in range(count)]
        keys = schema.get("x-kubernetes-list-map-keys")
        if keys:
            items = list({tuple(item[key] for key in keys): item for item in items}.values())
        if schema.get("x-kubernetes-list-type") == "set":
            items = [item for number, item in enumerate(items) if item not in items[:number]]
        return items

    def _integer(self, schema: Schema, _path: str) -> int:
        low, high = schema.get("minimum", 0), schema.get("maximum", 1000)
        return int(self._draw.choice([low, high, self._draw.randint(low, high)]))

    def _string(self, schema: Schema, _path: str) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength", 64)
        for _ in range(ATTEMPTS):
            text = match_of(schema["pattern"], self._draw) if "pattern" in schema else self._word()
            if low <= len(text) <= high:
                return text
        raise AssertionError(f"nothing of {low} to {high} characters was drawn for {schema.get('pattern')}")

    def _word(self) -> str:
        return "".join(self._draw.choice(string.ascii_lowercase) for _ in range(self._draw.randint(3, 9)))


@dataclass(frozen=True)
class Damage:
    """A spec that differs from one that is let in by one thing."""

    what: str
    spec: Spec


def damages(schema: Schema, spec: Spec, draw: random.Random) -> Iterator[Damage]:
    """Yield, for each value of the spec, one thing that is done to it."""
    for path, below in _places(schema, spec, ()):
        found = list(_done_to(below, _at(spec, path), draw))
        if not found:
            continue
        what, value = draw.choice(found)
        yield Damage(f"{'.'.join(map(str, path)) or 'spec'}: {what}", _with(spec, path, value))


def _places(schema: Schema, value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Schema]]:
    yield path, schema
    if isinstance(value, dict) and "properties" in schema:
        for name, below in value.items():
            yield from _places(schema["properties"][name], below, (*path, name))
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for name, below in value.items():
            yield from _places(schema["additionalProperties"], below, (*path, name))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _places(schema["items"], below, (*path, number))


def _done_to(schema: Schema, value: Any, draw: random.Random) -> Iterator[tuple[str, Any]]:
    """Yield what may be done to a value, as words and another value. Some of it the schema lets in all the same."""
    yield "null", None
    if isinstance(value, bool):
        yield from (("a text", "true"), ("a number", 1))
    elif isinstance(value, int):
        yield from (
            ("a text", str(value)),
            ("a fraction", value + 0.5),
            ("a whole fraction", float(value)),
            ("a truth", True),
        )
        yield "below", schema.get("minimum", 0) - 1
        yield "above", schema.get("maximum", 2**62) + 1
    elif isinstance(value, str):
        yield from (("a number", 5), ("empty", ""), ("a truth", True), ("a list", [value]))
        yield "longer", value + "x" * (schema.get("maxLength", 4096) + 1)
        yield "another end", value + draw.choice("\n !~A{0")
        yield "another start", draw.choice("\n !~A{0") + value
    elif isinstance(value, list):
        yield from (("a map", {}), ("empty", []))
        if value and schema.get("x-kubernetes-list-type") in {"map", "set"}:
            yield "twice the same", [*value, copy.deepcopy(value[0])]
        if value:
            yield "too many", [copy.deepcopy(value[0]) for _ in range(schema.get("maxItems", 64) + 1)]
    elif isinstance(value, dict):
        yield from (("a list", []), ("a text", "x"))
        if "properties" in schema:
            yield "an unknown field", {**value, "unknownField": 1}
            for name in schema.get("required", ()):
                yield f"without {name}", {key: below for key, below in value.items() if key != name}
        elif "maxProperties" in schema:
            yield "too many", {f"key{number}": "x" for number in range(schema["maxProperties"] + 1)}


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(spec: Spec, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(spec)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


def match_of(pattern: str, draw: random.Random) -> str:
    """Draw a text that the regular expression matches."""
    text = _matching(parser.parse(pattern), draw)
    assert re.search(pattern, text), (pattern, text)
    return text


def _matching(parts: Any, draw: random.Random) -> str:
    return "".join(_one(code, given, draw) for code, given in parts)


def _one(code: Any, given: Any, draw: random.Random) -> str:
    if code in {codes.MAX_REPEAT, codes.MIN_REPEAT}:
        low, high, parts = given
        count = draw.randint(low, min(high, low + 4 * MOST))
        return "".join(_matching(parts, draw) for _ in range(count))
    drawn: dict[Any, Callable[[], str]] = {
        codes.LITERAL: lambda: chr(given),
        codes.AT: str,
        codes.ANY: lambda: draw.choice(ANY),
        codes.SUBPATTERN: lambda: _matching(given[-1], draw),
        codes.BRANCH: lambda: _matching(draw.choice(given[1]), draw),
        codes.NOT_LITERAL: lambda: draw.choice([one for one in ANY if one != chr(given)]),
        codes.IN: lambda: draw.choice(_among(given)),
    }
    return drawn[code]()


def _among(given: Any) -> str:
    negated = given[0][0] is codes.NEGATE
    named = ""
    for code, what in given[1 if negated else 0 :]:
        named += chr(what) if code is codes.LITERAL else "".join(map(chr, range(what[0], what[1] + 1)))
    return "".join(one for one in ANY if one not in named) if negated else named
