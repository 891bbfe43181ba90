"""What the sweep compares of Tenants besides their facts: lines on the pool and on extensions, and marks with them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tenantry_operator.clients.postgres import Connection
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.queue import Key
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.extensions import line_of, read_extensions
from tenantry_operator.observe.marks import read_marks
from tenantry_operator.observe.pool import read_lines, with_line


class Marked(NamedTuple):
    """By name; who has no line is left out of `lines`."""

    marks: dict[str, str]
    """Each with its line."""
    lines: dict[str, str]


async def read_marked(connection: Connection, names: Sequence[str], cache: ObjectCache) -> Marked:
    """Return the marks of Tenants that share the database of the connection, in a moment that the caller keeps."""
    marks = await read_marks(connection, [TenantNames(name) for name in names])
    pooled = pooled_of(names, cache)
    lines = await read_lines(connection, pooled) if pooled else {}
    asking = {name: those for name, those in _asking(names, cache).items() if TenantNames(name).key in marks}
    there = await read_extensions(connection) if asking else ""
    for name, those in asking.items():
        line = line_of(there, those)
        lines[name] = with_line(lines[name], line) if name in lines else line
    marked = {name: with_line(marks.get(TenantNames(name).key, ""), lines.get(name, "")) for name in names}
    return Marked(marked, lines)


def pooled_of(names: Iterable[str], cache: ObjectCache) -> frozenset[str]:
    """Name those that are in the pool."""
    bodies = {name: cache.get(Key("Tenant", name)) or {} for name in names}
    pooled = Isolation.POOLED.value
    return frozenset(name for name, body in bodies.items() if body.get("spec", {}).get("isolation") == pooled)


def _asking(names: Iterable[str], cache: ObjectCache) -> dict[str, list[str]]:
    """Return the extensions that Tenants ask for, of those that ask for any."""
    databases = {name: (cache.get(Key("Tenant", name)) or {}).get("spec", {}).get("database") for name in names}
    asked = {name: [one["name"] for one in (said or {}).get("extensions", ())] for name, said in databases.items()}
    return {name: those for name, those in asked.items() if those}
