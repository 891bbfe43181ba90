"""What is added to a user's pods, and what is never changed."""

from copy import deepcopy
from typing import Any

import pytest

from tenantry_operator.model.service_template import fingerprint, render_template, revision_of


def template(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "app", "image": "a", **container}, {"name": "side", "image": "s"}]}}


def rendered(given: dict[str, Any], app_protocol: str | None = "http") -> dict[str, Any]:
    spec: dict[str, Any] = render_template(given, port=8000, app_protocol=app_protocol)["spec"]
    return spec


def test_every_container_is_restricted() -> None:
    given = template()
    given["spec"]["initContainers"] = [{"name": "init", "image": "i"}]
    spec = rendered(given)
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in spec["containers"] + spec["initContainers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_what_the_user_wrote_stays() -> None:
    given = template(
        securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}, "allowPrivilegeEscalation": True},
        readinessProbe={"exec": {"command": ["true"]}},
        lifecycle={"preStop": {"exec": {"command": ["sleep", "1"]}}},
    )
    given["spec"] |= {"securityContext": {"runAsNonRoot": False}, "terminationGracePeriodSeconds": 60}
    before = deepcopy(given)
    spec = rendered(given)
    assert given == before
    (app, _) = spec["containers"]
    assert app["securityContext"] == given["spec"]["containers"][0]["securityContext"]
    assert "livenessProbe" not in app
    assert app["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "1"]}}}
    assert spec["securityContext"]["runAsNonRoot"] is False
    assert spec["terminationGracePeriodSeconds"] == 60


def test_only_the_first_container_is_probed_and_drained() -> None:
    app, side = rendered(template())["containers"]
    assert app["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8000}
    assert app["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8000}
    assert app["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
    assert {"readinessProbe", "livenessProbe", "lifecycle"}.isdisjoint(side)


def test_a_service_that_is_not_http_is_ready_when_its_port_is_open() -> None:
    app = rendered(template(), app_protocol=None)["containers"][0]
    assert app["readinessProbe"]["tcpSocket"] == {"port": 8000}
    assert "livenessProbe" not in app


@pytest.mark.parametrize(("grace", "sleep"), [(3, {"preStop": {"sleep": {"seconds": 3}}}), (0, None)])
def test_the_drain_fits_into_the_pods_grace(grace: int, sleep: dict[str, Any] | None) -> None:
    given = template()
    given["spec"]["terminationGracePeriodSeconds"] = grace
    assert rendered(given)["containers"][0].get("lifecycle") == sleep


def test_unknown_fields_of_a_newer_kubernetes_pass() -> None:
    given = template(fieldOfTomorrow={"deep": [1, None]})
    assert rendered(given)["containers"][0]["fieldOfTomorrow"] == {"deep": [1, None]}


@pytest.mark.parametrize("wrong", ["text", ["list"], 1])
def test_what_is_no_object_is_left_for_the_api_server_to_refuse(wrong: object) -> None:
    given = template(securityContext=wrong, lifecycle=wrong)
    given["spec"]["securityContext"] = wrong
    spec = rendered(given)
    app = spec["containers"][0]
    assert [spec["securityContext"], app["securityContext"], app["lifecycle"]] == [wrong] * 3


def test_a_revision_is_its_content() -> None:
    first = render_template(template(), port=8000, app_protocol=None)
    assert revision_of(first) == revision_of(deepcopy(first))
    assert len(revision_of(first)) == 10
    assert revision_of(first) != revision_of(render_template(template(image="b"), port=8000, app_protocol=None))


def test_order_of_keys_and_nulls_make_no_difference() -> None:
    assert fingerprint({"a": 1, "b": {"c": None}}) == fingerprint({"b": {}, "a": 1})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
