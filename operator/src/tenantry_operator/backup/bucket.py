"""Backups in a bucket of S3: names that begin `<prefix>/<tenant>/<uid>/<stamp>/`, never written to again.

What is dumped lies in a folder of the pod's until it is sent, and is replaced there by what came back.
"""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenantry_operator.backup.bucket_client import Bucket, BucketRefused
from tenantry_operator.backup.orders import BackupError, KeptFile, Manifest
from tenantry_operator.backup.store import (
    MANIFEST,
    differs,
    digest,
    folder_below,
    is_kept,
    lacks,
    newest_of,
    read_manifest,
    take,
)

BEGUN: Final = "begun"
"""An empty object that shows that the bucket can be written to, before anything is dumped."""

BACKUP: Final = re.compile(rf"[^/]+/[^/]+/[^/]+/{re.escape(MANIFEST)}")


@dataclass(frozen=True)
class BucketStore:
    """A bucket, and the folder of the pod's."""

    bucket: Bucket
    place: str
    folder: Path

    def clear(self, tenant: str, uid: str) -> int:
        shutil.rmtree(self.folder, ignore_errors=True)
        found: dict[str, list[str]] = {}
        for name in self.bucket.names(f"{tenant}/{uid}"):
            # What lies beside attempts, such as the "folder" that a console makes, is nobody's to remove here.
            if len(segments := name.split("/")) > 3:
                found.setdefault(segments[2], []).append(name)
        begun = [names for stamp, names in found.items() if f"{tenant}/{uid}/{stamp}/{MANIFEST}" not in names]
        # Where nothing may be removed, what is left is no backup all the same.
        return sum(self._is_removed(names) for names in begun)

    def begin(self, path: str) -> Path:
        folder = self._at(path)
        if self.bucket.names(path):
            raise BackupError(f"{self.place}/{path} is there already")
        self.bucket.put(f"{path}/{BEGUN}", b"")
        folder.mkdir(parents=True)
        return folder

    def keep(self, path: str, name: str) -> KeptFile:
        file = self._at(path) / name
        kept = KeptFile(name=name, size=file.stat().st_size, sha256=digest(file))
        self.bucket.send(f"{path}/{name}", file)
        # From here on there is only what came back: the trial restores that, and whoever restores later finds it.
        file.unlink()
        self._fetch(path, kept, file)
        return kept

    def finish(self, path: str, manifest: Manifest) -> None:
        written = manifest.text
        self.bucket.put(f"{path}/{MANIFEST}", written)
        if self.bucket.get(f"{path}/{MANIFEST}") != written:
            raise BackupError(f"{self.place}/{path}/{MANIFEST} is not what was written")
        self._is_removed([f"{path}/{BEGUN}"])

    def fetch(self, path: str, file: KeptFile) -> Path:
        found = self._at(path) / file.name
        if not found.exists():
            self._fetch(path, file, found)
        if not is_kept(found, file):
            raise differs(file, where=f"{self.place}/{path}")
        return found

    def manifest(self, path: str) -> tuple[Manifest, str]:
        self._at(path)
        if f"{path}/{MANIFEST}" not in self.bucket.names(path):
            raise BackupError(f"{self.place}/{path} is no backup: it has no {MANIFEST}")
        return read_manifest(self.bucket.get(f"{path}/{MANIFEST}"), where=f"{self.place}/{path}")

    def newest(self, tenant: str) -> str:
        found = [name for name in self.bucket.names(tenant) if BACKUP.fullmatch(name)]
        return newest_of((name.removesuffix(f"/{MANIFEST}") for name in found), tenant, place=self.place)

    def _fetch(self, path: str, kept: KeptFile, file: Path) -> None:
        """Write to the file what the bucket has. Raises BackupError when that is not what was kept."""
        where = f"{self.place}/{path}"
        try:
            take(self.bucket.read(f"{path}/{kept.name}"), kept, file, where=where)
        except FileNotFoundError as error:
            raise lacks(kept, where=where) from error

    def _is_removed(self, names: Iterable[str]) -> bool:
        try:
            self.bucket.remove(names)
        except BucketRefused:
            return False
        return True

    def _at(self, path: str) -> Path:
        return folder_below(self.folder, path, place=self.place)
