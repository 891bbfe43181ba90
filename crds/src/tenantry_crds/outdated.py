"""Compares the definition that a cluster serves with the one that this version was made for.

A field that the served schema lacks is dropped by the API server without a word; a value that it lacks is refused; a
rule that it lacks is not asked. A served schema that has more than ours is a newer one, and nothing is lost by it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tenantry_crds.kinds import KINDS, Kind
from tenantry_crds.manifest import LABEL_RELEASE, release
from tenantry_crds.names import VERSION
from tenantry_crds.schema import crd_schema

NAMED: Final = 5
"""How many of the things that differ a message names."""

PRESERVES: Final = "x-kubernetes-preserve-unknown-fields"


@dataclass(frozen=True)
class Finding:
    """What one served definition lacks, and what it has that this version does not know."""

    definition: str
    """The name of the CRD, as in tenants.tenantry.dev."""
    absent: bool = False
    """Whether the cluster does not serve the kind at all."""
    release: str | None = None
    """The version that the served definition says it is of."""
    fields: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Fields of the served definition that this version does not know: it is newer."""

    @property
    def is_outdated(self) -> bool:
        return self.absent or bool(self.fields or self.values or self.rules)

    def said(self) -> str:
        """Say in a sentence what is lacking and what follows."""
        if self.absent:
            return f"{self.definition} is not served in version {VERSION}"
        if self.is_outdated:
            parts = (
                _part("drops the fields", self.fields),
                _part("refuses the values", self.values),
                _part("does not ask the rules", self.rules),
            )
            older = f"{self.definition} is of version {self.release or 'unknown'} and older than {release()}"
            return f"{older}: it {', '.join(part for part in parts if part)}"
        if self.unknown:
            return f"{self.definition} is newer than {release()}: it has {_names(self.unknown)}"
        return f"{self.definition} is as version {release()} expects it"


def findings(served: Mapping[str, Mapping[str, Any] | None]) -> tuple[Finding, ...]:
    """Judge each kind; `served` holds the CustomResourceDefinitions by name, None or nothing where there is none."""
    return tuple(finding(kind, served.get(kind.crd_name)) for kind in KINDS)


def finding(kind: Kind, served: Mapping[str, Any] | None) -> Finding:
    """Judge the definition that a cluster serves of one kind."""
    schema = _schema(served) if served is not None else None
    if served is None or schema is None:
        return Finding(kind.crd_name, absent=True)
    ours: dict[str, Any] = crd_schema(kind.model)
    lacking, more = tuple(_differences(schema, ours, "")), tuple(_differences(ours, schema, ""))
    return Finding(
        kind.crd_name,
        release=(served["metadata"].get("labels") or {}).get(LABEL_RELEASE),
        fields=_of("field", lacking),
        values=_of("value", lacking),
        rules=_of("rule", lacking),
        unknown=_of("field", more),
    )


def _schema(served: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for version in served["spec"]["versions"]:
        if version["name"] == VERSION and version.get("served"):
            schema: Mapping[str, Any] = version.get("schema", {}).get("openAPIV3Schema", {})
            return schema
    return None


def _differences(served: Mapping[str, Any], ours: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Yield what `ours` has and `served` lacks: a kind of difference, and where it is."""
    asked = {rule["rule"] for rule in served.get("x-kubernetes-validations") or ()}
    for rule in ours.get("x-kubernetes-validations") or ():
        if rule["rule"] not in asked:
            yield "rule", f"{path or '.'}: {rule['message']}"
    if served.get("enum"):
        for value in ours.get("enum") or ():
            if value not in served["enum"]:
                yield "value", f"{path}: {value}"
    yield from _children(served, ours, path)


def _children(served: Mapping[str, Any], ours: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    known = served.get("properties") or {}
    for name, child in (ours.get("properties") or {}).items():
        if name in known:
            yield from _differences(known[name], child, f"{path}.{name}")
        elif not served.get(PRESERVES) and "additionalProperties" not in served:
            yield "field", f"{path}.{name}"
    for key, sign in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(ours.get(key), dict) and isinstance(served.get(key), dict):
            yield from _differences(served[key], ours[key], f"{path}{sign}")


def _of(kind: str, found: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(where for what, where in found if what == kind)


def _part(verb: str, what: tuple[str, ...]) -> str:
    return f"{verb} {_names(what)}" if what else ""


def _names(what: tuple[str, ...]) -> str:
    more = f" and {len(what) - NAMED} more" if len(what) > NAMED else ""
    return f"{', '.join(what[:NAMED])}{more}"
