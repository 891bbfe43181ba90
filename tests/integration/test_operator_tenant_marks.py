"""A sweep reads no facts of a Tenant whose mark is as it was; nothing that a fact tells changes without the mark."""

import pytest

from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe.marks import read_marks
from tenantry_operator.observe.tenant import read_facts
from tenantry_operator.reconcile import tenant_lines, tenant_sweep
from tenantry_testing.hand_edits import OTHER_OWNER, REPAIRED
from tenantry_testing.tenant_world import TenantWorld

ACME = TenantNames("acme")
READS = {"readOnlyRole": "Enabled"}
ROLES = (*ACME.group_roles[1:], ACME.logins[0])
DROPPED = {f"{role} is dropped": [f"DROP OWNED BY {role}", f"DROP ROLE {role}"] for role in ROLES}
TOLD = {
    "the marker is another one": ["COMMENT ON ROLE t_acme_owner IS 'mine'"],
    "the marker is gone": ["COMMENT ON ROLE t_acme_owner IS NULL"],
    "the services' schema is given away": ["ALTER SCHEMA s_acme OWNER TO t_other_owner"],
    "a schema is renamed": ["ALTER SCHEMA t_acme RENAME TO gone"],
    "a table of the services is dropped": ["DROP TABLE s_acme.users"],
    "a table of the services moves": ["ALTER TABLE s_acme.users SET SCHEMA public"],
    "a shared role has another name": ["ALTER ROLE tenantry_tenants RENAME TO tenantry_others"],
    "what it holds elsewhere has another name": ["ALTER TABLE t_other.things RENAME TO others"],
    "what it holds elsewhere has another owner": ["ALTER TABLE t_other.things OWNER TO t_other_owner"],
    "a policy names it": ["CREATE POLICY p ON t_other.things TO t_acme_app"],
    "a large object is granted": ["SELECT lo_create(4711)", "GRANT SELECT ON LARGE OBJECT 4711 TO t_acme_app"],
    "a function is granted": ["GRANT EXECUTE ON FUNCTION pg_catalog.now() TO t_acme_app"],
    "a type is granted": ["CREATE TYPE public.mood AS ENUM ('a')", "GRANT USAGE ON TYPE public.mood TO t_acme_app"],
}
"""What a sweep has to find as well, be it repaired or not."""

OTHERS = (
    OTHER_OWNER,
    "CREATE SCHEMA t_other AUTHORIZATION t_other_owner",
    "CREATE TABLE t_other.things (id int)",
    "GRANT SELECT ON t_other.things TO t_acme_app",
)
EDITS = {**REPAIRED, **DROPPED, **TOLD}


async def look(world: TenantWorld) -> tuple[str, str]:
    """Return the mark and the facts."""
    async with world.servers.connection(await world.addresses.address("primary")) as connection:
        marks = await read_marks(connection, [ACME])
        facts = await read_facts(connection, [ACME])
    return marks.get("acme", ""), facts.get("acme", "")


@pytest.mark.parametrize("edit", EDITS)
async def test_what_changes_the_facts_changes_the_mark(world: TenantWorld, edit: str) -> None:
    await world.provision("acme", database=READS)
    world.execute(*(OTHERS if edit in TOLD else (OTHER_OWNER,)))
    before = await look(world)
    assert await look(world) == before
    world.execute(*EDITS[edit])
    mark, facts = await look(world)
    assert facts != before[1]
    assert mark != before[0]


async def test_what_the_customer_does_in_its_schema_changes_no_mark(world: TenantWorld) -> None:
    await world.provision("acme")
    before = await look(world)
    with world.login(await world.secret("acme-database")) as connection:
        connection.execute("SET ROLE t_acme_owner")
        connection.execute("CREATE TABLE t_acme.things (id serial PRIMARY KEY)")
        connection.execute("CREATE VIEW t_acme.seen AS SELECT * FROM t_acme.things")
        connection.execute("GRANT SELECT ON t_acme.seen TO t_acme_app")
    assert await look(world) == before


async def test_a_quiet_sweep_reads_no_facts(world: TenantWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.provision("acme")
    await world.settle()
    asked: list[int] = []

    async def counted(connection: object, tenants: object) -> dict[str, str]:
        names = list(tenants)  # type: ignore[call-overload]
        asked.append(len(names))
        return await read_facts(connection, names)  # type: ignore[arg-type]

    monkeypatch.setattr(tenant_sweep, "read_facts", counted)
    assert await world.swept() == set()
    assert asked == []
    world.execute("ALTER ROLE t_acme_migrator INHERIT")
    assert await world.swept() == {"acme"}
    assert asked == [1]
    world.execute("ALTER ROLE t_acme_migrator NOINHERIT")
    assert await world.swept() == set()


async def test_a_change_that_came_and_went_while_it_was_looked_at_does_not_hide_the_next(
    world: TenantWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.provision("acme")
    await world.settle()
    world.execute("ALTER ROLE t_acme_migrator INHERIT")
    read_whole = read_marks

    async def undone_after(connection: object, tenants: object) -> dict[str, str]:
        marks = await read_whole(connection, tenants)  # type: ignore[arg-type]
        world.execute("ALTER ROLE t_acme_migrator NOINHERIT")
        return marks

    with monkeypatch.context() as patched:
        patched.setattr(tenant_lines, "read_marks", undone_after)
        await world.swept()
    world.execute("ALTER ROLE t_acme_migrator INHERIT")
    assert await world.swept() == {"acme"}
