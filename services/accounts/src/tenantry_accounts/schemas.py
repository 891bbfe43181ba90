"""What goes over the wire. These descriptions are the API's reference."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from tenantry_kit.text import EmailAddress, Line

UserStatus = Literal["active", "disabled"]
UtcTime = Annotated[datetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
_ABSENT: Any = None
DisplayName = Annotated[Line, Field(min_length=1, max_length=253)]


class UserCreate(BaseModel):
    """A user to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: EmailAddress = Field(
        description="Unique within the tenant, however it is capitalised.", examples=["ada@example.com"]
    )
    display_name: DisplayName | None = Field(default=None, description="What people call the user.", examples=["Ada"])


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


class UserUpdate(BaseModel):
    """Changes to a user. A field that is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # None stands for absent, and is not validated: a null that is sent is refused where the type does not have it.
    email: EmailAddress = Field(default=_ABSENT, description="A new address.", json_schema_extra=_without_default)
    display_name: DisplayName | None = Field(
        default=None, description="A new name; null removes it.", json_schema_extra=_without_default
    )
    status: UserStatus = Field(
        default=_ABSENT, description="A disabled user is kept, but cannot log in.", json_schema_extra=_without_default
    )


class UserView(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    id: UUID = Field(description="UUIDv7: ids sort by the time at which users were made.")
    email: str
    display_name: str | None
    status: UserStatus
    created_at: UtcTime
    updated_at: UtcTime
