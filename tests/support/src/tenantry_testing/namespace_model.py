"""A small model of what an API server does with a namespace and the objects in it. It knows nothing about plans."""

from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tenantry_operator.model.namespace import ObservedNamespace
from tenantry_operator.plan import actions as do

Body = dict[str, Any]
MILLI = Decimal("0.001")


class Refused(Exception):
    """The API server would have refused this request."""


@dataclass
class NamespaceModel:
    """One namespace; `body` is None as long as there is none."""

    body: Body | None = None
    children: dict[tuple[str, str], Body] = field(default_factory=dict)
    version: int = 0

    def observe(self) -> ObservedNamespace | None:
        if self.body is None:
            return None
        return ObservedNamespace(deepcopy(self.body), tuple(deepcopy(list(self.children.values()))))

    def play(self, action: do.NamespaceAction) -> None:
        """Do one action. Raises Refused."""
        match action:
            case do.CreateObject(body=body):
                self._create(deepcopy(dict(body)))
            case do.ReplaceObject(body=body):
                self._replace(deepcopy(dict(body)))
            case do.DeleteObject(kind=kind, name=name, uid=uid):
                self._delete(kind, name, uid)

    def make_foreign(self, name: str) -> None:
        """Make a namespace as somebody else would."""
        self.body = self._stored({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, uid="theirs")

    def finish(self) -> None:
        """Let the namespace that is being deleted go, as the namespace controller does in the end."""
        if self.body is not None and "deletionTimestamp" in self.body["metadata"]:
            self.body, self.children = None, {}

    def _create(self, body: Body) -> None:
        if body["kind"] == "Namespace":
            if self.body is not None:
                raise Refused("the namespace exists")
            self.body = self._stored(body)
            return
        if self.body is None or "deletionTimestamp" in self.body["metadata"]:
            raise Refused("there is no such namespace, or it is being deleted")
        key = (body["kind"], body["metadata"]["name"])
        if key in self.children:
            raise Refused(f"{key} exists")
        self.children[key] = self._stored(body)

    def _replace(self, body: Body) -> None:
        key = (body["kind"], body["metadata"]["name"])
        held = self.body if body["kind"] == "Namespace" else self.children.get(key)
        if held is None or held["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion"):
            raise Refused(f"{key} is another by now")
        if held.get("roleRef") != body.get("roleRef"):
            raise Refused("a roleRef cannot be changed")
        stored = self._stored(body, uid=held["metadata"]["uid"])
        if body["kind"] == "Namespace":
            self.body = stored
        else:
            self.children[key] = stored

    def _delete(self, kind: str, name: str, uid: str) -> None:
        held = self.body if kind == "Namespace" else self.children.get((kind, name))
        if held is None:
            return
        if held["metadata"]["uid"] != uid:
            raise Refused("another object of the name")
        if kind == "Namespace" or held["metadata"].get("finalizers"):
            held["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            del self.children[kind, name]

    def _stored(self, body: Body, uid: str | None = None) -> Body:
        self.version += 1
        metadata = {**body["metadata"], "uid": uid or f"uid-{self.version}", "resourceVersion": str(self.version)}
        stored = {**body, "metadata": metadata}
        if body["kind"] == "ResourceQuota":
            stored["spec"] = {**body["spec"], "hard": _canonical(body["spec"]["hard"])}
        if body["kind"] == "LimitRange":
            stored["spec"] = {"limits": [_defaulted(item) for item in body["spec"]["limits"]]}
        return stored


def _defaulted(item: Body) -> Body:
    default = {**item.get("max", {}), **item.get("default", {})}
    request = {**item.get("min", {}), **default, **item.get("defaultRequest", {})}
    filled = {**item, "default": default, "defaultRequest": request}
    return {key: _canonical(one) if isinstance(one, dict) else one for key, one in filled.items() if one}


def _canonical(amounts: dict[str, str]) -> dict[str, str]:
    return {key: canonical(text) for key, text in amounts.items()}


def canonical(text: str) -> str:
    """Write a quantity as the API server gives it back: without needless digits, in the largest unit that fits."""
    for step, units in ((Decimal(1024), ("Ki", "Mi", "Gi", "Ti", "Pi")), (Decimal(1000), ("k", "M", "G", "T", "P"))):
        for power, unit in enumerate(units, start=1):
            if text.endswith(unit):
                return _largest(Decimal(text.removesuffix(unit)) * step**power, step, units)
    if text.endswith("m"):
        return _largest(Decimal(text.removesuffix("m")) * MILLI, Decimal(1000), ("k", "M", "G", "T", "P"))
    return _largest(Decimal(text), Decimal(1000), ("k", "M", "G", "T", "P"))


def _largest(value: Decimal, step: Decimal, units: tuple[str, ...]) -> str:
    if value != value.to_integral_value():
        for unit, factor in (("m", MILLI), ("u", MILLI**2)):
            if value / factor == (value / factor).to_integral_value():
                return f"{int(value / factor)}{unit}"
        return f"{int((value / MILLI**3).to_integral_value())}n"
    for power in range(len(units), 0, -1):
        if value and value % step**power == 0:
            return f"{int(value / step**power)}{units[power - 1]}"
    return str(int(value))
