"""pg_dump and pg_restore: which ones, and what they are asked."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenantry_operator.backup.orders import BackupError
from tenantry_operator.backup.sayings import summary, told_by

DEBIAN: Final = Path("/usr/lib/postgresql")
ENTRY: Final = re.compile(r"^\d+; \d+ \d+ (?P<what>.*)$")


@dataclass(frozen=True)
class Client:
    """The newest client that is installed."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def check_server(self, version_num: int) -> None:
        """Raise BackupError when the server is of a later version than the client: its dump would not be whole."""
        major = version_num // 10000
        if major > self.major:
            raise BackupError(
                f"the server is Postgres {major}, the image's pg_dump is {self.version}: an image with a client of "
                f"version {major} or later is needed (the build argument POSTGRES_CLIENT of operator/Dockerfile)"
            )

    def check_archive(self, made_by: str) -> None:
        """Raise BackupError when a later pg_dump made it; a later server takes what an earlier one has written."""
        if int(made_by.partition(".")[0]) > self.major:
            raise BackupError(
                f"the backup was made by pg_dump {made_by}, the image has {self.version}: an image with a client of "
                "that version or later is needed (the build argument POSTGRES_CLIENT of operator/Dockerfile)"
            )

    def dump(self, schema: str, file: Path, *, role: str, snapshot: str, environment: Mapping[str, str]) -> None:
        """Write one schema as of the snapshot. Raises BackupError with pg_dump's words."""
        words = ["--format=custom", f"--schema={schema}", f"--role={role}", f"--snapshot={snapshot}"]
        self._run("pg_dump", [*words, "--no-password", f"--file={file}"], environment)

    def restore(self, file: Path, *, schema: str, role: str, work: Path, environment: Mapping[str, str]) -> list[str]:
        """Fill the schema, which is there and empty, all or nothing; everything belongs to the role.

        Returns what could not be granted, as when a role does not exist any more. Raises BackupError.
        """
        entries = self._run("pg_restore", ["--list", str(file)], environment).splitlines()
        known = [(entry, found["what"]) for entry in entries if (found := ENTRY.match(entry))]
        shared = ["--no-owner", "--no-tablespaces", "--no-password", f"--role={role}", "--dbname", ""]
        content = _listed(work / "content.list", [one for one, what in known if not _is_left_out(what, schema)])
        whole = ["--no-privileges", "--exit-on-error", "--single-transaction", f"--use-list={content}"]
        self._run("pg_restore", [*shared, *whole, str(file)], environment)
        grants = [one for one, what in known if _is_grant(what)]
        if not grants:
            return []
        given = _listed(work / "grants.list", grants)
        return _refused(self._try("pg_restore", [*shared, f"--use-list={given}", str(file)], environment))

    def _run(self, program: str, words: Sequence[str], environment: Mapping[str, str]) -> str:
        done = self._try(program, words, environment)
        if done.returncode != 0:
            raise BackupError(f"{program} ended with {done.returncode}: {summary(done.stderr)}")
        return done.stdout

    def _try(
        self, program: str, words: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        # An empty --dbname takes all from the environment, and makes pg_restore connect at all.
        return subprocess.run(
            [str(self.folder / program), *words], env=dict(environment), capture_output=True, text=True, check=False
        )


def find_client() -> Client:
    """Return the newest client. Raises BackupError when there is none."""
    found = {int(path.parts[-3]): path.parent for path in DEBIAN.glob("*/bin/pg_dump") if path.parts[-3].isdigit()}
    by_path = shutil.which("pg_dump")
    folder = found[max(found)] if found else Path(by_path).parent if by_path else None
    if folder is None:
        raise BackupError("there is no pg_dump in this image: build it from operator/Dockerfile")
    told = subprocess.run([str(folder / "pg_dump"), "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)(\.\d+)?", told)
    if version is None:
        raise BackupError(f"pg_dump does not tell its version: {told}")
    return Client(folder, version.group(0))


def _is_left_out(what: str, schema: str) -> bool:
    """Whether an entry is done otherwise: the schema is there, and grants follow."""
    return what.startswith(f"SCHEMA - {schema} ") or _is_grant(what)


def _is_grant(what: str) -> bool:
    return what.startswith(("ACL ", "DEFAULT ACL "))


def _listed(file: Path, entries: Sequence[str]) -> Path:
    file.write_text("\n".join([*entries, ""]))
    return file


def _refused(done: subprocess.CompletedProcess[str]) -> list[str]:
    lines = [line for line in told_by(done.stderr) if "error:" in line]
    if done.returncode != 0 and not lines:
        raise BackupError(f"pg_restore ended with {done.returncode}: {summary(done.stderr)}")
    return lines
