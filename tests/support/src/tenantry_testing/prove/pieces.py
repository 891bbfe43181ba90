"""The pieces that `make prove` is cut into: each can be run alone, and several by workers side by side."""

import random
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tenantry_cluster import Layout
from tenantry_migrations import TENANT
from tenantry_testing.faults.rotation import rotate_in_a_world
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.prove.campaign import Campaign, drawn_points
from tenantry_testing.prove.faultcases import FAULTS, FaultCampaign
from tenantry_testing.prove.pauses import PAUSED, PauseCampaign
from tenantry_testing.prove.results import CONVERGED, HELD, CrashResults, ResultFile
from tenantry_testing.prove.scenarios import SCENARIOS
from tenantry_testing.prove.walks import SIDE, WalkCampaign

PARTS: Final = ("crash", "faults", "pauses", "walks", "rotation")
LAP: Final = 80
"""Specs of a walk in one world."""
FAILURES_SHOWN: Final = 10


@dataclass(frozen=True)
class Sizes:
    """How much of each part is run."""

    seed: int
    share: float
    """Of the crash points of each scenario; they are drawn."""
    pairs: int
    pauses: int
    specs: int
    rotations: int


@dataclass(frozen=True)
class Piece:
    """`name` is a scenario's, a fault's, or says which lap of a walk it is."""

    part: str
    name: str

    def __str__(self) -> str:
        return f"{self.part}: {self.name}"


def pieces_of(part: str, sizes: Sizes) -> list[Piece]:
    """Return the pieces of a part, in the order in which they are run."""
    laps = range(1, -(-sizes.specs // LAP) + 1)
    names = {
        "crash": [one.name for one in SCENARIOS],
        "faults": [one.name for one in FAULTS],
        "pauses": [one.name for one in PAUSED],
        "walks": [f"lap {number}" for number in laps],
        "rotation": ["under load"] if sizes.rotations else [],
    }
    return [Piece(part, name) for name in names[part]]


def has_held(piece: Piece, file: ResultFile, sizes: Sizes) -> bool:
    """Say whether the file has this piece as whole as it is asked for, and as one that held."""
    if piece.part == "crash":
        return file.has_held(piece.name, share=sizes.share)
    if piece.part == "faults":
        return file.fault(piece.name) == CONVERGED
    if piece.part == "pauses":
        return file.pauses_that_held(piece.name) >= sizes.pauses
    if piece.part == "walks":
        return file.lap(piece.name) == {"seed": sizes.seed, "specs": _specs_in(piece, sizes), "differ": []}
    found = file.rotation()
    return found.get("failed") == [] and found.get("rotations", 0) >= sizes.rotations


def _specs_in(piece: Piece, sizes: Sizes) -> int:
    number = int(piece.name.split()[-1])
    return min(LAP, sizes.specs - LAP * (number - 1)) // SIDE * SIDE


class Worker:
    """Runs pieces one after the other; crash points and faults share a world as long as nothing fails in it."""

    def __init__(self, layout: Layout, path: Path, sizes: Sizes) -> None:
        self._layout = layout
        self._path = path
        self._sizes = sizes
        self._stack = ExitStack()
        self._world: FaultWorld | None = None
        self._crash: Campaign | None = None
        self._faults: FaultCampaign | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def run(self, piece: Piece) -> int:
        """Run the piece, print what came of it, and write it down; return how much of it did not hold."""
        began = time.monotonic()
        try:
            failed, said = getattr(self, f"_{piece.part}_piece")(piece.name)
        except Exception:
            failed, said = 1, traceback.format_exc()
        if failed:
            self._leave()
        print(f"{piece}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
        return int(failed)

    def _crash_piece(self, name: str) -> tuple[int, str]:
        world = self._with_world()
        if self._crash is None:
            self._leave_campaigns()
            self._crash = Campaign(world)
            self._stack.callback(self._crash.close)
        scenario = next(one for one in SCENARIOS if one.name == name)
        results = CrashResults()
        run = results.scenarios[name] = self._crash.undisturbed(scenario)
        draw = random.Random(f"{self._sizes.seed} {name}")
        for point in drawn_points(run, draw, share=self._sizes.share, pairs=self._sizes.pairs):
            outcome = self._crash.run(scenario, point, run)
            results.outcomes.append(outcome)
            if not outcome.holds:
                print(outcome, flush=True)
        self._file(world.postgres.version()).write_scenario(name, results.scenario_as_json(name))
        return len(results.failed), results.line(name)

    def _faults_piece(self, name: str) -> tuple[int, str]:
        world = self._with_world()
        if self._faults is None:
            self._leave_campaigns()
            self._faults = self._stack.enter_context(FaultCampaign(world))
        wrong = self._faults.run(next(one for one in FAULTS if one.name == name))
        self._file(world.postgres.version()).write_fault(name, _first(wrong) or CONVERGED)
        return bool(wrong), wrong or CONVERGED

    def _pauses_piece(self, name: str) -> tuple[int, str]:
        """Stop one of two operators in the middle of drawn writes, for a minute."""
        self._leave()
        scenario = next(one for one in PAUSED if one.name == name)
        found: dict[str, str] = {}
        with FaultWorld.open(self._layout) as world, PauseCampaign(world) as campaign:
            draw = random.Random(f"{self._sizes.seed} {name}")
            for pause in campaign.drawn(scenario, self._sizes.pauses, draw):
                said = campaign.run(pause)
                print(f"{pause}: {said or HELD}", flush=True)
                found[str(pause)] = _first(said) or HELD
                if said:
                    break  # the campaign is not to be used any more
            self._file(world.postgres.version()).write_pauses(name, found)
        failed = sum(said != HELD for said in found.values())
        return failed, f"{len(found)} stops, {len(found) - failed} {HELD}"

    def _walks_piece(self, name: str) -> tuple[int, str]:
        """Let Tenants walk through drawn specs, and compare them with Tenants made so."""
        self._leave()
        specs = _specs_in(Piece("walks", name), self._sizes)
        differ: list[str] = []
        seed = f"{self._sizes.seed} walks {name}"
        with FaultWorld.open(self._layout) as world, WalkCampaign(world, seed=seed) as campaign:
            for number in range(1, specs // SIDE + 1):
                found = campaign.round()
                print(
                    f"walks, {name}: {number * SIDE} specs, {len(found)} of these {SIDE} differ",
                    *found,
                    sep="\n",
                    flush=True,
                )
                differ += found
            told = {"seed": self._sizes.seed, "specs": specs, "differ": [_first(one) for one in differ]}
            self._file(world.postgres.version()).write_lap(name, told)
        return len(differ), f"{specs} specs, {len(differ)} differ"

    def _rotation_piece(self, name: str) -> tuple[int, str]:  # noqa: ARG002  there is one
        self._leave()
        postgres, run = rotate_in_a_world(self._layout, self._sizes.rotations)
        self._file(postgres).write_rotation(run.as_json())
        return len(run.failed), "\n".join([*run.failed[:FAILURES_SHOWN], run.total()])

    def _with_world(self) -> FaultWorld:
        if self._world is None:
            self._world = self._stack.enter_context(FaultWorld.open(self._layout))
            file = self._file(self._world.postgres.version())
            history = {"revisions": len(TENANT.revisions), "head": TENANT.head}
            file.write_about(kubernetes=self._world.versions()["kubernetes"], seed=self._sizes.seed, history=history)
        return self._world

    def _file(self, postgres: str) -> ResultFile:
        return ResultFile(self._path, postgres)

    def _leave_campaigns(self) -> None:
        """Have one operator at a time."""
        if self._crash is not None:
            self._crash.close()
        if self._faults is not None:
            self._faults.close()
        self._crash = self._faults = None

    def _leave(self) -> None:
        """Give the world up; the next piece opens another one."""
        self._stack.close()
        self._world = self._crash = self._faults = None


def _first(said: str) -> str:
    """The first line of what was wrong; the rest is the operator's log."""
    return said.partition("\n")[0]


def run_pieces(pieces: list[Piece], *, workers: int, start: Callable[[], Worker]) -> int:
    """Run all; return how much did not hold. With several workers each takes the next piece that nobody has."""
    if workers == 1 or len(pieces) < 2:
        with start() as worker:
            return sum(worker.run(piece) for piece in pieces)
    context = get_context("spawn")
    waiting: SimpleQueue[Piece | None] = context.SimpleQueue()
    counts: SimpleQueue[int] = context.SimpleQueue()
    for piece in [*pieces, *[None] * workers]:
        waiting.put(piece)
    processes = [context.Process(target=_take, args=(start, waiting, counts)) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    # One that died has said nothing of the piece that it had.
    return sum(counts.get() if process.exitcode == 0 else 1 for process in processes)


def _take(start: Callable[[], Worker], waiting: "SimpleQueue[Piece | None]", counts: "SimpleQueue[int]") -> None:
    failed = 0
    with start() as worker:
        while piece := waiting.get():
            failed += worker.run(piece)
    counts.put(failed)
