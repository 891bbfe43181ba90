"""The extensions of a database, and the schema that they are in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

EXTENSIONS: Final = "extensions"
"""The schema of all extensions. Who could create in it could have an extension's script run what he put there."""

MADE_BY_US: Final = "made by tenantry, for spec.database.extensions"
"""The comment on an extension that we made. Without it one is an administrator's, whoever owns it."""


@dataclass(frozen=True)
class Installed:
    """An extension that is there."""

    schema: str
    ours: bool
    """Whether we made it, and may drop it."""
    needs: frozenset[str] = frozenset()
    """The extensions that it is built on."""


@dataclass(frozen=True)
class Available:
    """An extension that the server has at hand, at the version that it makes by default."""

    trusted: bool
    """Whether one who is no superuser may make it."""
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ExtensionSchema:
    owner: str
    ours: bool
    """Whether it belongs to us, so that we may say who enters it."""
    open: bool = False
    """Whether everybody may use what is in it."""
    writers: frozenset[str] = frozenset()
    """Who may create in it besides superusers and us; its owner always, for what he took from himself he gives back."""
    planted: tuple[str, ...] = ()
    """What is in it of somebody else's, and of no extension; not all of it, if there is much."""
    empty: bool = False
    """Whether nothing at all is in it; not looked at in a database that others use too."""


@dataclass(frozen=True)
class ObservedExtensions:
    schema: ExtensionSchema | None = None
    installed: Mapping[str, Installed] = field(default_factory=dict)
    available: Mapping[str, Available] = field(default_factory=dict)
    """Of those that were asked about and are not installed."""


def of_a_new_database() -> ObservedExtensions:
    """Return what Postgres puts into each database."""
    return ObservedExtensions(installed={"plpgsql": Installed("pg_catalog", ours=False)})
