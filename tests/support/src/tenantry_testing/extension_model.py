"""What a database does about extensions, for the model of `tenant_model`."""

from dataclasses import replace

from tenantry_operator.model.extensions import EXTENSIONS, ExtensionSchema, Installed, ObservedExtensions
from tenantry_operator.model.tenant import Catalogue
from tenantry_operator.plan.extension_actions import (
    CreateExtension,
    DropExtensionsSchema,
    ExtensionAction,
    GuardExtensions,
)
from tenantry_testing.database_model import Impossible


def change_extensions(held: Catalogue, action: ExtensionAction) -> Catalogue:
    """Return the catalogue after the action. Raises Impossible for what Postgres refuses."""
    seen = held.extensions
    if isinstance(action, GuardExtensions):
        schema = ExtensionSchema(action.owner, ours=True, open=True)
        return replace(held, extensions=_looked_into(replace(seen, schema=schema)))
    if isinstance(action, DropExtensionsSchema):
        if seen.schema is None or not seen.schema.empty:
            raise Impossible(f"{action.schema} is not empty")
        return replace(held, extensions=replace(seen, schema=None))
    name = action.extension
    if isinstance(action, CreateExtension):
        at_hand = seen.available.get(name)
        if at_hand is None or not at_hand.trusted or seen.schema is None or not at_hand.needs <= set(seen.installed):
            raise Impossible(f"{name} cannot be made")
        made = {**seen.installed, name: Installed(action.schema, True, at_hand.needs)}
        left = {other: one for other, one in seen.available.items() if other != name}
        return replace(held, extensions=_looked_into(replace(seen, installed=made, available=left)))
    if any(name in one.needs for one in seen.installed.values()):
        raise Impossible(f"{name} is still used")
    kept = {other: one for other, one in seen.installed.items() if other != name}
    return replace(held, extensions=_looked_into(replace(seen, installed=kept)))


def _looked_into(seen: ObservedExtensions) -> ObservedExtensions:
    empty = not any(one.schema == EXTENSIONS for one in seen.installed.values())
    return replace(seen, schema=replace(seen.schema, empty=empty)) if seen.schema is not None else seen
