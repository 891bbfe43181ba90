"""What a restore makes of a backup, by the program itself: revisions, numbers that go on, and what somebody forged."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry_migrations import TENANT
from tenantry_migrations.scripts import TENANT_SCRIPTS
from tenantry_operator.backup import numbering
from tenantry_operator.backup.orders import BackupError
from tenantry_operator.backup.store import digest
from tenantry_operator.model.isolation import Isolation
from tenantry_testing.backup_place import BackupPlace
from tenantry_testing.histories import EXPAND, tenant_history, write_history
from tenantry_testing.postgres import PostgresServer

BETA = "3b0c2a1e-0000-4000-8000-000000000002"
SHIPPED = TENANT.head
NUMBERED = """
import sqlalchemy as sa
from alembic import op

revision = "t9001"
down_revision = "{previous}"
phase = "expand"
grants = {{"notes": {{"accounts": "SELECT INSERT"}}}}


def upgrade():
    op.create_table(
        "notes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("tenant_id", sa.Uuid, nullable=False))
    op.execute("UPDATE users SET display_name = 'was ' || email")
"""
TRAP = """
CREATE FUNCTION evil.shobj_description(oid, name) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'it ran as %', session_user; END $$
"""
CLIMBING = b"CREATE ROLE climber; CREATE FUNCTION s_acme.climb() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupPlace]:
    with PostgresServer() as server:
        yield BackupPlace.make(server, tmp_path_factory.mktemp("place"))


@pytest.fixture
def place(made: BackupPlace) -> Iterator[BackupPlace]:
    yield made
    made.drop()
    shutil.rmtree(made.folder / "volume")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[None]:
    folder = write_history(tmp_path / "history")
    (folder / "versions" / f"{EXPAND}_test.py").write_text(NUMBERED.format(previous=SHIPPED))
    with tenant_history(folder):
        yield


def add_users(place: BackupPlace, schema: str, tenant: str, count: int) -> None:
    place.execute(
        f"INSERT INTO {schema}.users (id, tenant_id, email) "
        f"SELECT gen_random_uuid(), '{tenant}', i || '@{tenant}' FROM generate_series(1, {count}) i"
    )


def add_notes(place: BackupPlace, schema: str, tenant: str, count: int) -> list[int]:
    add = f"INSERT INTO {schema}.notes (tenant_id) SELECT %s::uuid FROM generate_series(1, %s) RETURNING id"
    return [number for (number,) in place.fetch(add, tenant, count)]


def numbered(place: BackupPlace, path: str, highest: int) -> None:
    """Forge a backup of one note, which has that number."""
    manifest, rows = (place.folder / "volume" / path / name for name in ("manifest.json", "notes.copy.gz"))
    rows.write_bytes(gzip.compress(f"{highest}\t{place.id}\n".encode()))
    told = json.loads(manifest.read_text())
    [notes] = [one for one in told["tables"] if one["table"] == "notes"]
    notes["file"] |= {"size": rows.stat().st_size, "sha256": digest(rows)}
    hashed = "SELECT hashtextextended(textin(record_out(ROW(%s::bigint, %s::uuid))), 0)"
    notes["content"] = f"1 {place.fetch(hashed, highest, place.id)[0][0]}"
    manifest.write_text(json.dumps(told))


@pytest.mark.usefixtures("history")
def test_rows_are_brought_to_the_revision_of_the_pool(place: BackupPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.provision(Isolation.POOLED)
    for tenant in (place.id, BETA):
        add_users(place, "tenantry_pool", tenant, 3)
    place.dump(Isolation.POOLED)
    place.drop()
    place.move_pool(SHIPPED, EXPAND)
    with tenant_history(TENANT_SCRIPTS), pytest.raises(BackupError, match=f"does not know the revision {EXPAND}"):
        place.restore()
    assert place.roles() == []
    restored = place.restore()
    assert (restored.revision, restored.rows) == (EXPAND, 3)
    # What the revision did with the rows that were there, it has done with these as well.
    assert place.fetch("SELECT DISTINCT display_name = 'was ' || email FROM tenantry_pool.users") == [(True,)]
    assert place.fetch("SELECT count(*) FROM tenantry_pool.users") == [(6,)]
    assert place.fetch("SELECT datname FROM pg_database WHERE datname ~ 'scratch'") == []
    recorded = "SELECT name, version, state FROM tenantry.tenants"
    assert place.fetch(recorded, database="tenantry") == [("acme", EXPAND, "released")]
    # As when it was killed before it told the registry: it is at the pool's revision, and not at the backup's.
    place.fetch("DELETE FROM tenantry.tenants RETURNING id", database="tenantry")
    place.restore()
    assert place.fetch(recorded, database="tenantry") == [("acme", EXPAND, "released")]

    assert add_notes(place, "tenantry_pool", place.id, 3) == [1, 2, 3]
    _, path = place.dump(Isolation.POOLED)
    place.drop()
    # As in a pool that was made anew.
    place.execute("ALTER SEQUENCE tenantry_pool.notes_id_seq RESTART")
    with pytest.raises(BackupError, match="2 Tenants had the name acme: name a backup with --from"):
        place.restore()
    place.restore(path)
    assert add_notes(place, "tenantry_pool", BETA, 1) == [4]
    place.drop()
    # The next number that it gives is that of a row that comes.
    place.execute("DELETE FROM tenantry_pool.notes", "ALTER SEQUENCE tenantry_pool.notes_id_seq RESTART WITH 3")
    place.restore(path)
    assert add_notes(place, "tenantry_pool", BETA, 1) == [4]
    place.drop()
    # It goes forwards only.
    assert add_notes(place, "tenantry_pool", BETA, 3) == [5, 6, 7]
    place.restore(path)
    assert add_notes(place, "tenantry_pool", BETA, 1) == [8]

    # Nobody takes the numbers of all others with a row that he forged.
    for highest in (2**63 - 1, 8 + 2**40 + 1):
        place.drop()
        numbered(place, path, highest)
        with pytest.raises(BackupError, match=f"goes up to {highest}, and tenantry_pool.notes_id_seq"):
            place.restore(path, unrecorded=True)
    assert add_notes(place, "tenantry_pool", BETA, 1) == [9]

    hold = numbering.hold

    def raced(connection: psycopg.Connection, sequence: str) -> None:
        # Another tenant takes numbers after it was seen that the sequence is behind, and then none before the end.
        place.fetch("SELECT nextval(%s) FROM generate_series(1, 4)", sequence)
        hold(connection, sequence)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            place.execute("SET lock_timeout TO '100ms'", f"SELECT nextval('{sequence}')")

    place.drop()
    numbered(place, path, 11)
    monkeypatch.setattr(numbering, "BRIEFLY", "SET LOCAL lock_timeout TO '100ms'")
    with place.postgres.connect("app") as other:
        other.autocommit = False
        other.execute("SELECT nextval('tenantry_pool.notes_id_seq')")
        with pytest.raises(BackupError, match="a transaction open that has taken a number from"):
            place.restore(path, unrecorded=True)
    monkeypatch.setattr(numbering, "hold", raced)
    place.restore(path, unrecorded=True)
    assert add_notes(place, "tenantry_pool", BETA, 1) == [15]


@pytest.mark.usefixtures("history")
def test_a_schema_comes_back_at_its_revision_and_numbers_on(place: BackupPlace) -> None:
    place.provision(Isolation.SCHEMA, revision=EXPAND)
    add_users(place, "s_acme", place.id, 2)
    assert add_notes(place, "s_acme", place.id, 3) == [1, 2, 3]
    place.execute("DELETE FROM s_acme.notes WHERE id = 3")
    for stray in ("CREATE TABLE s_acme.stray (id int)", "ALTER TABLE s_acme.users ADD stray int"):
        place.execute("SET ROLE tenantry_owner", stray)
        with pytest.raises(BackupError, match="are not those of schema s_acme at revision t9001"):
            place.dump(Isolation.SCHEMA)
        place.execute("DROP TABLE IF EXISTS s_acme.stray", "ALTER TABLE s_acme.users DROP IF EXISTS stray")
    # No data, and no business of the backup's.
    place.execute("CREATE INDEX odd ON s_acme.users (status)")
    _, path = place.dump(Isolation.SCHEMA)
    users = place.fetch("SELECT * FROM s_acme.users ORDER BY id")
    place.drop()
    place.restore(path)
    assert place.fetch("SELECT * FROM s_acme.users ORDER BY id") == users
    assert place.fetch("SELECT version FROM s_acme.schema_version") == [(EXPAND,)]
    assert add_notes(place, "s_acme", place.id, 1) == [4]
    held = "SELECT has_table_privilege('s_acme_accounts', 's_acme.notes', %s), has_schema_privilege(%s, 's_acme', %s)"
    assert place.fetch(held, "INSERT", "s_acme_accounts", "USAGE") == [(True, True)]
    assert place.fetch(held, "DELETE", "t_acme_app", "USAGE") == [(False, False)]


def test_what_somebody_forged_is_not_believed_and_gets_no_rights(place: BackupPlace) -> None:
    place.provision(Isolation.SCHEMA)
    add_users(place, "s_acme", place.id, 2)
    _, path = place.dump(Isolation.SCHEMA)
    place.drop()
    manifest, rows = (place.folder / "volume" / path / name for name in ("manifest.json", "users.copy.gz"))
    whole, whole_rows = manifest.read_text(), rows.read_bytes()

    def refused(told: dict[str, Any], said: str, *, unrecorded: bool = True) -> None:
        manifest.write_text(json.dumps(told))
        with pytest.raises((BackupError, psycopg.Error), match=said):
            place.restore(path, unrecorded=unrecorded)
        assert place.fetch("SELECT rolname FROM pg_roles WHERE rolname ~ '^(climber|tenantry_lent)'") == []
        assert place.fetch("SELECT nspname FROM pg_namespace WHERE nspname IN ('s_acme', 'climber')") == []

    told = json.loads(whole)
    refused({**told, "spec": {"displayName": "x"}}, "the registry does not know the backup", unrecorded=False)
    refused({**told, "revision": None}, "the registry does not know the backup", unrecorded=False)
    assert place.roles() == []
    # The services' part as SQL, by the role that owns every tenant's.
    [part] = told["parts"]
    services = {**part, "schema": "s_acme", "role": "tenantry_owner"}
    refused({**told, "parts": [part, services]}, "s_acme of tenantry_owner, which is not the customer's")
    refused({**told, "revision": "t0"}, "does not know the revision t0 of the backup")
    refused({**told, "revision": None}, "has tables and no revision")
    # SQL where rows are, and where names are.
    rows.write_bytes(gzip.compress(gzip.decompress(whole_rows) + CLIMBING))
    [table] = told["tables"]
    file = {**table["file"], "size": rows.stat().st_size, "sha256": digest(rows)}
    refused({**told, "tables": [{**table, "file": file}]}, "invalid input syntax for type uuid")
    rows.write_bytes(whole_rows)
    for name in ("users (id) FROM STDIN; CREATE ROLE climber; --", "schema_version"):
        refused({**told, "tables": [table, {**table, "table": name}]}, "are not those of schema s_acme")
    counted = {"s; CREATE ROLE climber; --": {"last": 1, "called": True}}
    refused({**told, "sequences": counted}, "are not those of the schema")
    # The backup itself, as another installation's: the registry has lost it.
    assert len(place.fetch("DELETE FROM tenantry.backups RETURNING sha256", database="tenantry")) > 0
    refused(told, "restore it with --unrecorded", unrecorded=False)
    manifest.write_text(whole)
    with pytest.raises(BackupError, match="restore it with --unrecorded"):
        place.restore(path)
    assert place.restore(path, unrecorded=True).rows == 2
    assert place.fetch("SELECT count(*) FROM s_acme.users") == [(2,)]


def test_nobody_elses_function_stands_for_one_of_postgres(place: BackupPlace) -> None:
    place.provision(Isolation.SCHEMA)
    place.execute("CREATE SCHEMA evil", "GRANT USAGE ON SCHEMA evil TO PUBLIC", TRAP)
    place.execute("ALTER DATABASE app SET search_path TO evil, pg_catalog")
    try:
        _, path = place.dump(Isolation.SCHEMA)
        place.drop()
        place.restore(path)
    finally:
        place.execute("ALTER DATABASE app RESET search_path", "DROP SCHEMA evil CASCADE")
