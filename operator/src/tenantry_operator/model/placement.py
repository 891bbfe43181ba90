"""Where a tenant may be placed, and what of the places is taken."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seat:
    """A tenant's place on its server: by which of the services' logins it is reached.

    The limits hold when the place is taken, and never afterwards: who has a place keeps it.
    """

    login: int = 1
    most_tenants: int | None = None
    """How many tenants the server holds; None: nobody counts."""
    most_per_login: int | None = None


@dataclass(frozen=True)
class Candidate:
    """A DatabaseServer as one that tenants may be placed on."""

    name: str
    default: bool = False
    ready: bool = True
    leaving: bool = False
    """Whether it is being deleted."""
    most_tenants: int = 0
    logins: int = 1
    """How many logins each service has there."""
    most_per_login: int = 0


@dataclass(frozen=True)
class Taken:
    """What the registry has of one server."""

    tenants: int = 0
    """Those that are placed on it; the released are not."""
    by_login: Mapping[int, int] = field(default_factory=dict)
    """Number of a service's login to tenants that it reaches, or would again when they are adopted."""


@dataclass(frozen=True)
class Choice:
    server: str
    seat: Seat = field(default_factory=Seat)


def seat_on(server: Candidate, taken: Taken) -> Seat | None:
    """Return the first login with room, as far as there are logins."""
    for number in range(1, server.logins + 1):
        if taken.by_login.get(number, 0) < server.most_per_login:
            return Seat(number, server.most_tenants, server.most_per_login)
    return None
