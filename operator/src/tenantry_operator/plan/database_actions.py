"""The actions on a database as a whole. Each is safe to repeat, and done from another database of the server."""

from dataclasses import dataclass

from tenantry_operator.model.tenant import Grant, Marker
from tenantry_operator.plan.action import Action


@dataclass(frozen=True, kw_only=True)
class MakeDatabase(Action):
    """Make an empty database that lets nobody in. Postgres makes databases in no transaction."""

    database: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class OwnDatabase(Action):
    """Give a database back to its owner; `lender` owns it now."""

    database: str
    owner: str
    lender: str


@dataclass(frozen=True, kw_only=True)
class MarkDatabase(Action):
    database: str
    marker: Marker


@dataclass(frozen=True, kw_only=True)
class GrantOnDatabase(Action):
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class RevokeOnDatabase(Action):
    grant: Grant


@dataclass(frozen=True, kw_only=True)
class AlterDatabase(Action):
    """Let those in who may connect, without a limit of its own; a template could be copied by others."""

    database: str


@dataclass(frozen=True, kw_only=True)
class DropDatabase(Action):
    """Drop a database with all that is in it, if it still bears the marker that was seen; its sessions are ended."""

    database: str
    marker_text: str | None


DatabaseAction = (
    MakeDatabase | OwnDatabase | MarkDatabase | GrantOnDatabase | RevokeOnDatabase | AlterDatabase | DropDatabase
)


def describe_database(action: DatabaseAction) -> str:
    """Say for a person what is not as it should be."""
    match action:
        case OwnDatabase(database=database, lender=lender):
            return f"database {database} belongs to {lender}"
        case MarkDatabase(database=database):
            return f"the comment on database {database} is not the tenant's marker"
        case GrantOnDatabase(grant=g):
            return f"{g.grantee} lacks {g.privilege} on database {g.on}"
        case RevokeOnDatabase(grant=g):
            return f"{g.grantee} holds {g.privilege}{' WITH GRANT OPTION' if g.grantable else ''} on database {g.on}"
        case AlterDatabase(database=database):
            return f"database {database} lets nobody connect, or too few, or is a template"
    return f"{type(action).__name__}: {action.reason}"
