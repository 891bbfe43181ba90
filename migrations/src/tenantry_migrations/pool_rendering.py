"""Renders the tenant history for the pool: every key begins with the tenant, or the revision is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.ddl.postgresql import PostgresqlImpl
from alembic.script import Script
from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, UniqueConstraint

from tenantry_migrations.errors import WrongHistory
from tenantry_migrations.history import Privilege, Revision, Step
from tenantry_migrations.offline import render_script
from tenantry_migrations.pool import NOTHING, TENANT_ID, PoolHistory, PoolShape, guarded, shape_of
from tenantry_migrations.scripts import granted_after, previous_of, read_scripts


@dataclass(frozen=True)
class Rendered:
    statements: tuple[str, ...]
    made: tuple[str, ...]
    dropped: tuple[str, ...]


def pool_of(folder: Path) -> PoolHistory:
    """Return the history of the scripts under `folder/versions` for the pool. Its first use may raise WrongHistory."""
    return PoolHistory(lambda: render_pool_revisions(folder))


def render_pool_revisions(folder: Path) -> Sequence[Revision]:
    """Render the scripts of a tenant history, oldest first. Raises WrongHistory for what cannot be guarded.

    A script may name in `customers` the tables whose rows a customer reads itself.
    """
    scripts = read_scripts(folder)
    tables, customers, before = tuple[str, ...](), frozenset[str](), NOTHING
    revisions: list[Revision] = []
    for script, granted, previous in zip(scripts, granted_after(scripts), previous_of(scripts), strict=True):
        rendered = render_for_pool(script)
        tables = tuple(table for table in (*tables, *rendered.made) if table not in rendered.dropped)
        customers = (customers | frozenset(getattr(script.module, "customers", ()))) & frozenset(tables)
        _check_granted(script, granted, tables)
        after = shape_of(tables, granted, customers)
        revisions.append(Revision(_step(script, previous, before, after, rendered), granted, tables, customers))
        before = after
    return revisions


def _step(script: Script, previous: str | None, before: PoolShape, after: PoolShape, rendered: Rendered) -> Step:
    statements = guarded(before, after, rendered.statements)
    return Step(script.revision, script.module.phase, statements, previous)


def _check_granted(script: Script, granted: frozenset[Privilege], tables: tuple[str, ...]) -> None:
    if unknown := {one.table for one in granted if one.privileges} - {*tables}:
        raise WrongHistory(
            f"{script.revision} grants on {', '.join(sorted(unknown))}, which a pool cannot guard: make and drop "
            "a table by op.create_table and op.drop_table"
        )


def render_for_pool(script: Script) -> Rendered:
    """Render one script, and take down which tables it makes and drops. Raises WrongHistory."""
    made, dropped = list[str](), list[str]()

    class Taken(_PoolImpl):
        def create_table(self, table: Table, **kw: Any) -> None:
            made.append(table.name)
            super().create_table(table, **kw)

        def drop_table(self, table: Table, **kw: Any) -> None:
            dropped.append(table.name)
            super().drop_table(table, **kw)

    try:
        statements = render_script(script, Taken)
    except _Unguarded as error:
        raise WrongHistory(f"{script.revision}: {error}") from error
    return Rendered(statements, tuple(made), tuple(dropped))


class _Unguarded(Exception):
    """What is made would let one tenant learn of another."""


class _PoolImpl(PostgresqlImpl):
    """Makes what Alembic would make, with the tenant in front of every key."""

    def create_table(self, table: Table, **kw: Any) -> None:
        """Begin the primary key with the tenant; refuse a table or a key without one."""
        if TENANT_ID not in table.columns or table.columns[TENANT_ID].nullable:
            raise _Unguarded(f"table {table.name} has no {TENANT_ID} that is NOT NULL")
        _lead_with_tenant(table)
        for constraint in table.constraints:
            _check_key(table.name, constraint)
        for index in table.indexes:
            _check_index(index)
        super().create_table(table, **kw)

    def create_index(self, index: Index, **kw: Any) -> None:
        _check_index(index)
        super().create_index(index, **kw)

    def add_constraint(self, const: Any, **kw: Any) -> None:
        _check_key(const.table.name, const)
        super().add_constraint(const, **kw)

    def rename_table(self, old_table_name: str, *_: Any, **__: Any) -> None:
        raise _Unguarded(f"table {old_table_name} is renamed; make a new one, and drop the old one by a later revision")


def _lead_with_tenant(table: Table) -> None:
    key = [column for column in table.primary_key.columns if column.name != TENANT_ID]
    if not key:
        raise _Unguarded(f"table {table.name} has no primary key besides {TENANT_ID}")
    name = table.primary_key.name
    assert name is None or isinstance(name, str)  # noqa: S101  # for types; no naming convention is used
    for column in table.primary_key.columns:
        column.primary_key = False
    table.append_constraint(PrimaryKeyConstraint(table.columns[TENANT_ID], *key, name=name))


def _check_key(table: str, constraint: Any) -> None:
    if isinstance(constraint, ForeignKeyConstraint):
        pairs = [(element.parent.name, element.column.name) for element in constraint.elements]
        if not pairs or pairs[0] != (TENANT_ID, TENANT_ID):
            raise _Unguarded(f"a foreign key of {table} does not begin with {TENANT_ID} on both sides")
    elif isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
        names = [column.name for column in constraint.columns]
        if names[:1] != [TENANT_ID]:
            raise _Unguarded(f"a key of {table} does not begin with {TENANT_ID}: {', '.join(names)}")


def _check_index(index: Index) -> None:
    first = next(iter(index.expressions), None)
    if index.unique and getattr(first, "name", None) != TENANT_ID:
        raise _Unguarded(f"the unique index {index.name} does not begin with {TENANT_ID}")
