"""What all models share: camelCase on the wire, frozen, nothing unknown; and a CEL rule as a value."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
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
    """A piece of the API: unknown fields are refused, values are never changed in place."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        if cls.rules:
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = [rule.as_schema() for rule in cls.rules]
        return schema


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
