"""The models let in exactly what the API server lets in: of drawn specs, and of each with one thing done to it."""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from tenantry_cluster.controlplane import ControlPlane
from tenantry_crds.base import Part
from tenantry_crds.kinds import KINDS, Kind
from tenantry_crds.names import API_VERSION
from tenantry_crds.render import ROOT
from tenantry_testing.crd_examples import SPECS
from tenantry_testing.faults.administrator import Administrator
from tenantry_testing.specs import Damage, Drawn, Spec, damages, schema_of

SEED = int(os.environ.get("TENANTRY_PROVE_SEED", "20261122"))
WHOLE = {"Tenant": 60}
FEW = 12
FIXED = {"ServiceDeployment": {".template": SPECS["ServiceDeployment"]["template"]}}
"""A pod's template is Kubernetes' own matter, and not described."""

JUSTIFIED = {
    # The scale subresource reads it by itself, and more strictly than the schema.
    ("ServiceDeployment", "replicas: a whole fraction"),
}


@pytest.fixture
def administrator(control_plane: ControlPlane) -> Iterator[Administrator]:
    with Administrator(control_plane) as made:
        yield made


def rules() -> set[str]:
    """What the CEL rules say; each has examples of its own."""
    waiting, said = [Part], set()
    while waiting:
        part = waiting.pop()
        waiting += part.__subclasses__()
        said |= {rule.message for rule in part.rules}
    return said


def body_of(kind: Kind, spec: Any) -> dict[str, Any]:
    metadata = {"name": "drawn", **({"namespace": "default"} if kind.namespaced else {})}
    return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec}


def drawn_specs(kind: Kind, count: int) -> Iterator[Spec]:
    maker = Drawn(random.Random(f"{SEED} {kind.name}"), FIXED.get(kind.name))  # noqa: S311
    schema = schema_of(ROOT, kind.plural)
    for _ in range(count):
        yield maker.value(schema)


def cases(kind: Kind) -> Iterator[Damage]:
    """Every drawn spec as it is, and each of its fields damaged once."""
    schema, draw = schema_of(ROOT, kind.plural), random.Random(f"{SEED} damages of {kind.name}")  # noqa: S311
    for spec in drawn_specs(kind, WHOLE.get(kind.name, FEW)):
        yield Damage("as it is", spec)
        for damage in damages(schema, spec, draw):
            if ".template" not in f".{damage.what}" or kind.name != "ServiceDeployment":
                yield damage


def refused_by_server(administrator: Administrator, kind: Kind, body: dict[str, Any]) -> list[str]:
    place = f"/apis/{API_VERSION}/{'namespaces/default/' if kind.namespaced else ''}{kind.plural}"
    code, answer = administrator.rehearse(place, body)
    if code < 400:
        return []
    causes = (answer.get("details") or {}).get("causes") or []
    return [f"{one.get('field')}: {one.get('message')}" for one in causes] or [str(answer.get("message"))]


def refused_by_model(kind: Kind, body: dict[str, Any]) -> list[str]:
    try:
        kind.model.model_validate(body)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_model_lets_in_what_the_server_lets_in(administrator: Administrator, kind: Kind) -> None:
    by_rule, told, differ = rules(), Counter[str](), []
    for case in cases(kind):
        body = json.loads(json.dumps(body_of(kind, case.spec)))
        server, model = refused_by_server(administrator, kind, body), refused_by_model(kind, body)
        if server and not model and all(any(rule in one for rule in by_rule) for one in server):
            told["refused by a rule"] += 1
            continue
        told["refused" if server else "let in"] += 1
        if bool(server) != bool(model) and (kind.name, case.what) not in JUSTIFIED:
            who = "server" if server else "model"
            differ.append(f"only the {who} refuses {case.what}: {(server or model)[0][:160]}")
    print(kind.name, dict(told))  # noqa: T201  shown for a failed test
    assert not differ, f"{len(differ)} of {told.total()}:\n" + "\n".join(differ[:40])
    assert told["let in"] >= FEW // 2
    assert told["refused"] >= FEW
