"""Chooses the server and the services' login for a tenant that has no place yet.

A tenant is placed once. The registry's row, and the marker on the server, remember where; nothing moves it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenantry_crds.reasons import Reason
from tenantry_operator.model.names import SERVICES, TenantNames, login_number
from tenantry_operator.model.placement import Candidate, Choice, Taken, seat_on
from tenantry_operator.model.tenant import Membership
from tenantry_operator.plan.status import Problem

NOTHING = Taken()


@dataclass(frozen=True)
class Placement:
    """The servers that a tenant may be placed on, the best first; or why there is none."""

    choices: tuple[Choice, ...] = ()
    problem: Problem | None = None


def place(candidates: Sequence[Candidate], taken: Mapping[str, Taken], *, asked: str | None) -> Placement:
    """Choose for a tenant that asks for a server, or leaves it to us: then the default with most room, ties by name."""
    if asked is not None:
        return _asked(asked, candidates, taken)
    defaults = sorted((one for one in candidates if one.default and not one.leaving), key=lambda one: one.name)
    if not defaults:
        said = "the Tenant names no server, and no DatabaseServer has spec.default: true"
        return Placement(problem=Problem(Reason.NO_DEFAULT_SERVER, said, lasting=True))
    # The pass over an only server says best what is the matter with it, and records no place before it answers.
    usable = [one for one in defaults if one.ready] if len(defaults) > 1 else defaults
    if not usable:
        said = f"of the default servers none is Ready: {_named(defaults)}; their conditions say why"
        return Placement(problem=Problem(Reason.NO_SERVER_READY, said))
    ranked = sorted(usable, key=lambda one: (-free(one, taken), one.name))
    roomy = [one for one in ranked if free(one, taken) > 0]
    if not roomy:
        return Placement(problem=_full(defaults, taken))
    choices = [
        Choice(one.name, seat) for one in roomy if (seat := seat_on(one, taken.get(one.name, NOTHING))) is not None
    ]
    return Placement(tuple(choices)) if choices else Placement(problem=_no_login(roomy))


def free(server: Candidate, taken: Mapping[str, Taken]) -> int:
    """Return how many more tenants the server takes; less than none when the limit was lowered."""
    return server.most_tenants - taken.get(server.name, NOTHING).tenants


def kept_login(names: TenantNames, memberships: Iterable[Membership], otherwise: int) -> int:
    """Return which login reaches a tenant whose row is lost: the one that does so on the server."""
    roles = {names.service_role(service) for service in SERVICES}
    held = sorted(number for m in memberships if m.role in roles and (number := login_number(m.member)) is not None)
    return held[0] if held else otherwise


def _asked(name: str, candidates: Sequence[Candidate], taken: Mapping[str, Taken]) -> Placement:
    server = next((one for one in candidates if one.name == name), None)
    if server is None:
        return Placement((Choice(name),))  # that there is none is found where its address is looked for
    if free(server, taken) <= 0:
        return Placement(problem=_full([server], taken))
    seat = seat_on(server, taken.get(server.name, NOTHING))
    return Placement(problem=_no_login([server])) if seat is None else Placement((Choice(name, seat),))


def _full(servers: Sequence[Candidate], taken: Mapping[str, Taken]) -> Problem:
    there = [f"{one.name} ({taken.get(one.name, NOTHING).tenants} of {one.most_tenants} tenants)" for one in servers]
    waiting = [one.name for one in servers if not one.ready and free(one, taken) > 0]
    said = f"no room for another tenant on {', '.join(there)}"
    if waiting:
        return Problem(Reason.NO_CAPACITY, f"{said}; {', '.join(waiting)} has room and is not Ready")
    return Problem(Reason.NO_CAPACITY, said, lasting=True)


def _no_login(servers: Sequence[Candidate]) -> Problem:
    said = f"the services' logins of {_named(servers)} are full; the next one is being made"
    return Problem(Reason.PROVISIONING, said)


def _named(servers: Sequence[Candidate]) -> str:
    return ", ".join(one.name for one in servers)
