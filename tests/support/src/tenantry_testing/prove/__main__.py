"""`make prove`: kill the operator at each write, break what it talks to, stop it for a minute, rotate under load.

Each scenario, fault and lap prints a line, and is written to docs/results/prove.json at once. The exit code is 1 when
one does not hold, and what differs is printed.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from tenantry_cluster import Layout
from tenantry_testing.bench.scale import Scale
from tenantry_testing.postgres import VERSION, find_binaries
from tenantry_testing.postgres_versions import RELEASES
from tenantry_testing.prove.pieces import PARTS, Piece, Sizes, Worker, has_held, pieces_of, run_pieces
from tenantry_testing.prove.results import ResultFile
from tenantry_testing.prove.scale import prove_scale

SEED = 20261122
ROTATIONS = 50
SPECS = 304
"""That Tenants walk through, eight side by side."""
PAIRS = 3
"""Pairs of deaths that are drawn for each scenario."""
PAUSES = 2
"""Writes that are drawn for each scenario, at which one of two operators is stopped."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.postgres:
        os.environ[VERSION] = str(given.postgres)
    layout = Layout.of_checkout()
    if given.part == "scale":
        print(prove_scale(layout, Scale(given.tenants, given.pairs if given.pairs != PAIRS else None)))
        return 0
    path = layout.root / "docs" / "results" / "prove.json"
    file = ResultFile(path, _version())
    sizes = Sizes(given.seed, given.share, given.pairs, given.pauses, given.specs, given.rotations)
    began = time.monotonic()
    pieces = _chosen(given, sizes, file)
    if given.list:
        print(*pieces, sep="\n")
        return 0
    failed = run_pieces(pieces, workers=given.workers, start=partial(Worker, layout, path, sizes))
    print(file.total())
    print(f"{'all held' if not failed else f'{failed} did not hold'}, {(time.monotonic() - began) / 60:.0f} min")
    return 1 if failed else 0


def _chosen(given: argparse.Namespace, sizes: Sizes, file: ResultFile) -> list[Piece]:
    """Return the pieces that are asked for: those of the name if there are any, else those whose names contain it."""
    parts = PARTS if given.part == "all" else [given.part]
    pieces = [piece for part in parts for piece in pieces_of(part, sizes)]
    named = [piece for piece in pieces if piece.name == given.only]
    pieces = named or [piece for piece in pieces if given.only in piece.name]
    return [piece for piece in pieces if not (given.resume and has_held(piece, file, sizes))]


def _version() -> str:
    """What the server will say it is, as 15.18."""
    said = subprocess.run([find_binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[2]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tenantry_testing.prove", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["all", *PARTS, "scale"], default="all")
    said = "the scenario, fault or lap of this name; else those whose names contain it"
    parser.add_argument("--only", default="", help=said)
    parser.add_argument(
        "--resume", action="store_true", help="leave out what held, and was run whole, by the result file"
    )
    parser.add_argument("--list", action="store_true", help="print what would be run, and run nothing")
    parser.add_argument("--workers", type=int, default=1, help="so many side by side, each with servers of its own")
    versions = [15, *RELEASES]
    parser.add_argument("--postgres", type=int, choices=versions, help="absent: the newest that Debian's packages have")
    said = "of the crash points of each scenario, which are drawn then, such as 0.2; absent: all"
    parser.add_argument("--share", type=float, default=1.0, help=said)
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"pairs of deaths for each scenario; absent: {PAIRS}")
    said = f"writes of each scenario at which an operator is stopped; absent: {PAUSES}"
    parser.add_argument("--pauses", type=int, default=PAUSES, help=said)
    said = f"specs that Tenants walk through; absent: {SPECS}"
    parser.add_argument("--specs", type=int, default=SPECS, help=said)
    said = f"rotations under load; absent: {ROTATIONS}"
    parser.add_argument("--rotations", type=int, default=ROTATIONS, help=said)
    said = "of part scale, which takes an hour and is no part of all; absent: 10,000"
    parser.add_argument("--tenants", type=int, help=said)
    parser.add_argument("--seed", type=int, default=SEED, help=f"what draws the rest; absent: {SEED}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
