"""`python -m tenantry_crds render [--check]`: write the generated files, or fail if they are stale."""

import argparse
import sys
from pathlib import Path

from tenantry_crds import render
from tenantry_crds.structural import NotStructural


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when all files are as the models say, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tenantry_crds", description=__doc__)
    parser.add_argument("verb", choices=["render"])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is stale")
    given = parser.parse_args(arguments)
    try:
        files = render.generated()
    except NotStructural as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return check(files) if given.check else write(files)


def check(files: dict[Path, str]) -> int:
    stale = list(render.stale(render.ROOT, files))
    for path in stale:
        sys.stderr.write(f"stale: {path}\n")
    if stale:
        sys.stderr.write("run `make render` and commit what it writes\n")
    return 1 if stale else 0


def write(files: dict[Path, str]) -> int:
    stale = list(render.stale(render.ROOT, files))
    render.write(render.ROOT, files)
    for path in stale:
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
