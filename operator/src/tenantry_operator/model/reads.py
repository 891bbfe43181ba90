"""What the read-only role of a tenant holds on what is in the tenant's own schema."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reads:
    """Of all tables, views and sequences that the tenant's owner has there; all False without a read-only role."""

    some: bool = False
    """Whether it may read any."""
    lacks: bool = False
    """Whether there is one that it may not read."""
    more: bool = False
    """Whether it may do more than read: write, truncate, reference, or hand the right on."""
