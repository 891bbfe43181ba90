"""What a pooled Tenant needs beside its roles: a pool to be in, and an entry in its directory.

Closing the entry is what takes access from a pooled tenant: neither its login nor a service reaches a row then. The
directory is the operator's own output, as the registry is, and kept true under each drift policy.
"""

from collections.abc import Iterator

from tenantry_operator.model.pool import pool_entry
from tenantry_operator.model.tenant import Catalogue, DesiredTenant
from tenantry_operator.plan.pool_actions import CloseEntry, EnterPool, LeavePool, MakePool


def making(desired: DesiredTenant, catalogue: Catalogue) -> Iterator[MakePool]:
    """Make the pool for its first tenant; one that is there is moved as a whole, and not here."""
    if desired.layout.is_pooled and catalogue.version is None:
        yield MakePool(to=desired.released, reason="the server has no pool yet")


def entering(desired: DesiredTenant, catalogue: Catalogue, *, identity: str, is_open: bool) -> Iterator[EnterPool]:
    """Put the tenant into the directory as it should be."""
    if not desired.layout.is_pooled:
        return
    wanted = pool_entry(desired.names, identity, is_open=is_open)
    if catalogue.entry != wanted:
        why = "it is missing" if catalogue.entry is None else "it is not as it should be"
        yield EnterPool(entry=wanted, reason=why)


def closing(catalogue: Catalogue, *, reason: str) -> Iterator[CloseEntry]:
    """Close the entry, if there is one that is open."""
    entry = catalogue.entry
    if entry is not None and entry.open:
        yield CloseEntry(id=entry.id, reason=reason)


def leaving(desired: DesiredTenant, catalogue: Catalogue, *, reason: str) -> Iterator[LeavePool]:
    """Delete what the pool has of the tenant that the marker names."""
    marker = catalogue.marker
    if desired.layout.is_pooled and marker is not None and catalogue.version is not None:
        yield LeavePool(id=marker.id, reason=reason)
