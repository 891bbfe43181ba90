"""How many tenants a server takes, by its spec and by what its version of Postgres bears."""

from dataclasses import dataclass
from typing import Final

from tenantry_crds import ConditionType, ServerCapacity
from tenantry_crds.reasons import Reason
from tenantry_operator.model.placement import Taken
from tenantry_operator.plan.status import Said

MOST_LOGINS: Final = 100
"""Of one service on one server. Each is a pool of connections in each of the service's pods."""

BORNE_BY_ANY: Final = 1_000
"""Tenants that a server of any version bears, and that one login of a service reaches there."""

SLOW_MEMBERSHIPS: Final = 170000
"""The first version that looks memberships up quickly; below it, each change of a role costs each session of a login
with 10,000 memberships 155 to 340 ms."""

MAKER_KEEPS: Final = 160000
"""The first version in which who makes a role keeps a membership in it, so that the operator's own ones add up."""

MADE_BY_ONE: Final = 1_000
"""Tenants whose roles one log-in may have made since then.

The time to make another grows with them: measured on two busy cores, 1 to 16 ms with none; with 1,000 it is 0.6 s on
18.4, 0.7 s on 16.14 and 1.7 s on 16.2; with 2,000 about twice that. On 15 it is 1 ms with 10,000.
"""


@dataclass(frozen=True)
class Limits:
    """What bounds a server."""

    version: int
    """As in server_version_num."""
    asked: int | None = None
    """spec.limits.tenants."""
    max_connections: int = 100
    reserved_connections: int = 3
    """Kept back for administrators."""
    operator_connections: int = 8


def tenants_per_login(version: int) -> int:
    """Return how many tenants one login of a service reaches at most."""
    return 1_000 if version < SLOW_MEMBERSHIPS else 10_000


def borne(version: int) -> int:
    """Return how many tenants a server bears without anybody saying so."""
    return MADE_BY_ONE if version >= MAKER_KEEPS else MOST_LOGINS * tenants_per_login(version)


def most_tenants(limits: Limits) -> int:
    return borne(limits.version) if limits.asked is None else limits.asked


def logins_needed(taken: Taken, version: int) -> int:
    """Return how many logins each service needs: those that tenants are reached by, and one that is half empty.

    It is made before it is needed: a mounted Secret reaches the services' pods a minute or two later.
    """
    per_login = tenants_per_login(version)
    highest = max(taken.by_login, default=1)
    room = sum(max(0, per_login - taken.by_login.get(number, 0)) for number in range(1, highest + 1))
    needed = highest if 2 * room >= per_login else highest + 1
    return min(needed, MOST_LOGINS)


def capacity_of(limits: Limits, *, logins: int) -> ServerCapacity:
    return ServerCapacity(
        tenants=most_tenants(limits), tenants_per_login=tenants_per_login(limits.version), service_logins=logins
    )


def capacity_said(limits: Limits, taken: Taken | None, *, logins: int) -> Said:
    """Say whether another tenant may be placed, and what bounds it."""
    kind, most = ConditionType.CAPACITY_AVAILABLE, most_tenants(limits)
    if taken is None:
        return Said(
            kind, "Unknown", Reason.REGISTRY_UNAVAILABLE, "the registry does not say how many tenants there are"
        )
    left = limits.max_connections - limits.reserved_connections - limits.operator_connections
    bounds = f"{most} at most, by {_why(limits)}; {_connections(limits, left)}"
    if left <= 0:
        return Said(kind, "False", Reason.TOO_MANY_CONNECTIONS, f"no connection is left for tenants: {bounds}")
    if taken.tenants >= most:
        return Said(kind, "False", Reason.NO_CAPACITY, f"{taken.tenants} tenants, {bounds}")
    return Said(kind, "True", Reason.ROOM_LEFT, f"{_logins(limits, logins)}; {bounds}")


def _why(limits: Limits) -> str:
    bears = f"what Postgres {limits.version // 10000} bears"
    if limits.asked is None:
        return bears
    beyond = (
        f", beyond {bears}: past {MADE_BY_ONE} each change takes long" if limits.asked > borne(limits.version) else ""
    )
    return f"spec.limits.tenants{beyond}"


def _connections(limits: Limits, left: int) -> str:
    return (
        f"of max_connections {limits.max_connections} the server keeps {limits.reserved_connections} back and the "
        f"operator takes {limits.operator_connections}, which leaves {max(left, 0)}"
    )


def _logins(limits: Limits, logins: int) -> str:
    return f"a service's login reaches {tenants_per_login(limits.version)} tenants, and there are {logins}"
