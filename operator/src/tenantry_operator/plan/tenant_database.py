"""What to do about the database of a tenant that has one of its own.

It is made shut, and opened once it bears the marker and PUBLIC has no rights on it: whoever finds one that is shut and
unmarked knows that a pass died while it was made, and that nobody has ever been in it.
"""

from collections.abc import Iterator
from typing import Final

from tenantry_operator.model.names import OWNER, SERVICES, service_login
from tenantry_operator.model.tenant import (
    PUBLIC,
    Catalogue,
    Deletion,
    DesiredTenant,
    Grant,
    Leaving,
    Marker,
    ObservedDatabase,
    ObservedTenant,
    RowState,
)
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
from tenantry_operator.plan.tenant_lifecycle import is_open
from tenantry_operator.plan.tenant_reader import has_reader

FROM_THE_BEGINNING: Final = ("CONNECT", "TEMPORARY")
"""What Postgres grants PUBLIC on a database that is new."""


def desired_database_grants(desired: DesiredTenant) -> frozenset[Grant]:
    """Say who may connect: the customer through its groups, the services by their logins while the tenant is active."""
    name, names = desired.layout.own_database, desired.names
    if name is None:
        return frozenset()
    number = desired.seat.login
    services = (
        {service_login(service, number) for service in SERVICES} if is_open(desired) and not desired.deletion else set()
    )
    readers = {names.readonly} if has_reader(desired) else set()
    return frozenset(Grant(name, grantee, "CONNECT") for grantee in {names.app, *readers, *services})


def database_actions(desired: DesiredTenant, catalogue: Catalogue, *, identity: str) -> Iterator[DatabaseAction]:
    """Make the database and keep it true; nothing for a tenant that has none of its own."""
    name = desired.layout.own_database
    if name is None:
        return
    there = catalogue.database
    if there is not None and there.is_lost:
        yield from database_dropped(catalogue, reason="a DROP of it was cut short")
        there = None
    if there is None:
        yield MakeDatabase(database=name, owner=OWNER, reason="it is missing")
        there = ObservedDatabase(
            name, OWNER, grants=frozenset(Grant(name, PUBLIC, right) for right in FROM_THE_BEGINNING), open=False
        )
    yield from _owned(there)
    marker = Marker(identity, desired.uid, desired.installation)
    if there.marker_text != marker.text():
        yield MarkDatabase(database=name, marker=marker, reason="it says whose the database is")
    yield from _grants(desired, there)
    if (there.open, there.template, there.connection_limit) != (True, False, -1):
        why = "it lets in who may connect, once all this is done"
        yield AlterDatabase(database=name, reason=why)


def _owned(there: ObservedDatabase) -> Iterator[OwnDatabase]:
    if there.owner != OWNER:
        why = "it belongs to the owner of all services' schemas"
        yield OwnDatabase(database=there.name, owner=OWNER, lender=there.owner, reason=why)


def _grants(desired: DesiredTenant, there: ObservedDatabase) -> Iterator[DatabaseAction]:
    wanted = desired_database_grants(desired)
    revoked = sorted(there.grants - wanted)
    # A REVOKE takes a privilege with and without its grant option.
    gone = {(grant.grantee, grant.privilege) for grant in revoked}
    for grant in revoked:
        yield RevokeOnDatabase(grant=grant, reason="nobody should hold it")
    for grant in sorted(wanted):
        if grant not in there.grants or (grant.grantee, grant.privilege) in gone:
            yield GrantOnDatabase(grant=grant, reason="it is missing")


def database_released(desired: DesiredTenant, catalogue: Catalogue, released: Marker) -> Iterator[DatabaseAction]:
    """Keep the database for whoever adopts it; the services connect no more."""
    there = catalogue.database
    if there is None:
        return
    for grant in sorted(there.grants - desired_database_grants(desired)):
        yield RevokeOnDatabase(grant=grant, reason="the Tenant is being deleted")
    if there.marker_text != released.text():
        yield MarkDatabase(database=there.name, marker=released, reason="the Tenant is being deleted")


def database_dropped(catalogue: Catalogue, *, reason: str) -> Iterator[DatabaseAction]:
    there = catalogue.database
    if there is not None:
        yield from _owned(there)
        yield DropDatabase(database=there.name, marker_text=there.marker_text, reason=reason)


def strangers_database(catalogue: Catalogue) -> str | None:
    """Say why the database that bears the tenant's name is not this tenant's, though the roles are.

    A comment that is no marker is repaired where the database is in our hands: only an administrator could write it.
    """
    there, marker = catalogue.database, catalogue.marker
    if there is None or marker is None:
        return None
    found = Marker.parse(there.marker_text)
    if found is None:
        if there.owner == OWNER:
            return None
        return f"database {there.name} belongs to {there.owner} and bears no marker of tenantry"
    if (found.id, found.installation) != (marker.id, marker.installation):
        return f"database {there.name} bears the marker of another tenant (id {found.id})"
    return None


def not_to_be_dropped(catalogue: Catalogue) -> str | None:
    """Say why the database is not dropped with the Tenant: a database without this tenant's marker is never dropped."""
    there, marker = catalogue.database, catalogue.marker
    if there is None or marker is None or there.is_begun:
        return None
    found = Marker.parse(there.marker_text)
    if found is not None and (found.id, found.installation) == (marker.id, marker.installation):
        return None
    return (
        f"database {there.name} does not bear the marker of this tenant, and is not dropped. If it is the tenant's, "
        f"write it as the owner: COMMENT ON DATABASE {there.name} IS '{marker.text()}'; else rename it"
    )


def is_unfinished(desired: DesiredTenant, observed: ObservedTenant) -> bool:
    """Whether the tenant is being made for the first time: its roles and marker are there before its database is."""
    row = observed.row
    return (
        desired.layout.own_database is not None
        and row is not None
        and row.uid == desired.uid
        and row.state is RowState.PROVISIONING
        and row.version is None
    )


def is_missing(desired: DesiredTenant, catalogue: Catalogue) -> bool:
    """Whether there is no database where the tenant's should be, or one that nobody gets into or has ever been in."""
    own, there = desired.layout.own_database is not None, catalogue.database
    return own and (there is None or there.is_begun or there.is_lost)


def can_only_be_dropped(catalogue: Catalogue, deletion: Deletion) -> bool:
    """Whether the data is lost and was not to be kept: then what is left of it goes, and is not missed.

    Of what is backed up before, nothing is dropped until that is done; this is not it.
    """
    there = catalogue.database
    at_once = deletion.leaving is Leaving.DELETE and deletion.backup is None
    return at_once and there is not None and there.is_lost


def missing_database(catalogue: Catalogue, name: str) -> str:
    """Name the database that `is_missing`."""
    there = catalogue.database
    if there is None:
        return f"database {name}"
    if there.is_lost:
        return f"database {name}, of which a DROP was cut short, so that Postgres lets nobody in again,"
    return f"database {name}, open and with its marker,"


def seen_later(catalogue: Catalogue) -> str | None:
    """Say why another pass has to follow this one: what is in the database could not be read."""
    there = catalogue.database
    if there is None or not catalogue.is_shut:
        return None
    said = f": {there.shut}" if there.shut else ""
    return f"database {there.name} let nobody in{said}. What is in it is looked at as soon as it does"


def built_otherwise(there: ObservedDatabase | None, *, tenant_id: str | None) -> str | None:
    """Say why a database is not to be taken over by force."""
    if there is None:
        return None
    found = Marker.parse(there.marker_text)
    if there.owner != OWNER:
        return f"database {there.name} belongs to {there.owner} and not to {OWNER}"
    if found is not None and found.id != tenant_id:
        return f"database {there.name} bears the marker of another tenant (id {found.id})"
    return None if there.entered else f"database {there.name} lets nobody in"
