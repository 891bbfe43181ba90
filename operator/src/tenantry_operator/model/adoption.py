"""Whether a Tenant takes over what is on the server under its name."""

from enum import StrEnum


class Adoption(StrEnum):
    NEVER = "Never"
    IF_MARKED = "IfMarked"
    """What an earlier Tenant of this name released."""
    FORCE = "Force"
    """Also what nobody lives for any more."""
