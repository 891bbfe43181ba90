"""Whose the data is that bears a Tenant's names, and whether the Tenant may take it over.

Force never takes what a Tenant of this cluster owns, nor what bears the marker of another installation, nor what is
not built as we build it, nor services' tables of which nobody knows the tenant id that stands in them.
"""

from tenantry_crds.reasons import Reason
from tenantry_operator.model.adoption import Adoption
from tenantry_operator.model.tenant import Catalogue, DesiredTenant, Marker, MarkerState, ObservedTenant, RowState
from tenantry_operator.plan.tenant_database import built_otherwise, strangers_database

TAKE_BY_FORCE = "if it is gone for good, spec.adoptionPolicy Force takes its data over"


def whose(desired: DesiredTenant, observed: ObservedTenant) -> tuple[Reason, str] | None:
    """Say why what bears the tenant's names is not this Tenant's, if it is not."""
    marker = observed.catalogue.marker
    said = _unmarked(desired, observed) if marker is None else _marked(desired, marker, departed=observed.departed)
    said = (
        said
        or strangers_database(observed.catalogue)
        or _kept_otherwise(desired, observed)
        or _recorded(desired, observed)
    )
    return None if said is None else (Reason.NOT_OURS, said)


def drop_begun(observed: ObservedTenant) -> tuple[Reason, str] | None:
    """Say that the data of this very Tenant, which stays, is being dropped: etcd was restored from before its deletion.

    What is left is not whole, however much there is; nothing is made in place of the rest.
    """
    marker = observed.catalogue.marker
    if marker is None or marker.state is not MarkerState.DROPPING:
        return None
    kept = f"then restore it from {marker.backup}" if marker.backup else "of which no backup is known"
    return Reason.DATA_MISSING, (
        "the drop of its data had begun when this Tenant was deleted before, and what is left is not whole: delete "
        f"the Tenant again, which ends the drop, {kept}"
    )


def uids_in_question(desired: DesiredTenant, observed: ObservedTenant) -> frozenset[str]:
    """Name the Tenants, by UID, that must be gone before their data may be taken over by force."""
    marker, row = observed.catalogue.marker, observed.row
    if desired.adoption is not Adoption.FORCE or desired.deletion is not None:
        return frozenset()
    named = {one.uid for one in (marker, row) if one is not None}
    return frozenset(named - {desired.uid})


def _marked(desired: DesiredTenant, marker: Marker, *, departed: frozenset[str]) -> str | None:
    owner = desired.names.owner
    if (marker.uid, marker.installation) == (desired.uid, desired.installation):
        return None
    if marker.state is MarkerState.RELEASED:
        return _never(desired, owner)
    if marker.installation != desired.installation:
        return f"{owner} belongs to another installation of tenantry (id {marker.installation})"
    return _anothers(desired, marker, departed=departed)


def _anothers(desired: DesiredTenant, marker: Marker, *, departed: frozenset[str]) -> str | None:
    """Say why what no Tenant has released is not to be had."""
    said = f"{desired.names.owner} belongs to another Tenant (uid {marker.uid})"
    if marker.state is MarkerState.DROPPING:
        kept = f", and restore it from {marker.backup}" if marker.backup else ""
        return f"{said}, whose drop had begun: remove what is left{kept}"
    if desired.adoption is not Adoption.FORCE:
        return f"{said}; {TAKE_BY_FORCE}"
    return None if marker.uid in departed else f"{said}, which exists in this cluster"


def _never(desired: DesiredTenant, what: str) -> str | None:
    """Keep away from released data when the Tenant is told to."""
    if desired.adoption is not Adoption.NEVER:
        return None
    return (
        f"{what} holds data that an earlier Tenant {desired.names.name} released, and spec.adoptionPolicy is Never: "
        "set it to IfMarked to take the data over, or choose another name"
    )


def _unmarked(desired: DesiredTenant, observed: ObservedTenant) -> str | None:
    names, catalogue = desired.names, observed.catalogue
    taken = sorted({*catalogue.roles, *catalogue.schemas} & {*desired.layout.roles, *desired.layout.schemas})
    taken += [f"database {catalogue.database.name}"] if catalogue.database else []
    if not taken:
        return None
    said = f"{taken[0]} exists on the server and bears no marker of tenantry on {names.owner}"
    if desired.adoption is not Adoption.FORCE:
        return said
    known = observed.row.id if observed.row else None
    wrong = _built_otherwise(desired, catalogue) or built_otherwise(catalogue.database, tenant_id=known)
    if wrong is not None:
        return f"{said}, and cannot be taken over by force: {wrong}"
    if catalogue.version is not None and observed.row is None:
        unknown = f"the registry has no row of {names.name}, so that nobody knows the tenant id in its tables"
        return f"{said}, and cannot be taken over by force: {unknown}"
    return None


def _built_otherwise(desired: DesiredTenant, catalogue: Catalogue) -> str | None:
    """Say what of it we would not have made so."""
    names = desired.names
    if catalogue.marker_text is not None:
        return f"{names.owner} bears a comment of somebody else"
    owner = catalogue.roles.get(names.owner)
    if owner is None:
        return f"there is no role {names.owner}"
    if owner.login:
        return f"{names.owner} can log in"
    elevated = sorted(name for name, role in catalogue.roles.items() if role.elevated)
    if elevated:
        return f"{elevated[0]} has rights that no tenant's role has"
    for schema, wanted in desired.layout.schemas.items():
        holder = catalogue.schemas.get(schema, wanted)
        if holder != wanted:
            return f"schema {schema} belongs to {holder} and not to {wanted}"
    return None


def _kept_otherwise(desired: DesiredTenant, observed: ObservedTenant) -> str | None:
    """Say that the data of an earlier Tenant lies elsewhere: it would look lost in the place where this one looks."""
    row, stray, marker = observed.row, sorted(observed.catalogue.schemas), observed.catalogue.marker
    mine = marker is not None and marker.uid == desired.uid
    if desired.layout.is_pooled and stray and not mine:
        return f"schema {stray[0]} is on the server: the name is that of a tenant with schemas of its own"
    if row is None or row.isolation == desired.isolation:
        return None
    return f"the registry holds {desired.names.name} with isolation {row.isolation}, in database {row.database}"


def _recorded(desired: DesiredTenant, observed: ObservedTenant) -> str | None:
    names, row, marker = desired.names, observed.row, observed.catalogue.marker
    if row is None:
        return None
    if row.uid != desired.uid:
        said = f"the registry holds {names.name} for another Tenant (uid {row.uid})"
        if row.state is RowState.RELEASED:
            refused = _never(desired, f"database {row.database} of server {row.server}")
            if refused is not None:
                return refused
        elif desired.adoption is not Adoption.FORCE:
            return f"{said}; {TAKE_BY_FORCE}"
        elif row.uid not in observed.departed:
            return f"{said}, which exists in this cluster"
    if marker is not None and row.id != marker.id:
        return f"the registry says id {row.id}, the marker on {names.owner} says {marker.id}"
    return None
