"""The statements of each action on a tenant's server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, LiteralString

from psycopg import sql

from tenantry_migrations import TENANT, render
from tenantry_operator.apply.database_sql import database_statements
from tenantry_operator.apply.extension_sql import extension_statements
from tenantry_operator.apply.pool_sql import pool_statements
from tenantry_operator.apply.reader_sql import reader_statements
from tenantry_operator.model.names import OWNER, TenantNames
from tenantry_operator.model.tenant import PUBLIC, ForeignGrant
from tenantry_operator.plan import actions as do
from tenantry_operator.plan.database_actions import DatabaseAction, OwnDatabase
from tenantry_operator.plan.extension_actions import ExtensionAction
from tenantry_operator.plan.pool_actions import PoolTenantAction
from tenantry_operator.plan.reader_actions import CloseReader, DropReader, GrantReads, RevokeReads

Statement = sql.SQL | sql.Composed

OBJECT_WORDS: Final[Mapping[str, LiteralString]] = {
    "table": "TABLE",
    "view": "TABLE",
    "materialized view": "TABLE",
    "foreign table": "TABLE",
    "sequence": "SEQUENCE",
    "schema": "SCHEMA",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
    "type": "TYPE",
    "database": "DATABASE",
    "tablespace": "TABLESPACE",
    "language": "LANGUAGE",
    "large object": "LARGE OBJECT",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "server": "FOREIGN SERVER",
    "parameter ACL": "PARAMETER",
}
"""The catalogue's name for a kind of object, and the word of REVOKE for it."""


class CannotRevoke(Exception):
    """A privilege on a kind of object that we know no REVOKE for; the message names it."""


@dataclass(frozen=True)
class Context:
    """What the statements need and the plan does not know."""

    names: TenantNames
    database: str
    verifier: str = field(default="", repr=False)
    """What Postgres stores of the password: never the password itself."""


def statements(action: do.ServerAction, context: Context) -> tuple[Statement, ...]:
    """Return the statements of one action, to be run in one transaction. Raises CannotRevoke."""
    if isinstance(action, PoolTenantAction):
        return tuple(pool_statements(action))
    if isinstance(action, DatabaseAction):
        return tuple(database_statements(action))
    if isinstance(action, ExtensionAction):
        return tuple(extension_statements(action))
    if isinstance(action, GrantReads | RevokeReads | CloseReader):
        return tuple(reader_statements(action))
    return tuple(_statements(action, context))


def _statements(action: do.ServerAction, context: Context) -> Iterator[Statement]:
    match action:
        case do.CreateRole() | do.AlterRole():
            yield _role(action)
        case do.StripRole(role=role, attributes=attributes):
            words = sql.SQL(" ").join(word(f"NO{attribute}") for attribute in attributes)
            yield sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), words)
        case do.SetPassword(role=role):
            yield sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(context.verifier))
        case do.WriteMarker(role=role, marker=marker):
            yield sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(marker.text()))
        case do.GrantMembership(membership=m):
            yield sql.SQL("GRANT {} TO {}").format(sql.Identifier(m.role), sql.Identifier(m.member))
        case do.RevokeMembership(membership=m) | do.ShutOut(membership=m):
            yield sql.SQL("REVOKE {} FROM {} CASCADE").format(sql.Identifier(m.role), sql.Identifier(m.member))
        case do.SetSetting() | do.ResetSetting():
            yield _setting(action, context.database)
        case do.CloseLogin(role=role):
            yield sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role))
        case do.Migrate(schema=schema, to=to):
            yield from _migration(schema, to, names=context.names)
        case do.RevokeForeign(grant=grant):
            # What another one gave stays, with a mere warning, unless he loses the right to give it.
            yield from (_revoke_foreign(replace(grant, grantee=g), what="GRANT OPTION FOR ALL") for g in grant.givers)
            yield _revoke_foreign(grant)
        case do.RetireLogin() | DropReader() | do.DropData() | do.LeaveDatabase():
            yield from _drop(action)
        case _:
            yield from _on_schemas(action)


def _on_schemas(action: do.ServerAction) -> Iterator[Statement]:
    match action:
        case do.CreateSchema(schema=schema, owner=owner):
            yield sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(schema), sql.Identifier(owner))
        case do.OwnSchema(schema=schema, owner=owner):
            yield sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(sql.Identifier(schema), sql.Identifier(owner))
        case do.OwnTable(schema=schema, table=table, owner=owner):
            yield sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(schema, table), sql.Identifier(owner))
        case do.GrantOnSchema(grant=g):
            yield sql.SQL("GRANT {} ON SCHEMA {} TO {}").format(
                word(g.privilege), sql.Identifier(g.on), grantee(g.grantee)
            )
        case do.RevokeOnSchema(grant=g):
            yield sql.SQL("REVOKE {} ON SCHEMA {} FROM {} CASCADE").format(
                word(g.privilege), sql.Identifier(g.on), grantee(g.grantee)
            )
        case do.GrantOnTable(schema=schema, grant=g):
            yield sql.SQL("GRANT {} ON TABLE {} TO {}").format(
                word(g.privilege), sql.Identifier(schema, g.on), grantee(g.grantee)
            )
        case do.RevokeOnTable(schema=schema, grant=g):
            yield sql.SQL("REVOKE {} ON TABLE {} FROM {} CASCADE").format(
                word(g.privilege), sql.Identifier(schema, g.on), grantee(g.grantee)
            )
        case do.GrantDefault(owner=owner, grant=g):
            yield sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT {} ON {} TO {}").format(
                sql.Identifier(owner), word(g.privilege), word(g.on), grantee(g.grantee)
            )
        case do.RevokeDefault(owner=owner, grant=g):
            yield sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE {} ON {} FROM {} CASCADE").format(
                sql.Identifier(owner), word(g.privilege), word(g.on), grantee(g.grantee)
            )
        case _:
            raise TypeError(f"no statement for {type(action).__name__}")


def borrow(role: str) -> Statement:
    """Become a member of a role, until `give_back` in the same transaction.

    Kept memberships would be read by every session at each change of a role: with thousands, that is slow.
    """
    return sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role))


def give_back(role: str) -> Statement:
    return sql.SQL("REVOKE {} FROM CURRENT_USER").format(sql.Identifier(role))


def lenders(action: do.ServerAction, names: TenantNames) -> tuple[str, ...]:
    """Return the roles that one must be a member of to do the action, of those that are not ours for good."""
    match action:
        case do.GrantDefault() | do.RevokeDefault() | do.CreateSchema(schema=names.schema):
            wanted: tuple[str, ...] = (names.owner,)
        case do.GrantOnSchema(grant=g) | do.RevokeOnSchema(grant=g):
            wanted = (names.owner,) if g.on == names.schema else ()
        case GrantReads(owner=owner) | RevokeReads(owner=owner) | CloseReader(owner=owner):
            wanted = (owner,)
        case (
            do.OwnSchema(owner=owner, lender=lender)
            | do.OwnTable(owner=owner, lender=lender)
            | OwnDatabase(owner=owner, lender=lender)
        ):
            wanted = tuple({owner, lender} - {OWNER})
        case do.RevokeForeign(grant=grant):
            wanted = (grant.owner,)
        case do.RetireLogin(role=role, heir=heir) | DropReader(role=role, heir=heir):
            wanted = (role, heir)
        case do.LeaveDatabase(roles=roles, heir=heir):
            wanted = (*roles, heir) if heir else roles
        case do.DropData(roles=roles, lenders=others):
            wanted = (*roles, *others)
        case _:
            wanted = ()
    return wanted


def _role(action: do.CreateRole | do.AlterRole) -> Statement:
    verb = "CREATE" if isinstance(action, do.CreateRole) else "ALTER"
    expiry = "" if verb == "CREATE" else " VALID UNTIL 'infinity'"
    words = f"{'' if action.login else 'NO'}LOGIN {'' if action.inherit else 'NO'}INHERIT"
    return sql.SQL("{} ROLE {} {} CONNECTION LIMIT {}{}").format(
        word(verb), sql.Identifier(action.role), word(words), sql.Literal(action.connection_limit), word(expiry)
    )


def _setting(action: do.SetSetting | do.ResetSetting, database: str) -> Statement:
    role, name = sql.Identifier(action.role), sql.Identifier(*action.name.split("."))
    where = action.database if isinstance(action, do.ResetSetting) else None
    if where == "":
        return sql.SQL("ALTER ROLE {} RESET {}").format(role, name)
    head = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(role, sql.Identifier(where or database))
    if isinstance(action, do.ResetSetting):
        return sql.SQL("{} RESET {}").format(head, name)
    return sql.SQL("{} SET {} TO {}").format(head, name, sql.Literal(action.value))


def _migration(schema: str, to: str, *, names: TenantNames) -> Iterator[Statement]:
    yield sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER))
    yield sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema))
    for step in TENANT.steps(None, to):
        yield render(step, roles=names.service_roles, schema=schema)
    yield sql.SQL("SET LOCAL ROLE NONE")
    yield sql.SQL("SET LOCAL search_path TO DEFAULT")


def _revoke_foreign(grant: ForeignGrant, *, what: LiteralString = "ALL") -> Statement:
    holder = sql.Identifier(grant.grantee)
    if grant.kind == "default acl":
        # The catalogue says "for role x in schema y on tables".
        whose, _, kind = grant.identity.rpartition(" on ")
        return sql.SQL("ALTER DEFAULT PRIVILEGES {} REVOKE ALL ON {} FROM {} CASCADE").format(
            word(whose), word(kind), holder
        )
    kind_word = OBJECT_WORDS.get(grant.kind)
    if kind_word is None:
        raise CannotRevoke(f"{grant.grantee} holds privileges on the {grant.kind} {grant.identity}")
    return sql.SQL("REVOKE {} ON {} {} FROM {} CASCADE").format(
        sql.SQL(what), sql.SQL(kind_word), word(grant.identity), holder
    )


def _drop(action: do.RetireLogin | DropReader | do.DropData | do.LeaveDatabase) -> Iterator[Statement]:
    """Drop what roles own, which takes their privileges back too; a large object alone would keep a role."""
    roles = (action.role,) if isinstance(action, do.RetireLogin | DropReader) else action.roles
    listed = sql.SQL(", ").join(map(sql.Identifier, roles))
    if isinstance(action, do.DropData):
        for schema in action.schemas:
            yield sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema))
    elif action.heir is not None:
        yield sql.SQL("REASSIGN OWNED BY {} TO {}").format(listed, sql.Identifier(action.heir))
    yield sql.SQL("DROP OWNED BY {} CASCADE").format(listed)
    if not isinstance(action, do.LeaveDatabase):
        yield sql.SQL("DROP ROLE {}").format(listed)


def dropped(action: do.ServerAction) -> tuple[str, ...]:
    """Return the roles that are gone after the action."""
    match action:
        case do.RetireLogin(role=role) | DropReader(role=role):
            return (role,)
        case do.DropData(roles=roles):
            return roles
    return ()


def grantee(name: str) -> sql.Composable:
    return sql.SQL(PUBLIC) if name == PUBLIC else sql.Identifier(name)


def word(text: str) -> sql.SQL:
    """Take words that are the catalogue's or our own, never anyone's input; names there are quoted already."""
    return sql.SQL(text)
