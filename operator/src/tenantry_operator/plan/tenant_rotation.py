"""Decides which of a tenant's two logins the Secret names, whether that changes now, and which login goes.

A rotation goes through five steps, and each pass finds out from Postgres and the Secret alone how far it came:
prepare (the free login gets what it needs and a new password), publish (one write of the Secret, which is the moment
of the change), wait, end (nobody logs in any more, sessions are ended), retire (the old login is dropped).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tenantry_operator.model.credentials import DesiredCredentials, RotationNotes, applied_mark, note_of
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.tenant import Catalogue, DesiredTenant, ObservedSecret, ObservedTenant, Role
from tenantry_operator.plan.actions import CloseLogin, LeaveDatabase, RetireLogin, TenantAction
from tenantry_operator.plan.tenant_lifecycle import is_archived, is_open

GRACE: Final = timedelta(minutes=2)
"""So long the kubelets need to hand a new Secret to the pods. An old login that nobody uses is not dropped before."""

SKEW: Final = timedelta(minutes=5)
"""A time that is further ahead than clocks differ was written by somebody else, and is not believed."""

SPREAD: Final = 0.05
"""The part of the interval by which a rotation may come sooner."""


@dataclass(frozen=True)
class Rotation:
    """What is to become of the logins. It describes the tenant as it is once the plan is done."""

    active: str
    """The login that the Secret names."""
    notes: RotationNotes
    """What the Secret remembers."""
    previous: str | None = None
    """The login that works beside it, until `expires_at` at the latest."""
    expires_at: datetime | None = None
    ended: str | None = None
    """The login that goes now."""
    begun: bool = False
    """Whether the active login is to be another one than before, with a new password."""
    lost: bool = False
    """Whether the Secret was lost."""
    restated: bool = False
    """Whether the Secret's notes are to be written, though nothing is rotated."""
    archived: bool = False
    """Whether no login is kept, for the tenant is archived."""
    withheld: bool = False
    """Whether no login is made yet, for nothing could say its password."""
    waiting: bool = False
    """Whether a rotation is asked for, which begins once the previous login is gone."""
    due: datetime | None = None
    """When something is to be done next, if nothing happens until then."""

    @property
    def logins(self) -> tuple[str, ...]:
        """The logins that are kept."""
        if self.archived or self.withheld:
            return ()
        return (self.active, self.previous) if self.previous else (self.active,)


def decide_rotation(desired: DesiredTenant, observed: ObservedTenant) -> Rotation:
    """Decide from what is there; the same at the same time, however often a process dies in between."""
    memory, roles = remembered(desired, observed), observed.catalogue.roles
    current = active_login(desired.names, observed.catalogue, memory)
    other = roles.get(desired.names.other_login(current))
    if is_archived(desired):
        return Rotation(current, memory.rotation if memory else RotationNotes(), archived=True)
    if memory is None:
        rotate = desired.credentials.rotate
        # Before the row tells a version, a pass may have died between the login and its Secret.
        had_one = current in roles and observed.row is not None and observed.row.version is not None
        return _anew(desired, current, other, honoured=note_of(rotate) if rotate else None, lost=had_one)
    if not _attests(memory, roles.get(current)) and other is not None:
        # Which of the two people use is not known for sure, so both work for a while.
        return _anew(desired, current, other, honoured=memory.rotation.rotated_for)
    wanted = _is_asked(desired.credentials, memory)
    rotated_at = _believed(memory.rotation.rotated_at, desired.credentials.now)
    if rotated_at is None and (other is not None or not wanted):
        return _anew(desired, current, other, honoured=memory.rotation.rotated_for)
    if not is_open(desired):
        return _paused(memory.rotation, current, other)
    return _in_turn(desired, observed, memory, current, other, rotated_at=rotated_at, wanted=wanted)


def left_alone(desired: DesiredTenant, observed: ObservedTenant) -> Rotation:
    """Leave the logins as they are, for the Secret is not known now, or has no place; make none that is not there.

    An overlap that is known to be over ends all the same.
    """
    if is_archived(desired):
        return decide_rotation(desired, observed)
    roles, memory = observed.catalogue.roles, _kept_beside(desired, observed)
    current = active_login(desired.names, observed.catalogue, memory)
    other = roles.get(desired.names.other_login(current))
    if other is not None and memory is not None and is_open(desired) and _attests(memory, roles.get(current)):
        expires_at = memory.rotation.previous_expires_at
        if expires_at is not None and expires_at <= desired.credentials.now:
            return Rotation(current, memory.rotation, ended=other.name)
    return Rotation(current, RotationNotes(), previous=other.name if other else None, withheld=current not in roles)


def _kept_beside(desired: DesiredTenant, observed: ObservedTenant) -> ObservedSecret | None:
    """Return the Secret that waits beside the operator for its place in the namespace; nobody else writes in it."""
    kept = (one for one in observed.stale_secrets if one.ours and one.namespace == desired.system_namespace)
    return next(kept, None)


def _in_turn(
    desired: DesiredTenant,
    observed: ObservedTenant,
    memory: ObservedSecret,
    current: str,
    other: Role | None,
    *,
    rotated_at: datetime | None,
    wanted: bool,
) -> Rotation:
    """Decide what is due of a Secret that is believed, for a tenant that is open."""
    roles = observed.catalogue.roles
    by_time = rotated_at and _next_by_time(desired, rotated_at)
    wanted = wanted or (by_time is not None and by_time <= desired.credentials.now)
    stray = other is not None and _is_stray(memory, roles.get(current), other)
    moves = memory.namespace != desired.secret_namespace
    if wanted and not moves and (other is None or stray):
        return _begun(desired, memory, current, old=roles.get(current))
    if wanted and other is None:
        # It moves as it is, so that of two Secrets that a crash leaves both are true.
        return Rotation(current, memory.rotation, due=desired.credentials.now)
    if other is None or rotated_at is None:
        return Rotation(current, memory.rotation, due=by_time)
    idle = other.name not in observed.sessions
    return _beside(
        desired, memory.rotation, current, other, rotated_at=rotated_at, idle=idle, stray=stray, wanted=wanted
    )


def as_before(rotation: Rotation, before: DesiredTenant) -> Rotation:
    """Return the decision as it would be for the spec that was applied last, as far as its lifecycle is another."""
    return replace(rotation, archived=is_archived(before))


def remembered(desired: DesiredTenant, observed: ObservedTenant) -> ObservedSecret | None:
    """Return the Secret that says what was; one of an earlier `secretName` is as good.

    One beside the operator is believed before one where tenants write: that may have been planted there.
    """
    known = [secret for secret in (observed.secret, *observed.stale_secrets) if secret is not None]
    return next((secret for secret in known if secret.namespace == desired.system_namespace), next(iter(known), None))


def active_login(names: TenantNames, catalogue: Catalogue, memory: ObservedSecret | None) -> str:
    """Return the login that the Secret is about, whatever was written into it by hand."""
    there = [catalogue.roles[login] for login in names.logins if login in catalogue.roles]
    if memory is not None:
        attested = next((role.name for role in there if _attests(memory, role)), None)
        named = memory.data.get("username")
        if attested or named in names.logins:
            return attested or str(named)
    return max(there, key=lambda role: role.oid).name if there else names.logins[0]


def is_still_named(observed: ObservedTenant, rotation: Rotation) -> bool:
    """Whether a Secret names the login that goes now, by a hand: then it is put right before."""
    known = (observed.secret, *observed.stale_secrets)
    return any(secret is not None and secret.data.get("username") == rotation.ended for secret in known)


def ending_actions(names: TenantNames, catalogue: Catalogue, rotation: Rotation) -> Iterator[TenantAction]:
    """Let nobody in by the login that goes, end its sessions, and drop it."""
    if rotation.ended is not None:
        why = "another login has taken its place"
        yield CloseLogin(role=rotation.ended, reason=why)
        yield from retirement(names, catalogue, rotation.ended, reason=why, replaced=True)


def retirement(
    names: TenantNames, catalogue: Catalogue, login: str, *, reason: str, replaced: bool = False
) -> Iterator[TenantAction]:
    """Drop a login that is closed and holds no privilege on what is not the tenant's; what it owns stays."""
    for database in sorted(database for role, database in catalogue.elsewhere if role == login):
        yield LeaveDatabase(database=database, roles=(login,), heir=names.owner, reason=reason)
    yield RetireLogin(role=login, heir=names.owner, replaced=replaced, reason=reason)


def _attests(memory: ObservedSecret, role: Role | None) -> bool:
    return role is not None and (memory.applied or "").partition(":")[0] == str(role.oid)


def _is_stray(memory: ObservedSecret, current: Role | None, other: Role) -> bool:
    """Whether the other login was made after the one that the Secret names, and so was never published."""
    if current is None or memory.data.get("username") != current.name:
        return False  # by a slip in editing the Secret names the other one: that is put right first
    if memory.applied != applied_mark(current.oid, memory.data.get("password", "")):
        return False
    return other.oid > current.oid


def _is_asked(credentials: DesiredCredentials, memory: ObservedSecret) -> bool:
    return bool(credentials.rotate) and note_of(str(credentials.rotate)) != memory.rotation.rotated_for


def _believed(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment <= now + SKEW else None


def _next_by_time(desired: DesiredTenant, rotated_at: datetime) -> datetime | None:
    interval = desired.credentials.interval
    if not interval:
        return None
    share = int.from_bytes(hashlib.blake2b(desired.uid.encode(), digest_size=4).digest(), "big") / 2**32
    return rotated_at + interval * (1 - SPREAD * share)


def _anew(
    desired: DesiredTenant, current: str, other: Role | None, *, honoured: str | None, lost: bool = False
) -> Rotation:
    """Begin the account of the times anew: there is none, or it cannot be believed. Nobody is shut out."""
    now = desired.credentials.now
    expires_at = now + desired.credentials.overlap if other is not None else None
    due = _next_look(desired.credentials, now, expires_at) if expires_at else _next_by_time(desired, now)
    return Rotation(
        current,
        RotationNotes(now, expires_at, honoured),
        previous=other.name if other is not None else None,
        expires_at=expires_at,
        lost=lost,
        restated=True,
        due=due,
    )


def _paused(notes: RotationNotes, current: str, other: Role | None) -> Rotation:
    """Keep the logins as they are while nobody may log in; what is due meanwhile is done on the way back."""
    expires_at = notes.previous_expires_at if other is not None else None
    return Rotation(current, notes, previous=other.name if other is not None else None, expires_at=expires_at)


def _begun(desired: DesiredTenant, memory: ObservedSecret, current: str, *, old: Role | None) -> Rotation:
    credentials = desired.credentials
    expires_at = credentials.now + credentials.overlap
    honoured = note_of(credentials.rotate) if credentials.rotate else memory.rotation.rotated_for
    return Rotation(
        desired.names.other_login(current),
        RotationNotes(credentials.now, expires_at, honoured),
        previous=current if old is not None else None,
        expires_at=expires_at if old is not None else None,
        begun=True,
        due=_next_look(credentials, credentials.now, expires_at),
    )


def _beside(
    desired: DesiredTenant,
    notes: RotationNotes,
    current: str,
    other: Role,
    *,
    rotated_at: datetime,
    idle: bool,
    stray: bool,
    wanted: bool,
) -> Rotation:
    """Decide on a login that works beside the active one."""
    credentials = desired.credentials
    now = credentials.now
    # Of the spec's overlap and the one that was promised the shorter counts, so that shortening it holds at once.
    ends = (rotated_at + credentials.overlap, notes.previous_expires_at or rotated_at + credentials.overlap)
    expires_at = min(ends)
    unused = idle and (stray or now >= rotated_at + min(credentials.overlap, GRACE))
    if now >= expires_at or unused:
        due = now if wanted else _next_by_time(desired, rotated_at)
        return Rotation(current, notes, ended=other.name, waiting=wanted, due=due)
    due = _next_look(credentials, rotated_at, expires_at)
    return Rotation(current, notes, previous=other.name, expires_at=expires_at, waiting=wanted, due=due)


def _next_look(credentials: DesiredCredentials, rotated_at: datetime, expires_at: datetime) -> datetime:
    """Look whether the old login is still used when the grace is over, then now and then, at last when it ends."""
    grace = min(credentials.overlap, GRACE)
    first = rotated_at + grace
    return min(expires_at, first if first > credentials.now else credentials.now + grace)
