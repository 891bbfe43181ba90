"""The actions about the role that reads and does nothing else. Each is safe to repeat."""

from dataclasses import dataclass

from tenantry_operator.plan.action import Action


@dataclass(frozen=True, kw_only=True)
class GrantReads(Action):
    """Let a role read all that `owner` has in the schema; default privileges are of what is made later."""

    schema: str
    owner: str
    role: str


@dataclass(frozen=True, kw_only=True)
class RevokeReads(Action):
    """Take all that a role holds on what `owner` has in the schema."""

    schema: str
    owner: str
    role: str


@dataclass(frozen=True, kw_only=True)
class CloseReader(Action):
    """Let the role read nothing any more, neither in a new session nor in one that is there."""

    schema: str
    owner: str
    role: str


@dataclass(frozen=True, kw_only=True)
class DropReader(Action):
    """Drop the role; what it owns passes to `heir`. `members` had it from an administrator."""

    role: str
    heir: str
    members: tuple[str, ...] = ()


ReaderAction = GrantReads | RevokeReads | CloseReader | DropReader


def describe_reader(action: ReaderAction) -> str:
    """Say for a person what is not as it should be."""
    match action:
        case GrantReads(schema=schema, role=role):
            return f"{role} cannot read all that is in schema {schema}"
        case RevokeReads(schema=schema, role=role):
            return f"{role} may do more than read in schema {schema}"
        case CloseReader(schema=schema, role=role):
            return f"{role} may read in schema {schema}"
        case DropReader(role=role, members=members):
            lent = f", and was lent to {', '.join(members)}" if members else ""
            return f"there is a role {role}, which the spec does not ask for{lent}"
