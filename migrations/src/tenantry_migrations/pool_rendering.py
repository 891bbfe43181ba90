"""Renders a revision for the pool: every key begins with the tenant, or the revision is refused."""

from dataclasses import dataclass
from typing import Any

from alembic.ddl.postgresql import PostgresqlImpl
from alembic.script import Script
from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, UniqueConstraint

from tenantry_migrations.errors import WrongHistory
from tenantry_migrations.offline import render_script
from tenantry_migrations.pool import TENANT_ID


@dataclass(frozen=True)
class Rendered:
    statements: tuple[str, ...]
    made: tuple[str, ...]
    dropped: tuple[str, ...]


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
