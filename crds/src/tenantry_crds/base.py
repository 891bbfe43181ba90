"""What all models share: camelCase on the wire, frozen, nothing unknown; and a CEL rule as a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Rule:
    """A CEL validation rule of the schema node that carries it.

    `name` is for tests and reviews; `field_path` is relative to the node and is what the user is pointed to, as in
    `.isolation`.
    """

    name: str
    rule: str
    message: str
    field_path: str
    reason: str = "FieldValueInvalid"

    def as_schema(self) -> dict[str, str]:
        return {"rule": self.rule, "message": self.message, "fieldPath": self.field_path, "reason": self.reason}


class Part(BaseModel):
    """A piece of the API: unknown fields are refused, values are never changed in place.

    What the API server refuses is refused here, and nothing else, but for the rules: no text is taken for a number, a
    null in a map is no entry, and no item of a list that has keys is there twice.
    tests/integration/test_crds_agreement.py asks both.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_as_the_server_does(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: _as_the_server(cls, name, value) for name, value in given.items()}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        if cls.rules:
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = [rule.as_schema() for rule in cls.rules]
        return schema


@cache
def _plain_types(part: type[Part]) -> Mapping[str, type]:
    """Return the fields that are numbers, truths or maps, by their names on the wire and in Python."""
    found: dict[str, type] = {}
    for name, field in part.model_fields.items():
        members = (
            get_args(field.annotation) if get_origin(field.annotation) in {Union, UnionType} else (field.annotation,)
        )
        bare = (get_args(one)[0] if get_origin(one) is Annotated else one for one in members)
        kinds = {get_origin(one) or one for one in bare} - {type(None)}
        if len(kinds) == 1 and (kind := kinds.pop()) in {int, bool, dict}:
            found |= dict.fromkeys((name, field.alias or name), kind)
    return found


@cache
def _list_keys(part: type[Part]) -> Mapping[str, tuple[str, ...]]:
    """Return the keys by which the items of a list are told apart; none: by the whole item."""
    found: dict[str, tuple[str, ...]] = {}
    for name, field in part.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if extra.get("x-kubernetes-list-type") in {"map", "set"}:
            keys = extra.get("x-kubernetes-list-map-keys") or ()
            found |= dict.fromkeys((name, field.alias or name), tuple(map(str, keys if isinstance(keys, list) else ())))
    return found


def _check_unique(part: type[Part], name: str, value: Any) -> None:
    keys = _list_keys(part).get(name)
    if keys is None or not isinstance(value, list):
        return
    told = [tuple(one.get(key) for key in keys) if keys and isinstance(one, Mapping) else one for one in value]
    if any(one in told[:number] for number, one in enumerate(told)):
        raise ValueError(f"{name} has an item twice")


def _as_the_server(part: type[Part], name: str, value: Any) -> Any:
    _check_unique(part, name, value)
    kind = _plain_types(part).get(name)
    if value is None or kind is None:
        return value
    if kind is dict:
        return {key: one for key, one in value.items() if one is not None} if isinstance(value, Mapping) else value
    whole = isinstance(value, int | float) and value == int(value) and not isinstance(value, bool)
    if not (whole if kind is int else isinstance(value, bool)):
        raise ValueError(f"{name} should be {'a whole number' if kind is int else 'true or false'}, not {value!r}")
    return value


class ObjectMeta(BaseModel):
    """The part of Kubernetes' metadata that is read; everything else is ignored."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @property
    def is_terminating(self) -> bool:
        return self.deletion_timestamp is not None


class KubeObject(Part):
    """A whole object as the API server sends it: `Tenant.model_validate(body)`."""

    api_version: str
    kind: str
    metadata: ObjectMeta


DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
DnsSubdomain = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
# -1 until the first pass: kstatus then reads InProgress, at the price of no write.
ObservedGeneration = Annotated[int, Field(ge=-1, le=2**53)]
