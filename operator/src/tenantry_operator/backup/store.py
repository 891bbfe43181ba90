"""Where backups are kept: a folder of its own for each, `<tenant>/<uid>/<stamp>`, never written to again."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from pydantic import ValidationError

from tenantry_operator.backup.orders import BackupError, KeptFile, Manifest

MANIFEST: Final = "manifest.json"
BLOCK: Final = 1 << 20


class Store(Protocol):
    """What a backup is written to and read from. All raise BackupError or OSError."""

    @property
    def place(self) -> str:
        """What it is called, as `tenantry tenant restore --from` takes it."""

    def clear(self, tenant: str, uid: str) -> int:
        """Remove what attempts have left that did not come to their end; return how many."""

    def begin(self, path: str) -> Path:
        """Make the place of a new backup, which must not be there; return a folder to write its files to."""

    def keep(self, path: str, name: str) -> KeptFile:
        """Make a file of the folder last, and describe what is kept by reading it back."""

    def finish(self, path: str, manifest: Manifest) -> None:
        """Write the manifest: from now on it is a backup."""

    def fetch(self, path: str, file: KeptFile) -> Path:
        """Return a file that is as it was when it was kept."""

    def manifest(self, path: str) -> Manifest:
        """Read the manifest."""

    def newest(self, tenant: str) -> str:
        """Return the path of the newest backup of a tenant."""


@dataclass(frozen=True)
class VolumeStore:
    """A mounted volume."""

    root: Path
    place: str

    def clear(self, tenant: str, uid: str) -> int:
        begun = [one for one in self._folders(f"{tenant}/{uid}/*") if not (one / MANIFEST).exists()]
        for one in begun:
            shutil.rmtree(one)
        return len(begun)

    def begin(self, path: str) -> Path:
        folder = self._at(path)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except OSError as error:
            raise BackupError(f"the volume cannot be written to: {error}") from error
        return folder

    def keep(self, path: str, name: str) -> KeptFile:
        file = self._at(path) / name
        _sync(file)
        return KeptFile(name=name, size=file.stat().st_size, sha256=digest(file))

    def finish(self, path: str, manifest: Manifest) -> None:
        folder = self._at(path)
        young = folder / f".{MANIFEST}"
        young.write_text(manifest.model_dump_json(by_alias=True, indent=2))
        _sync(young)
        young.rename(folder / MANIFEST)
        for one in (folder, *folder.parents[:3]):
            _sync(one)

    def fetch(self, path: str, file: KeptFile) -> Path:
        found = self._at(path) / file.name
        check_file(found, file, where=f"{self.place}/{path}")
        return found

    def manifest(self, path: str) -> Manifest:
        file = self._at(path) / MANIFEST
        if not file.exists():
            raise BackupError(f"{self.place}/{path} is no backup: it has no {MANIFEST}")
        return read_manifest(file.read_text(), where=f"{self.place}/{path}")

    def newest(self, tenant: str) -> str:
        found = [one for one in self._folders(f"{tenant}/*/*") if (one / MANIFEST).exists()]
        if not found:
            raise BackupError(f"there is no backup of {tenant} in {self.place}")
        return str(max(found, key=lambda one: one.name).relative_to(self.root))

    def _folders(self, pattern: str) -> Iterator[Path]:
        return (one for one in self.root.glob(pattern) if one.is_dir())

    def _at(self, path: str) -> Path:
        return folder_below(self.root, path, place=self.place)


def folder_below(root: Path, path: str, *, place: str) -> Path:
    """Return the folder of a backup. Raises BackupError when the path leads out of the place."""
    folder = (root / path).resolve()
    if not folder.is_relative_to(root.resolve()) or folder == root.resolve():
        raise BackupError(f"{path} is outside of {place}")
    return folder


def digest(file: Path) -> str:
    found = sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def check_file(file: Path, kept: KeptFile, *, where: str) -> None:
    """Raise BackupError unless the file is as it was when it was kept."""
    if not file.exists():
        raise BackupError(f"{where} lacks {kept.name}")
    if file.stat().st_size != kept.size or digest(file) != kept.sha256:
        raise BackupError(f"{where}/{kept.name} is not what was written: its size or checksum differs")


def read_manifest(text: str, *, where: str) -> Manifest:
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BackupError(f"the manifest of {where} cannot be read: {error.errors()[0]['msg']}") from error


def _sync(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
