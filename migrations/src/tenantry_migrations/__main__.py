"""`python -m tenantry_migrations render [--check]`: render the scripts to what ships, or fail if that is stale."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenantry_migrations.errors import WrongHistory
from tenantry_migrations.histories import NAMES
from tenantry_migrations.history import Revision
from tenantry_migrations.pool_rendering import render_pool_revisions
from tenantry_migrations.rendered import RENDERED, written
from tenantry_migrations.scripts import DIRECTORY_SCRIPTS, REGISTRY_SCRIPTS, TENANT_SCRIPTS, render_revisions


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when what ships is what the scripts say, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tenantry_migrations", description=__doc__)
    parser.add_argument("verb", choices=["render"])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is stale")
    given = parser.parse_args(arguments)
    try:
        files = generated()
    except WrongHistory as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return check(files) if given.check else write(files)


def render_all() -> Mapping[str, Sequence[Revision]]:
    """Render each history that ships, by its name. Raises WrongHistory."""
    made = {
        "tenant": render_revisions(TENANT_SCRIPTS),
        "registry": render_revisions(REGISTRY_SCRIPTS, grants_in_steps=False),
        "directory": render_revisions(DIRECTORY_SCRIPTS, grants_in_steps=False),
        "pool": render_pool_revisions(TENANT_SCRIPTS),
    }
    return {name: made[name] for name in NAMES}


def generated() -> dict[Path, str]:
    """Return every file that ships, with its text. Raises WrongHistory."""
    return {path: text for name, made in render_all().items() for path, text in written(name, made).items()}


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Return the files that are missing, differ, or are there though no script makes them."""
    there = {*RENDERED.rglob("*.json")}
    wrong = {path for path, text in files.items() if path not in there or path.read_text(encoding="utf-8") != text}
    return sorted(wrong | (there - files.keys()))


def check(files: Mapping[Path, str]) -> int:
    found = stale(files)
    for path in found:
        sys.stderr.write(f"stale: {path.relative_to(RENDERED)}\n")
    if found:
        sys.stderr.write("run `make render` and commit what it writes\n")
    return 1 if found else 0


def write(files: Mapping[Path, str]) -> int:
    for path in stale(files):
        if path not in files:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(RENDERED)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
