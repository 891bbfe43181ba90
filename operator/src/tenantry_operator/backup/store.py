"""Where backups are kept: a folder of its own for each, `<tenant>/<uid>/<stamp>`, never written to again."""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from pydantic import ValidationError

from tenantry_operator.backup.orders import FORMAT, BackupError, KeptFile, Manifest

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
        """Return a file of the pod's that is as it was when it was kept, whatever becomes of the place meanwhile."""

    def manifest(self, path: str) -> tuple[Manifest, str]:
        """Read the manifest; return it with the SHA-256 of its text."""

    def newest(self, tenant: str) -> str:
        """Return the path of the newest backup of the one tenant that had the name."""


@dataclass(frozen=True)
class VolumeStore:
    """A mounted volume, which others may write to, and the folder of the pod's to which it is copied to be read."""

    root: Path
    place: str
    near: Path

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
        young.write_bytes(manifest.text)
        _sync(young)
        young.rename(folder / MANIFEST)
        for one in (folder, *folder.parents[:3]):
            _sync(one)

    def fetch(self, path: str, file: KeptFile) -> Path:
        found, near = self._at(path) / file.name, folder_below(self.near, path, place=self.place) / file.name
        if not (near.exists() and is_kept(near, file)):
            # What is looked at is what is read later: the copy.
            with _opened(found, file, where=f"{self.place}/{path}") as opened:
                take(iter(lambda: opened.read(BLOCK), b""), file, near, where=f"{self.place}/{path}")
        return near

    def manifest(self, path: str) -> tuple[Manifest, str]:
        file = self._at(path) / MANIFEST
        if not file.exists():
            raise BackupError(f"{self.place}/{path} is no backup: it has no {MANIFEST}")
        return read_manifest(file.read_bytes(), where=f"{self.place}/{path}")

    def newest(self, tenant: str) -> str:
        found = [one for one in self._folders(f"{tenant}/*/*") if (one / MANIFEST).exists()]
        return newest_of((str(one.relative_to(self.root)) for one in found), tenant, place=self.place)

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


def is_kept(file: Path, kept: KeptFile) -> bool:
    """Say whether the file is as it was when it was kept."""
    return file.stat().st_size == kept.size and digest(file) == kept.sha256


def take(blocks: Iterable[bytes], kept: KeptFile, to: Path, *, where: str) -> None:
    """Write down what comes, and no more than was kept. Raises BackupError, and leaves none, when it is another."""
    to.parent.mkdir(parents=True, exist_ok=True)
    young = to.with_name(f".{to.name}")
    found, size = sha256(), 0
    with young.open("wb") as opened:
        for block in blocks:
            found.update(block)
            size += opened.write(block)
            if size > kept.size:
                break
    if (size, found.hexdigest()) != (kept.size, kept.sha256):
        young.unlink()
        raise differs(kept, where=where)
    young.rename(to)


def differs(kept: KeptFile, *, where: str) -> BackupError:
    return BackupError(f"{where}/{kept.name} is not what was written: its size or checksum differs")


def lacks(kept: KeptFile, *, where: str) -> BackupError:
    return BackupError(f"{where} lacks {kept.name}")


def newest_of(paths: Iterable[str], tenant: str, *, place: str) -> str:
    """Return the latest of the paths. Raises BackupError without any, or where several Tenants had the name.

    Each time is the clock of the server that a backup was made of: those of one Tenant alone follow each other.
    """
    latest = {path.split("/")[-2]: path for path in sorted(paths, key=lambda path: path.split("/")[-1])}
    if not latest:
        raise BackupError(f"there is no backup of {tenant} in {place}")
    if len(latest) > 1:
        named = ", ".join(f"{place}/{path}" for path in sorted(latest.values()))
        raise BackupError(
            f"{len(latest)} Tenants had the name {tenant}: name a backup with --from; the latest: {named}"
        )
    return next(iter(latest.values()))


def read_manifest(text: bytes, *, where: str) -> tuple[Manifest, str]:
    """Return the manifest and the SHA-256 of its text. Raises BackupError."""
    try:
        found = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BackupError(f"the manifest of {where} cannot be read: {error.errors()[0]['msg']}") from error
    if found.format != FORMAT:
        raise BackupError(
            f"the manifest of {where} is of format {found.format}, and this version restores format {FORMAT}: take the "
            "image of the version that made the backup (--image)"
        )
    return found, sha256(text).hexdigest()


def _opened(file: Path, kept: KeptFile, *, where: str) -> BinaryIO:
    if not file.is_file():
        raise lacks(kept, where=where)
    return file.open("rb")


def _sync(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
