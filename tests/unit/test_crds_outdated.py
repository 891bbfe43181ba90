"""The served definition against ours: what an older one would drop, refuse or not ask."""

import json
from typing import Any

import pytest

from tenantry_crds.kinds import KINDS, Kind
from tenantry_crds.manifest import definition, release
from tenantry_crds.outdated import finding, findings

TENANT = next(kind for kind in KINDS if kind.name == "Tenant")


def served(kind: Kind = TENANT) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(definition(kind)))
    return body


def schema(body: dict[str, Any]) -> dict[str, Any]:
    return body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]  # type: ignore[no-any-return]


def part(body: dict[str, Any], *names: str) -> dict[str, Any]:
    node = schema(body)
    for name in names:
        node = node["properties"][name]
    return node


def test_our_own_definitions_are_as_expected() -> None:
    found = findings({kind.crd_name: served(kind) for kind in KINDS})
    assert not any(one.is_outdated or one.unknown for one in found)
    assert [one.release for one in found] == [release()] * len(KINDS)


def test_a_field_that_would_be_dropped_is_named() -> None:
    older = served()
    del part(older, "spec")["properties"]["database"]
    del part(older, "status", "effective")["properties"]["settings"]
    found = finding(TENANT, older)
    assert found.is_outdated
    assert found.fields == (".spec.database", ".status.effective.settings")
    assert "it drops the fields .spec.database, .status.effective.settings" in found.said()


def test_a_field_below_a_list_is_found() -> None:
    older = served()
    del part(older, "status", "conditions")["items"]["properties"]["message"]
    assert finding(TENANT, older).fields == (".status.conditions[].message",)


def test_a_value_that_would_be_refused_is_named() -> None:
    older = served()
    part(older, "spec", "deletionPolicy")["enum"].remove("Delete")
    found = finding(TENANT, older)
    assert found.values == (".spec.deletionPolicy: Delete",)
    assert "refuses the values" in found.said()


def test_a_rule_that_is_not_asked_is_named() -> None:
    older = served()
    schema(older)["x-kubernetes-validations"].pop()
    found = finding(TENANT, older)
    assert len(found.rules) == 1
    assert "does not ask the rules" in found.said()


def test_a_newer_definition_is_no_older_one() -> None:
    newer = served()
    part(newer, "spec")["properties"]["colour"] = {"type": "string"}
    newer["metadata"]["labels"]["app.kubernetes.io/version"] = "99.0.0"
    found = finding(TENANT, newer)
    assert not found.is_outdated
    assert found.unknown == (".spec.colour",)
    assert f"newer than {release()}" in found.said()


def test_what_preserves_unknown_fields_drops_nothing() -> None:
    open_one = served()
    part(open_one, "spec")["properties"] = {}
    part(open_one, "spec")["x-kubernetes-preserve-unknown-fields"] = True
    assert finding(TENANT, open_one).fields == ()


@pytest.mark.parametrize("change", ["gone", "not served", "another version"])
def test_a_kind_that_is_not_served_is_told(change: str) -> None:
    body: dict[str, Any] | None = served()
    assert body is not None
    if change == "not served":
        body["spec"]["versions"][0]["served"] = False
    elif change == "another version":
        body["spec"]["versions"][0]["name"] = "v1"
    else:
        body = None
    found = finding(TENANT, body)
    assert found.absent
    assert found.is_outdated
    assert "is not served" in found.said()
