"""What a pod that died leaves on a server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """A database in which a backup was restored for a trial, by the mark that it bears."""

    database: str
    uid: str
    """Of the Tenant."""
    installation: str
