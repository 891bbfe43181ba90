"""What Postgres does with the database of a tenant that has one of its own, for the model of `tenant_model`."""

from dataclasses import replace

from tenantry_operator.model.names import OWNER
from tenantry_operator.model.tenant import PUBLIC, Catalogue, DesiredTenant, Grant, ObservedDatabase
from tenantry_operator.plan.database_actions import (
    AlterDatabase,
    DatabaseAction,
    DropDatabase,
    GrantOnDatabase,
    MakeDatabase,
    MarkDatabase,
    OwnDatabase,
    RevokeOnDatabase,
)


class Impossible(Exception):
    """The real thing would have refused this action."""


def is_entered(catalogue: Catalogue, desired: DesiredTenant) -> bool:
    """Whether the operator gets into the database where the tenant's schemas are."""
    there = catalogue.database
    if desired.layout.own_database is None:
        return True
    return there is not None and there.open and there.owner == OWNER and not there.is_lost


def from_outside(catalogue: Catalogue, desired: DesiredTenant) -> Catalogue:
    """Leave out what cannot be seen while the database lets nobody in, or is not there."""
    if is_entered(catalogue, desired):
        return catalogue
    owner = desired.names.owner in catalogue.roles
    return replace(
        catalogue,
        schemas={},
        schema_grants=frozenset(),
        tables=frozenset(),
        table_owners={},
        table_grants=frozenset(),
        default_grants=frozenset({Grant("FUNCTIONS", PUBLIC, "EXECUTE")} if owner else ()),
        foreign=frozenset(),
        version=None,
        database=replace(catalogue.database, entered=False) if catalogue.database else None,
    )


def change_database(catalogue: Catalogue, action: DatabaseAction, desired: DesiredTenant) -> Catalogue:
    """Return the catalogue after the action. Raises Impossible."""
    there = catalogue.database
    if isinstance(action, MakeDatabase):
        if there is not None:
            raise Impossible(f"database {action.database} exists")
        grants = frozenset(Grant(action.database, PUBLIC, right) for right in ("CONNECT", "TEMPORARY"))
        made = ObservedDatabase(action.database, action.owner, grants=grants, open=False)
        return replace(catalogue, database=made)
    if there is None:
        raise Impossible("there is no database")
    if isinstance(action, DropDatabase):
        if there.owner != OWNER or there.marker_text != action.marker_text:
            raise Impossible("it is not ours to drop")
        gone = from_outside(replace(catalogue, database=None), desired)
        # Settings of a role in a database go with the database.
        roles = {name: replace(role, settings=frozenset()) for name, role in gone.roles.items()}
        return replace(gone, roles=roles)
    return replace(catalogue, database=_changed(there, action))


def _changed(there: ObservedDatabase, action: DatabaseAction) -> ObservedDatabase:
    if isinstance(action, OwnDatabase):
        return replace(there, owner=action.owner)
    if there.owner != OWNER:
        raise Impossible(f"database {there.name} belongs to {there.owner}")
    if there.is_lost:
        raise Impossible(f"cannot alter invalid database {there.name}")
    match action:
        case MarkDatabase(marker=marker):
            return replace(there, marker_text=marker.text())
        case AlterDatabase():
            return replace(there, open=True, template=False, connection_limit=-1)
        case GrantOnDatabase(grant=g) | RevokeOnDatabase(grant=g):
            same = {one for one in there.grants if (one.grantee, one.privilege) == (g.grantee, g.privilege)}
            if isinstance(action, RevokeOnDatabase):
                return replace(there, grants=there.grants - same)
            return there if same else replace(there, grants=there.grants | {g})
    raise Impossible(f"nobody knows {type(action).__name__}")
