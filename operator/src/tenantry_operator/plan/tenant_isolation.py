"""Says what keeps a Tenant from being isolated, and how each hole is closed; and when a log-in is to try it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from zlib import crc32

from tenantry_crds import ConditionType
from tenantry_crds.reasons import Reason
from tenantry_operator.model.exposure import Exposure, Trial, Way
from tenantry_operator.model.names import OWNER, TENANTS, TenantNames
from tenantry_operator.model.pool import POOL_CUSTOMERS
from tenantry_operator.model.tenant import PUBLIC
from tenantry_operator.plan.actions import TenantAction
from tenantry_operator.plan.status import Problem, Said
from tenantry_operator.plan.tenant_reporting import REPAIRS, describe, opens

RETRY: Final = timedelta(minutes=1)
"""After a log-in that came to nothing, or to too much: the one is not asked for in each pass, the other is soon."""

PATIENCE: Final = 2 * RETRY
"""So long may log-ins come to nothing before the last that came through says nothing any more."""

HOLES_NAMED: Final = 12
HELD: Final = (
    "the catalogue shows no way in or out; a log-in with the published credentials tries it soon after each change, "
    "and now and then"
)

EVERYBODY: Final[Mapping[str, str]] = {
    TENANTS: "every tenant's login",
    POOL_CUSTOMERS: "every pooled tenant's login",
    PUBLIC: "every login that reaches the tenant's database",
}
"""To whom a way is open, in words."""

OPEN_TO_ALL: Final[Mapping[Way, tuple[str, str]]] = {
    Way.ROLE: ("{everybody} belongs to {subject}", "REVOKE {subject} FROM {tenants}, or from its groups"),
    Way.ATTRIBUTE: ("{subject} has {detail}", "ALTER ROLE {subject} NO{detail}"),
    Way.OBJECT: ("{tenants} holds a privilege on {subject}", "REVOKE ALL ON {object} FROM {tenants}"),
    Way.MEMBER: ("{subject} belongs to {detail}, which reaches every tenant", "REVOKE {detail} FROM {subject}"),
    Way.DATABASE: (
        "{everybody} has {detail} in database {subject}",
        "REVOKE {detail} ON DATABASE {subject} FROM {from_all}",
    ),
    Way.SCHEMA: (
        "{everybody} may create in schema {subject} of {detail}",
        "REVOKE CREATE ON SCHEMA {subject} FROM {from_all}",
    ),
    Way.RELATION: (
        "{everybody} may write {subject} of {detail}",
        "REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON {subject} FROM PUBLIC",
    ),
    Way.VIEW: (
        "{subject} shows {everybody} what is in schema {detail}",
        "REVOKE ALL ON {subject} FROM PUBLIC, or ALTER VIEW {subject} SET (security_invoker)",
    ),
    Way.DEFINER: (
        "{everybody} may call {subject}, which runs with the rights of {detail}",
        "REVOKE EXECUTE ON FUNCTION {subject} FROM PUBLIC, or ALTER FUNCTION {subject} SECURITY INVOKER",
    ),
    Way.FUNCTION: ("{everybody} may call {subject}", "REVOKE EXECUTE ON FUNCTION {subject} FROM PUBLIC"),
    Way.CATALOGUE: ("{everybody} may read {subject}", "REVOKE ALL ON {subject} FROM PUBLIC"),
    Way.FOREIGN_SERVER: ("{everybody} may use {subject}", "REVOKE USAGE ON FOREIGN {subject} FROM PUBLIC"),
    Way.PARAMETER: ("{everybody} may set {subject}", "REVOKE ALL ON PARAMETER {subject} FROM PUBLIC"),
    Way.SETTING: ("{subject} is {detail}", "ALTER SYSTEM RESET {subject}, and wherever else it is set"),
    Way.POOL_GUARD: ("{subject}", "the next pass over the DatabaseServer does, or says in its Ready why it cannot"),
    Way.POOL_OBJECT: (
        "{subject} is none of the pool's, and acts with the rights of {detail}",
        "drop it, or move it out of the pool's schemas",
    ),
    Way.DEFAULT: (
        "what {owner} makes is {detail} to {subject} by default",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON TABLES FROM {subject}",
    ),
}
"""What is said of a way that is open to every tenant's login, and the statement that closes it."""


@dataclass(frozen=True, order=True)
class Hole:
    """One way between the tenant and others. `remedy` is what a person does, or runs as an administrator."""

    kind: str
    what: str
    remedy: str


@dataclass(frozen=True)
class IsolationVerdict:
    """What a pass came to about a tenant's isolation. `unknown` says why the log-in could not be tried."""

    holes: tuple[Hole, ...] = ()
    unknown: str = ""


@dataclass(frozen=True)
class Tried:
    """The last log-in that this process tried, and what it was concluded from."""

    at: datetime
    inputs: object
    trial: Trial
    failing: datetime | None = None
    """Since when each log-in came to nothing."""


def find_holes(
    names: TenantNames, ways: Iterable[Exposure], left: Iterable[TenantAction], trial: Trial | None
) -> tuple[Hole, ...]:
    """Name every hole, each once. `left` are the actions that would put something right and were not done."""
    found = [_seen(way, names) for way in ways]
    found += [_left(action) for action in left if isinstance(action, REPAIRS) and opens(action, names)]
    found += [_reached(one) for one in (trial.reached if trial else ())]
    return tuple(sorted(set(found)))


def _left(action: TenantAction) -> Hole:
    return Hole(type(action).__name__, describe(action), "undo it, or set spec.driftPolicy to Repair")


def _reached(what: str) -> Hole:
    return Hole("Trial", f"a log-in as the tenant was not refused: {what}", "find who gave that right, and revoke it")


def _seen(seen: Exposure, names: TenantNames) -> Hole:
    what, remedy = _of_all(seen) if seen.way in OPEN_TO_ALL else _of_one(seen, names)
    return Hole(seen.way.name.title().replace("_", ""), what, remedy)


def _of_one(seen: Exposure, names: TenantNames) -> tuple[str, str]:
    subject, owner = seen.subject, seen.detail
    if seen.way is Way.OBJECT_OUTSIDE:
        return f"{subject} is outside the tenant's schemas and belongs to {owner}", f"move, drop or give away {subject}"
    heir = names.owner if f" {names.schema}." in subject else OWNER
    return f"{subject} belongs to {owner}, who is not the tenant's", f"ALTER {_word(subject)} OWNER TO {heir}"


def _of_all(seen: Exposure) -> tuple[str, str]:
    """Say a way that is open to every tenant's login, and the statement that closes it."""
    what, remedy = OPEN_TO_ALL[seen.way]
    said = {"subject": seen.subject, "detail": seen.detail, "object": _word(seen.subject)}
    from_all = seen.who if seen.who == PUBLIC else f"{PUBLIC}, {seen.who}"
    words = {**said, "everybody": EVERYBODY[seen.who], "tenants": seen.who, "from_all": from_all, "owner": OWNER}
    return what.format(**words), remedy.format(**words)


def _word(subject: str) -> str:
    """Return the catalogue's name of an object as a statement wants it: the kind in capitals."""
    kind, _, rest = subject.rpartition(" ") if "(" not in subject else subject.partition(" ")
    return f"{kind.upper()} {rest}"


def isolation_problem(isolation: IsolationVerdict | None) -> Problem | None:
    """Say that the tenant is not isolated; somebody has to act, for what can be repaired is repaired already."""
    if isolation is None or not isolation.holes:
        return None
    return Problem(Reason.ISOLATION_BROKEN, _told(isolation.holes), lasting=True)


def isolation_said(isolation: IsolationVerdict | None) -> Said:
    """Say IsolationVerified; None when this pass did not come so far as to look."""
    kind = ConditionType.ISOLATION_VERIFIED
    if isolation is None:
        return Said(kind, "Unknown", Reason.PROVISIONING, "not looked at in this pass")
    if isolation.holes:
        return Said(kind, "False", Reason.ISOLATION_BROKEN, _told(isolation.holes))
    if isolation.unknown:
        return Said(kind, "Unknown", Reason.LOG_IN_REFUSED, isolation.unknown)
    return Said(kind, "True", Reason.VERIFIED, HELD)


def _told(holes: Sequence[Hole]) -> str:
    said = "; ".join(f"{hole.what} ({hole.remedy})" for hole in holes[:HOLES_NAMED])
    return said if len(holes) <= HOLES_NAMED else f"{said}; and {len(holes) - HOLES_NAMED} more"


def verified_at(said: Said, before: datetime | None, *, now: datetime) -> datetime | None:
    """Say since when the verdict is that the tenant is isolated; it changes with the verdict alone."""
    if said.status == "True":
        return before or now.replace(microsecond=0)
    return None if said.status == "False" else before


def is_trial_due(last: Tried | None, *, inputs: object, now: datetime, asked: bool) -> bool:
    """Whether to log in now: when something changed, when somebody asks, and again soon after it came to nothing.

    With nothing remembered, as in a new process, it waits to be asked: a restart does not log in ten thousand times.
    """
    if last is None:
        return asked
    if last.trial.problem:
        return now - last.at >= RETRY
    return asked or last.inputs != inputs


def tried_now(last: Tried | None, trial: Trial, *, inputs: object, now: datetime) -> Tried:
    """Return what is remembered of a trial; several that came to nothing are one failure, since the first of them."""
    before = last.failing if last is not None else None
    return Tried(now, inputs, trial, (before or now) if trial.problem else None)


def outdated(last: Tried | None) -> Tried | None:
    """Return what is left of a trial when the tenant was changed since: only that nothing could be tried."""
    return None if last is None or last.failing is None else replace(last, at=last.at - RETRY)


def untried(last: Tried | None, *, now: datetime, doubted: bool) -> str:
    """Say why nobody could log in, as soon as that is no passing thing; or "".

    Whoever uses up the tenant's own connections keeps the log-in out: what is not tried is not held to be verified.
    `doubted`: it is not said to be verified as it is, so that nothing is to wait for.
    """
    if last is None or last.failing is None:
        return ""
    said = last.trial.refused or doubted or now - last.failing >= PATIENCE
    return last.trial.problem if said else ""


def next_trial(name: str, last: datetime | None, *, started: datetime, interval: timedelta) -> datetime:
    """Say when the log-in is due though nothing changed; the first ones of a process are spread over the interval."""
    if last is not None:
        return last + interval
    return started + interval * (crc32(name.encode()) / 2**32)
