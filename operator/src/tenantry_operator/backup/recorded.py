"""What the registry knows of backups: the SHA-256 of each manifest, which names the checksums of all other files.

Whoever can write to the place of backups can write a manifest as well, and does not get at the registry.
"""

from typing import Final

from tenantry_operator.backup.orders import BackupError, Manifest
from tenantry_operator.backup.servers import Connection

KEEP: Final = """
INSERT INTO tenantry.backups (sha256, tenant_id, place) VALUES (decode(%s, 'hex'), %s, %s) ON CONFLICT DO NOTHING
"""
KNOWN: Final = "SELECT 1 FROM tenantry.backups WHERE sha256 = decode(%s, 'hex') AND tenant_id = %s"


def check_ready(rows: Connection) -> None:
    """Raise psycopg.Error when nothing can be recorded: before anything is dumped, and not after an hour."""
    rows.execute("SELECT FROM tenantry.backups LIMIT 0")


def record(rows: Connection, manifest: Manifest, digest: str, *, where: str) -> None:
    """Write down what the manifest is. Before it is written: none is ever a backup that the registry does not know."""
    rows.execute(KEEP, (digest, manifest.id, where))


def check_recorded(rows: Connection, manifest: Manifest, digest: str, *, where: str) -> None:
    """Raise BackupError unless the manifest is what an operator of this registry wrote."""
    if rows.execute(KNOWN, (digest, manifest.id)).fetchone() is None:
        raise BackupError(
            f"the registry does not know the backup {where}: no backup of the tenant id {manifest.id} has a manifest "
            f"of SHA-256 {digest}. Either somebody has changed or forged it, or it was made with another registry, or "
            "this one was lost. If you know who wrote it, and that nobody else could, restore it with --unrecorded"
        )


def check_path(manifest: Manifest, path: str, *, where: str) -> None:
    """Raise BackupError when the backup lies where another one belongs."""
    if path.split("/")[-3:] != [manifest.tenant, manifest.uid, manifest.made_at]:
        raise BackupError(
            f"{where} holds the backup {manifest.tenant}/{manifest.uid}/{manifest.made_at}, which belongs elsewhere"
        )
