"""What to do for a Tenant, given what is there."""

from dataclasses import dataclass, field, replace

from tenantry_crds.reasons import Reason
from tenantry_operator.model.tenant import (
    Catalogue,
    Deletion,
    DesiredTenant,
    Leaving,
    Marker,
    ObservedSecret,
    ObservedTenant,
    RegistryRow,
    RowState,
)
from tenantry_operator.plan import tenant_lifecycle as lifecycle
from tenantry_operator.plan.actions import CloseLogin, RecordTenant, TenantAction, WriteMarker
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant_adoption import drop_begun, whose
from tenantry_operator.plan.tenant_backup import allowed_by, backup_ended, backup_step
from tenantry_operator.plan.tenant_database import (
    can_only_be_dropped,
    database_actions,
    is_missing,
    is_unfinished,
    missing_database,
    not_to_be_dropped,
    seen_later,
)
from tenantry_operator.plan.tenant_deletion import deletion_actions, finishes_drop, retirement_actions
from tenantry_operator.plan.tenant_drift import catalogue_actions
from tenantry_operator.plan.tenant_extensions import extension_actions, extension_problem
from tenantry_operator.plan.tenant_namespace import namespace_actions, namespace_problem, namespace_waited_for
from tenantry_operator.plan.tenant_reader import is_to_go, reader_dropped
from tenantry_operator.plan.tenant_reporting import sort_out
from tenantry_operator.plan.tenant_rotation import (
    Rotation,
    as_before,
    decide_rotation,
    ending_actions,
    is_still_named,
    left_alone,
)
from tenantry_operator.plan.tenant_secret import secret_actions, secret_refusal
from tenantry_operator.plan.tenant_secret_place import (
    credentials_barred,
    opened_first,
    opening_actions,
    secret_waited_for,
)


@dataclass(frozen=True)
class Refusal:
    """Why nothing is done. `reason` is one of the table of reasons, `message` tells a person what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Plan:
    """Ordered actions, or a refusal, or neither: nothing to do.

    With both, the actions take access from what is refused otherwise.
    """

    actions: tuple[TenantAction, ...] = ()
    refusal: Refusal | None = None
    id: str = field(default="", compare=False)
    """The tenant's id, as far as the plan had to choose or find one."""
    drift: tuple[TenantAction, ...] = field(default=(), compare=False)
    """What answers to a change by hand, be it among the actions or left undone."""
    held: tuple[TenantAction, ...] = field(default=(), compare=False)
    """What is left undone, since drift is only reported."""
    extension_problem: Problem | None = field(default=None, compare=False)
    """What keeps the tenant from an extension; the rest of the plan is carried out all the same."""
    namespace_problem: Problem | None = field(default=None, compare=False)
    """What is the matter with the namespace; the rest of the plan is carried out all the same."""
    credentials_problem: Problem | None = field(default=None, compare=False)
    """Why nothing is done about the credentials; the rest of the plan is carried out all the same."""
    finishes_drop: bool = field(default=False, compare=False)
    """Whether it drops the rest, since a drop had begun, though the policy is to keep the data by now."""
    rotation: Rotation | None = field(default=None, compare=False)
    """How it stands with the logins once the plan is done."""
    waits_for: Problem | None = field(default=None, compare=False)
    """What the rest of the deletion has to wait for."""
    again: str | None = field(default=None, compare=False)
    """Why the plan is not the whole of it, and another one has to follow."""

    @property
    def unfinished(self) -> Problem | None:
        """What passes with the next plan."""
        return Problem(Reason.PROVISIONING, self.again) if self.again else None

    @property
    def is_empty(self) -> bool:
        return not self.actions and self.refusal is None


def plan_tenant(desired: DesiredTenant, observed: ObservedTenant) -> Plan:
    """Decide what leads from what is there to what is desired; playing the plan leaves an empty one."""
    identity = tenant_id(desired, observed)
    if desired.deletion is not None:
        return _plan_deletion(desired, observed, identity=identity, deletion=desired.deletion)
    foreign = whose(desired, observed)
    if foreign is not None:
        return Plan(refusal=Refusal(*foreign), id=identity)
    refusal = drop_begun(observed) or data_missing(desired, observed) or _secret_refusal(desired, observed)
    if refusal is not None:
        return Plan(lifecycle.taking_actions(desired, observed), Refusal(*refusal), id=identity)
    return _plan_presence(desired, observed)


def tenant_id(desired: DesiredTenant, observed: ObservedTenant) -> str:
    """Return the id that the tenant has: the marker's, else the row's, else the one offered."""
    marker = observed.catalogue.marker
    if marker is not None:
        return marker.id
    return observed.row.id if observed.row is not None else desired.new_id


def data_missing(desired: DesiredTenant, observed: ObservedTenant) -> tuple[Reason, str] | None:
    """Say what is gone of a tenant that had data. An empty schema in its place would look like a loss that is none."""
    if not had_data(desired, observed):
        return None
    gone = _gone(desired, observed.catalogue)
    if not gone:
        return None
    place = desired.place
    where = f"on server {place.server} ({place.host})"
    if desired.layout.own_database is None:
        where = f"in database {place.database} of server {place.server} ({place.host})"
    return Reason.DATA_MISSING, (
        f"{', '.join(gone)} should be {where} and is not. Nothing is made in its place: "
        "correct the DatabaseServer if it points to the wrong server, or restore from a backup"
    )


def _secret_refusal(desired: DesiredTenant, observed: ObservedTenant) -> tuple[Reason, str] | None:
    """Say why the Secret cannot be written, if it is to be; an archived tenant has none."""
    if lifecycle.is_archived(desired) or credentials_barred(desired, observed) is not None:
        return None
    return secret_refusal(observed)


def had_data(desired: DesiredTenant, observed: ObservedTenant) -> bool:
    """Whether the tenant was provisioned once. Marker and Secret remember it when the registry is lost as well."""
    recorded = observed.row is not None and observed.row.version is not None
    secrets = (observed.secret, *observed.stale_secrets)
    marked = observed.catalogue.marker is not None and not is_unfinished(desired, observed)
    return recorded or marked or any(secret is not None and _attests(desired, observed, secret) for secret in secrets)


def _attests(desired: DesiredTenant, observed: ObservedTenant, secret: ObservedSecret) -> bool:
    """Whether a Secret proves that there was data. People write in the tenant's namespace, which the row is before."""
    beside = secret.namespace == desired.system_namespace
    return secret.ours and (beside or (observed.row is None and secret.applied is not None))


def _gone(desired: DesiredTenant, catalogue: Catalogue) -> list[str]:
    names, services = desired.names, desired.layout.services.schema
    if names.owner not in catalogue.roles:
        return [f"role {names.owner}"]
    if is_missing(desired, catalogue):
        return [missing_database(catalogue, desired.place.database)]
    if catalogue.is_shut:
        return []
    gone = [f"schema {schema}" for schema in desired.layout.schemas if schema not in catalogue.schemas]
    if gone:
        return gone
    if catalogue.version is None:
        return [f"the version of schema {services}"]
    wanted = {grant.on for grant in desired.service_tables.get(catalogue.version, frozenset())}
    return [f"table {services}.{table}" for table in sorted(wanted - catalogue.tables)]


def _plan_presence(desired: DesiredTenant, observed: ObservedTenant) -> Plan:
    barred = credentials_barred(desired, observed)
    rotation = decide_rotation(desired, observed) if barred is None else left_alone(desired, observed)
    actions = _presence_actions(desired, observed, rotation)
    before = desired.drift.before
    # One decision about the logins for both: what a rotation makes is no drift, and no change of the spec.
    known = actions if before is None else _presence_actions(before, observed, as_before(rotation, before))
    found = sort_out(desired, observed, actions, before=known, made=rotation.active if rotation.begun else None)
    return Plan(
        _with_namespace(desired, observed, tuple(found.actions)),
        id=tenant_id(desired, observed),
        drift=found.drift,
        held=found.held,
        extension_problem=extension_problem(desired, observed.catalogue),
        namespace_problem=namespace_problem(desired, observed.namespace),
        credentials_problem=barred,
        rotation=rotation,
        again=seen_later(observed.catalogue) or opened_first(barred),
    )


def _with_namespace(
    desired: DesiredTenant, observed: ObservedTenant, actions: tuple[TenantAction, ...]
) -> tuple[TenantAction, ...]:
    """Put the namespace before the database, which may fail, and after the registry, which says that we are here."""
    told = 1 if actions and isinstance(actions[0], RecordTenant) else 0
    return (*actions[:told], *namespace_actions(desired, observed.namespace), *actions[told:])


def _presence_actions(desired: DesiredTenant, observed: ObservedTenant, rotation: Rotation) -> list[TenantAction]:
    identity = tenant_id(desired, observed)
    first = tuple(lifecycle.first_records(desired, observed, identity=identity))
    if observed.catalogue.is_shut:
        return [*first, *_ways_in(desired, observed.catalogue, identity=identity)]
    actions: list[TenantAction] = [*first, *_server_actions(desired, observed, rotation, identity=identity)]
    ending = list(ending_actions(desired.names, observed.catalogue, rotation))
    # A Secret that cannot be written keeps no old login open.
    closing = [one for one in ending if isinstance(one, CloseLogin) and not is_still_named(observed, rotation)]
    actions += closing
    if lifecycle.is_archived(desired):
        actions += lifecycle.archived_secrets(desired, observed)
    elif credentials_barred(desired, observed) is None:
        actions += secret_actions(desired, observed, rotation)
    actions += lifecycle.last_records(desired, observed, first, identity=identity)
    return [*actions, *(one for one in ending if one not in closing)]


def _ways_in(desired: DesiredTenant, catalogue: Catalogue, *, identity: str) -> list[TenantAction]:
    """Take access as ever, and have the database let us in; all else depends on what is in it."""
    closing = lifecycle.closing_actions(desired, catalogue)
    marker = _marker_actions(desired, catalogue, identity=identity)
    return [*closing, *marker, *database_actions(desired, catalogue, identity=identity)]


def _server_actions(
    desired: DesiredTenant, observed: ObservedTenant, rotation: Rotation, *, identity: str
) -> list[TenantAction]:
    closing = lifecycle.closing_actions(desired, observed.catalogue)
    left = lifecycle.after_closing(desired, observed.catalogue, closing)
    actions = [*closing, *_marker_actions(desired, observed.catalogue, identity=identity)]
    archived = lifecycle.is_archived(desired)
    gone = [*(desired.names.logins if archived else ())]
    gone += [desired.names.readonly] if is_to_go(desired, left) else []
    stays = lifecycle.without_roles(left, *gone) if gone else left
    actions += catalogue_actions(desired, stays, rotation, identity=identity)
    if archived:
        actions += retirement_actions(desired.names, left, reason=lifecycle.why(desired))
    return [*actions, *reader_dropped(desired, left), *extension_actions(desired, left)]


def _marker_actions(desired: DesiredTenant, catalogue: Catalogue, *, identity: str) -> list[TenantAction]:
    """Adoption; at creation the marker follows the role that bears it."""
    marker = Marker(identity, desired.uid, desired.installation)
    if desired.names.owner not in catalogue.roles or catalogue.marker == marker:
        return []
    why = "adopted: released by an earlier Tenant, or left behind by one"
    return [WriteMarker(role=desired.names.owner, marker=marker, reason=why)]


def _plan_deletion(desired: DesiredTenant, observed: ObservedTenant, *, identity: str, deletion: Deletion) -> Plan:
    held = _held(deletion)
    if held is not None:
        return Plan(refusal=held, id=identity)
    mine = own_part(desired, observed)
    finishes = finishes_drop(deletion, mine.catalogue)
    deletion = replace(deletion, leaving=Leaving.DELETE) if finishes else deletion
    kept = not_to_be_dropped(mine.catalogue) if deletion.leaving is Leaving.DELETE else None
    missing = data_missing(desired, mine) if _is_whole(mine, observed) else None
    missing = None if can_only_be_dropped(mine.catalogue, deletion) else missing
    if kept is not None or missing is not None:
        return Plan(refusal=Refusal(*(missing or (Reason.NOT_OURS, str(kept)))), id=identity)
    if mine.catalogue.is_shut and (deletion.leaving is not Leaving.DELETE or deletion.backup is not None):
        # What is kept, or backed up before, has to be seen.
        ways = tuple(_ways_in(desired, mine.catalogue, identity=identity))
        return Plan(ways, id=identity, again=seen_later(mine.catalogue))
    backup = backup_step(desired, mine)
    if backup is not None:
        return Plan(backup.actions, id=identity, waits_for=backup.problem)
    dropped = deletion_actions(desired, mine, leaving=deletion.leaving, backup=allowed_by(desired, mine))
    opening = opening_actions(desired, observed.namespace) if deletion.leaving is Leaving.RETAIN else ()
    waits = namespace_waited_for(desired, observed.namespace, leaving=deletion.leaving)
    return Plan(
        (*opening, *dropped, *backup_ended(mine)),
        id=identity,
        namespace_problem=waits or secret_waited_for(desired, observed, leaving=deletion.leaving),
        finishes_drop=finishes,
    )


def _held(deletion: Deletion) -> Refusal | None:
    if deletion.protected:
        said = "spec.deletionProtection is Enabled; set it to Disabled to let the Tenant go"
        return Refusal(Reason.PROTECTED, said)
    if deletion.definition_leaves:
        said = (
            "the CRD of Tenants is being deleted, which marked this Tenant too; nothing is dropped. "
            "`tenantry uninstall --orphan` lets it go and keeps the data; see docs/how-to/uninstall.md"
        )
        return Refusal(Reason.CRD_TERMINATING, said)
    return None


def own_part(desired: DesiredTenant, observed: ObservedTenant) -> ObservedTenant:
    """Take what of the observed is this very Tenant's: the rest does not keep it, and is not dropped with it.

    A released marker of an earlier Tenant, too, is somebody else's until it is adopted.
    """
    marker, row = observed.catalogue.marker, observed.row
    ours = marker is not None and (marker.uid, marker.installation) == (desired.uid, desired.installation)
    return replace(
        observed,
        catalogue=observed.catalogue if ours else Catalogue(),
        row=row if row is not None and row.uid == desired.uid else None,
        secret=observed.secret if observed.secret is not None and observed.secret.ours else None,
    )


def deletion_begun(row: RegistryRow | None, uid: str) -> bool:
    """Whether an earlier pass has begun to let this very Tenant go: then it does not serve any more."""
    return row is not None and row.uid == uid and row.state is RowState.RELEASED


def _is_whole(mine: ObservedTenant, observed: ObservedTenant) -> bool:
    """Whether missing data is news: nobody else bears the names, and no deletion of this Tenant had begun.

    The registry is told of a deletion before anything is dropped.
    """
    begun = mine.row is not None and mine.row.state is RowState.RELEASED
    return not begun and (mine.catalogue == observed.catalogue or not observed.catalogue.roles)
