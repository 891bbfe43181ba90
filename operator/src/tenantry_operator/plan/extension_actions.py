"""The actions about extensions. Each is safe to repeat, also by several tenants of a database at once."""

from dataclasses import dataclass

from tenantry_operator.plan.action import Action


@dataclass(frozen=True, kw_only=True)
class GuardExtensions(Action):
    """Make the schema of the extensions, or put it right: everybody enters, and nobody but its owner creates."""

    schema: str
    owner: str
    writers: tuple[str, ...] = ()
    """Who may create in it now."""


@dataclass(frozen=True, kw_only=True)
class CreateExtension(Action):
    extension: str
    schema: str


@dataclass(frozen=True, kw_only=True)
class DropExtension(Action):
    """Drop an extension that nothing uses. Postgres refuses it otherwise, and names what does."""

    extension: str


@dataclass(frozen=True, kw_only=True)
class DropExtensionsSchema(Action):
    """Drop the schema of the extensions, in which nothing is. Postgres refuses it when there is something by now."""

    schema: str


ExtensionAction = GuardExtensions | CreateExtension | DropExtension | DropExtensionsSchema
