"""The tenant history, rendered for the schema that tenants share: the same columns, and every row guarded.

A table is the pool's only with a `tenant_id`, and every key of it begins with that, so that no tenant can learn from a
refused row what another one has. Row security holds for the tables' owner too; while a revision moves the data of all
tenants, it is lifted within the transaction.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from tenantry_migrations.history import History, Privilege

TENANT_ID: Final = "tenant_id"

OWNER: Final = "owner"
"""Stands in a step for the role that owns the pool; no service has this name."""

CUSTOMERS: Final = "customers"
"""Stands in a step for the group of the customers' logins."""

CHOSEN: Final = "tenant_id = (SELECT tenantry.chosen_tenant())"
OWN: Final = "tenant_id = (SELECT tenantry.tenant_of(current_user))"
# The owner reaches rows of a tenant that is closed, or that the directory has lost.
NAMED: Final = "tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)"
CATALOGUED: Final = {
    CHOSEN: "(tenant_id = ( SELECT tenantry.chosen_tenant() AS chosen_tenant))",
    OWN: "(tenant_id = ( SELECT tenantry.tenant_of(CURRENT_USER) AS tenant_of))",
    NAMED: "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant'::text, true), ''::text))::uuid AS \"nullif\"))",
}


@dataclass(frozen=True, order=True)
class Policy:
    """Who reaches which rows of a table. `role` is a service, OWNER or CUSTOMERS."""

    table: str
    role: str

    @property
    def name(self) -> str:
        return f"pool_{self.role}"

    @property
    def reads_only(self) -> bool:
        return self.role == CUSTOMERS

    @property
    def rows(self) -> str:
        """The condition on a row."""
        return {OWNER: NAMED, CUSTOMERS: OWN}.get(self.role, CHOSEN)

    @property
    def rows_as_catalogued(self) -> str:
        """The condition in the catalogue's words, which are the same from Postgres 15 to 18."""
        return CATALOGUED[self.rows]

    def create(self) -> str:
        """Return the statement that makes it."""
        allows = f"FOR SELECT TO {{role:{self.role}}}" if self.reads_only else f"FOR ALL TO {{role:{self.role}}}"
        check = "" if self.reads_only else f" WITH CHECK ({self.rows})"
        return f'CREATE POLICY {self.name} ON "{self.table}" {allows} USING ({self.rows}){check}'

    def drop(self) -> str:
        return f'DROP POLICY IF EXISTS {self.name} ON "{self.table}"'


@dataclass(frozen=True)
class PoolShape:
    """What there is in the pool at a revision, besides the columns."""

    tables: tuple[str, ...]
    """In the order in which they were made."""
    policies: frozenset[Policy]
    privileges: frozenset[Privilege]
    """Those of the customers too."""


class PoolHistory(History):
    """The tenant history with the tables that each revision leaves, and whose rows a customer reads itself."""

    def shape(self, revision: str) -> PoolShape:
        """Return what there is at a revision."""
        return self._shapes[self.position(revision)]

    def guard(self, revision: str, table: str) -> tuple[str, ...]:
        """Return the statements that guard a table as at a revision, whatever guards it now but other policies."""
        policies = sorted(policy for policy in self.shape(revision).policies if policy.table == table)
        return (*_secure(table), *(one for policy in policies for one in (policy.drop(), policy.create())))

    @cached_property
    def _shapes(self) -> tuple[PoolShape, ...]:
        return tuple(shape_of(one.tables, one.privileges, one.customers) for one in self.line)


def shape_of(tables: tuple[str, ...], granted: frozenset[Privilege], customers: frozenset[str]) -> PoolShape:
    """Return the guards of tables: their owner's, one for each service with a privilege, and the customers'."""
    services = frozenset(one for one in granted if one.privileges)
    read = frozenset(Privilege(table, CUSTOMERS, frozenset({"SELECT"})) for table in customers)
    owned = frozenset(Policy(table, OWNER) for table in tables)
    policies = owned | {Policy(one.table, one.service) for one in services | read}
    return PoolShape(tables, policies, services | read)


NOTHING: Final = PoolShape((), frozenset(), frozenset())


def guarded(before: PoolShape, after: PoolShape, statements: Iterable[str]) -> tuple[str, ...]:
    """Return a revision's statements between those that lift the guards and those that close them again."""
    lifted = (f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY' for table in sorted(before.tables))
    return (*lifted, *statements, *_guards(before, after), *_grants(before, after))


def _secure(table: str) -> tuple[str, str]:
    return (f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY', f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY')


def _guards(before: PoolShape, after: PoolShape) -> Iterator[str]:
    """Guard every table, and change the policies from the one shape to the other."""
    for table in sorted(after.tables):
        yield from _secure(table)
    kept = {policy for policy in before.policies if policy.table in after.tables}
    yield from (policy.drop() for policy in sorted(kept - after.policies))
    yield from (policy.create() for policy in sorted(after.policies - kept))


def _grants(before: PoolShape, after: PoolShape) -> Iterable[str]:
    had = {(one.table, one.service): one.privileges for one in before.privileges if one.table in after.tables}
    wanted = {(one.table, one.service): one.privileges for one in after.privileges}
    for table, service in sorted(had.keys() | wanted.keys()):
        held, wants = (state.get((table, service), frozenset[str]()) for state in (had, wanted))
        if revoked := held - wants:
            yield f'REVOKE {", ".join(sorted(revoked))} ON "{table}" FROM {{role:{service}}}'
        if granted := wants - held:
            yield f'GRANT {", ".join(sorted(granted))} ON "{table}" TO {{role:{service}}}'
