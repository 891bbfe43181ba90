"""Which extensions are made and dropped for a Tenant, and what keeps one from it.

Tenants of one database share what is in it: there none is dropped. They are no drift: whatever `driftPolicy` says, an
extension that is asked for is made again, for it is others' as well.
"""

from collections.abc import Iterator
from typing import Final

from tenantry_crds.reasons import Reason
from tenantry_operator.model.extensions import EXTENSIONS, ObservedExtensions
from tenantry_operator.model.names import OWNER
from tenantry_operator.model.tenant import Catalogue, DesiredTenant
from tenantry_operator.plan.extension_actions import (
    CreateExtension,
    DropExtension,
    DropExtensionsSchema,
    ExtensionAction,
    GuardExtensions,
)
from tenantry_operator.plan.status import Problem

ANYWHERE: Final = frozenset({EXTENSIONS, "pg_catalog"})
"""Where an extension may be that is there already."""


def extension_actions(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[ExtensionAction]:
    """Make what is asked for and can be made, those first that others are built on; drop what may be dropped.

    The schema goes by the pass after the one that drops the last extension: that one sees whether anything is left.
    """
    seen = catalogue.extensions
    schema = seen.schema
    if desired.extensions and (schema is None or schema.ours or _guarded(seen) is None):
        if schema is None or not schema.open or schema.writers:
            writers = tuple(sorted(schema.writers)) if schema else ()
            why = "it is missing" if schema is None else "everybody uses what is in it, and nobody else creates there"
            yield GuardExtensions(schema=EXTENSIONS, owner=OWNER, writers=writers, reason=why)
        # What a writer put there until now is seen by the next pass, when he may do so no more.
        safe = schema is None or not (schema.writers or schema.planted)
        for name in _in_order(desired, seen) if safe else ():
            yield CreateExtension(extension=name, schema=EXTENSIONS, reason="spec.database.extensions asks for it")
    if desired.layout.own_database is not None:
        yield from _dropped(desired, seen)
        if schema is not None and schema.ours and schema.empty and not desired.extensions:
            yield DropExtensionsSchema(schema=EXTENSIONS, reason="nothing is in it, and no extension is asked for")


def extension_problem(desired: DesiredTenant, catalogue: Catalogue) -> Problem | None:
    """Say what keeps the Tenant from what it asks for; the rest of a plan is carried out all the same."""
    if not desired.extensions or catalogue.is_shut:
        return None
    seen = catalogue.extensions
    said = [said for said in (_guarded(seen), *(_kept_from(name, desired, seen) for name in _wanted(desired))) if said]
    return Problem(Reason.EXTENSION_UNAVAILABLE, "; ".join(said), lasting=True) if said else None


def _wanted(desired: DesiredTenant) -> list[str]:
    return sorted(desired.extensions)


def _guarded(seen: ObservedExtensions) -> str | None:
    """Say why nothing may be put into the schema, which is not ours to put right."""
    schema = seen.schema
    if schema is not None and schema.planted:
        return (
            f"there is {', '.join(schema.planted)} in schema {EXTENSIONS}, which an extension's script could run: as "
            "an administrator, drop what is not an extension's, or move it to another schema"
        )
    if schema is None or schema.ours:
        return None
    if schema.owner in schema.writers:
        return (
            f"schema {EXTENSIONS} belongs to {schema.owner}, who may create in it, and an extension's script could run "
            f"what was put there: as an administrator, ALTER SCHEMA {EXTENSIONS} OWNER TO {OWNER}"
        )
    if schema.writers:
        named = ", ".join(sorted(schema.writers))
        return (
            f"{named} may create in schema {EXTENSIONS}, and an extension's script could run what was put there: as an "
            f"administrator, REVOKE CREATE ON SCHEMA {EXTENSIONS} FROM {named}, or ALTER SCHEMA {EXTENSIONS} OWNER TO "
            f"{OWNER}"
        )
    if not schema.open:
        return (
            f"schema {EXTENSIONS} belongs to {schema.owner} and lets nobody in: as an administrator, GRANT USAGE ON "
            f"SCHEMA {EXTENSIONS} TO PUBLIC"
        )
    return None


def _kept_from(name: str, desired: DesiredTenant, seen: ObservedExtensions) -> str | None:
    there, at_hand = seen.installed.get(name), seen.available.get(name)
    place = f"in database {desired.place.database}"
    if there is not None and there.schema in ANYWHERE:
        return None
    if there is not None:
        move = f'ALTER EXTENSION "{name}" SET SCHEMA {EXTENSIONS}'
        return f"{name} is in schema {there.schema} already: as its owner, {place}, {move}"
    if at_hand is None:
        return f"the server has no extension {name}: install its package there, or take it off spec.database.extensions"
    lacking = sorted(need for need in at_hand.needs if need not in desired.extensions and need not in seen.installed)
    if lacking:
        return f"{name} is built on {', '.join(lacking)}: name that in spec.database.extensions as well"
    if not at_hand.trusted:
        make = f'CREATE SCHEMA IF NOT EXISTS {EXTENSIONS}; CREATE EXTENSION "{name}" SCHEMA {EXTENSIONS}'
        return f"only a superuser makes {name}, which Postgres does not trust: as one, {place}, {make}"
    return None


def _in_order(desired: DesiredTenant, seen: ObservedExtensions) -> Iterator[str]:
    """Yield what is missing and can be made, each after what it is built on."""
    can = {name for name in seen.available if name in desired.extensions and _kept_from(name, desired, seen) is None}
    there = set(seen.installed)
    while ready := sorted(name for name in can if seen.available[name].needs <= there):
        yield from ready
        there |= set(ready)
        can -= there


def _dropped(desired: DesiredTenant, seen: ObservedExtensions) -> Iterator[DropExtension]:
    """Drop what we made and nobody asks for, each before what it is built on."""
    left = {
        name: one
        for name, one in seen.installed.items()
        if one.schema == EXTENSIONS and one.ours and name not in desired.extensions
    }
    used = {need for name, one in seen.installed.items() if name not in left for need in one.needs}
    used |= {need for one in seen.available.values() for need in one.needs}
    while free := sorted(
        name for name in left if name not in used and not any(name in one.needs for one in left.values())
    ):
        for name in free:
            yield DropExtension(extension=name, reason="spec.database.extensions does not ask for it")
            del left[name]


def refused(action: CreateExtension | DropExtension, said: str) -> str:
    """Say what Postgres said to an extension that looked as if it could be made or dropped."""
    if isinstance(action, CreateExtension):
        return f"{action.extension} cannot be made: {said}"
    return f"{action.extension} is still used, and cannot be dropped: {said}. Drop what uses it, or ask for it again"
