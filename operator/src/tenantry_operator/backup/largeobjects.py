"""The large objects of a tenant: pg_dump takes either those of a whole database or none."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from tenantry_operator.backup.orders import BackupError

CHUNK: Final = 1 << 20
ACL: Final = "tenantry.acl"
READ: Final = 0x40000

OWNED: Final = """
SELECT l.oid::bigint, coalesce((
    SELECT jsonb_agg(jsonb_build_array(g.rolname, a.privilege_type) ORDER BY g.rolname, a.privilege_type)
    FROM aclexplode(l.lomacl) a JOIN pg_roles g ON g.oid = a.grantee WHERE g.oid <> l.lomowner), '[]')
FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner WHERE r.rolname = %s ORDER BY l.oid
"""
OTHERS: Final = """
SELECT DISTINCT r.rolname FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner
WHERE r.rolname = ANY(%s) AND r.rolname <> %s
"""

Connection = psycopg.Connection[Any]


def check_owners(connection: Connection, owner: str, roles: Sequence[str]) -> None:
    """Raise BackupError when another of the tenant's roles owns any: they would go with it, and be in no backup."""
    found = sorted(str(role) for (role,) in connection.execute(OTHERS, (list(roles), owner)).fetchall())
    if found:
        raise BackupError(
            f"{', '.join(found)} own large objects, and only those of {owner} are kept: "
            f"REASSIGN OWNED BY {', '.join(found)} TO {owner}"
        )


def write_large_objects(connection: Connection, owner: str, file: Path) -> tuple[int, str]:
    """Write those of the owner, each a member named for its OID; return their number and a digest of all.

    Within the transaction that is open. Nothing is written when there are none.
    """
    found = connection.execute(OWNED, (owner,)).fetchall()
    if not found:
        return 0, _digest(())
    with tarfile.open(file, "w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar:
        for oid, acl in found:
            member = tarfile.TarInfo(str(oid))
            member.size = _size(connection, oid)
            member.pax_headers = {ACL: json.dumps(acl)}
            tar.addfile(member, _Reading(connection, oid, member.size))
    return len(found), digest_of(connection, owner)


def read_large_objects(connection: Connection, owner: str, file: Path) -> None:
    """Make them again under their OIDs, in the transaction that is open, for the owner.

    Raises psycopg.errors.UniqueViolation when an OID is another one's by now.
    """
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
    with tarfile.open(file, "r:gz") as tar:
        for member in tar:
            oid, offset, source = int(member.name), 0, tar.extractfile(member)
            connection.execute("SELECT lo_create(%s::oid)", (oid,))
            while source is not None and (chunk := source.read(CHUNK)):
                connection.execute("SELECT lo_put(%s::oid, %s, %s)", (oid, offset, chunk))
                offset += len(chunk)
            for grantee, privilege in json.loads(member.pax_headers.get(ACL, "[]")):
                grant = sql.SQL("GRANT {} ON LARGE OBJECT {} TO {}")
                word = {"SELECT": sql.SQL("SELECT"), "UPDATE": sql.SQL("UPDATE")}[privilege]
                connection.execute(grant.format(word, sql.Literal(oid), sql.Identifier(grantee)))
    connection.execute("RESET ROLE")


def digest_of(connection: Connection, owner: str) -> str:
    """Return one digest of the OIDs and contents of all that the owner has."""
    oids = [int(oid) for oid, _ in connection.execute(OWNED, (owner,)).fetchall()]
    return _digest((oid, chunk) for oid in oids for chunk in _chunks(connection, oid, _size(connection, oid)))


def _digest(parts: "Iterator[tuple[int, bytes]] | tuple[()]") -> str:
    digest = sha256()
    for oid, chunk in parts:
        digest.update(f"{oid}:{len(chunk)}:".encode())
        digest.update(chunk)
    return digest.hexdigest()


def _size(connection: Connection, oid: int) -> int:
    query = "SELECT lo_lseek64(d, 0, 2), lo_close(d) FROM lo_open(%s::oid, %s) d"
    row = connection.execute(query, (oid, READ)).fetchone()
    return int(row[0]) if row else 0


def _chunks(connection: Connection, oid: int, size: int) -> Iterator[bytes]:
    yield b""
    for offset in range(0, size, CHUNK):
        row = connection.execute("SELECT lo_get(%s::oid, %s, %s)", (oid, offset, CHUNK)).fetchone()
        yield bytes(row[0]) if row else b""


class _Reading(io.RawIOBase):
    """A large object as a file that is read once from its begin to its end."""

    def __init__(self, connection: Connection, oid: int, size: int) -> None:
        self._chunks = _chunks(connection, oid, size)
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while len(self._left) < size or size < 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._left += chunk
        end = size if size >= 0 else len(self._left)
        given, self._left = self._left[:end], self._left[end:]
        return given
