"""Results of campaigns are kept apart by the version of Postgres, and a campaign goes on where it was."""

import json
import random
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tenantry_testing.postgres_versions import NoSuchPostgres, programs_of
from tenantry_testing.prove.campaign import Undisturbed, drawn_points
from tenantry_testing.prove.pieces import PARTS, Piece, Sizes, has_held, pieces_of, run_pieces
from tenantry_testing.prove.results import CONVERGED, HELD, ResultFile

SIZES = Sizes(seed=7, share=1.0, pairs=3, pauses=2, specs=100, rotations=5)


def scenario(*failed: str, points: int = 4) -> dict[str, object]:
    return {
        "effects": ["one", "two"],
        "points": points,
        "pairs": 1,
        "not_reached": ["x"],
        "pairs_that_died_twice": 1,
        "failed": list(failed),
    }


@pytest.fixture
def file(tmp_path: Path) -> ResultFile:
    return ResultFile(tmp_path / "prove.json", "15.1")


def test_each_result_is_there_at_once_and_beside_the_others(tmp_path: Path, file: ResultFile) -> None:
    other = ResultFile(tmp_path / "prove.json", "18.2")
    file.write_about(seed=7)
    file.write_scenario("create", scenario())
    file.write_scenario("delete", scenario("after effect 2"))
    other.write_scenario("create", scenario())
    other.write_fault("late", CONVERGED)
    found = json.loads((tmp_path / "prove.json").read_text())
    assert found["seed"] == 7
    assert list(found["postgres"]["15.1"]["crash_points"]) == ["create", "delete"]
    assert found["postgres"]["15.1"]["total"] == "crash points: 9 of 10 held, 2 of them not reached, 2 died twice"
    assert found["postgres"]["18.2"]["faults"] == {"late": CONVERGED}
    assert file.total() == found["postgres"]["15.1"]["total"]


def test_a_total_says_how_much_was_not_drawn(file: ResultFile) -> None:
    file.write_scenario("create", scenario(points=1))
    assert file.total() == "crash points: 2 of 2 held, 1 of them not reached, 1 died twice, 3 more not drawn"


def test_only_what_held_and_was_run_whole_needs_not_be_run_again(file: ResultFile) -> None:
    pieces = {part: pieces_of(part, SIZES)[0] for part in PARTS}
    assert not any(has_held(piece, file, SIZES) for piece in pieces.values())
    paused = f"{pieces['pauses'].name}, stopped at effect "
    file.write_scenario("create", scenario("after effect 2"))
    file.write_fault(pieces["faults"].name, "restarted")
    file.write_pauses(pieces["pauses"].name, {f"{paused}1": HELD, f"{paused}2": "it ended with 1"})
    file.write_lap("lap 1", {"seed": 7, "specs": 80, "differ": ["one"]})
    file.write_rotation({"rotations": 5, "failed": ["late"]})
    assert not any(has_held(piece, file, SIZES) for piece in pieces.values())
    file.write_scenario("create", scenario())
    file.write_fault(pieces["faults"].name, CONVERGED)
    file.write_pauses(pieces["pauses"].name, {f"{paused}1": HELD, f"{paused}3": HELD})
    file.write_lap("lap 1", {"seed": 7, "specs": 80, "differ": []})
    file.write_rotation({"rotations": 5, "failed": []})
    assert all(has_held(piece, file, SIZES) for piece in pieces.values())
    more = replace(SIZES, pauses=3, rotations=6, seed=8)
    assert [part for part in PARTS if has_held(pieces[part], file, more)] == ["crash", "faults"]
    file.write_scenario("create", scenario(points=2))
    assert not has_held(pieces["crash"], file, SIZES)
    assert has_held(pieces["crash"], file, replace(SIZES, share=0.5))


def test_the_laps_of_a_walk_hold_all_its_specs(file: ResultFile) -> None:
    assert [str(piece) for piece in pieces_of("walks", SIZES)] == ["walks: lap 1", "walks: lap 2"]
    file.write_lap("lap 2", {"seed": 7, "specs": 16, "differ": []})
    assert has_held(Piece("walks", "lap 2"), file, SIZES)


def test_a_share_of_the_points_is_drawn_by_the_seed() -> None:
    run = Undisturbed(tuple("abcde"), "")

    def drawn(seed: str, **sizes: Any) -> list[str]:
        return [str(point) for point in drawn_points(run, random.Random(seed), **sizes)]  # noqa: S311

    assert drawn("a", share=1.0, pairs=0) == [str(point) for point in run.points()]
    some = drawn("a", share=0.3, pairs=2)
    assert len(some) == 3 + 2
    assert some == drawn("a", share=0.3, pairs=2) != drawn("b", share=0.3, pairs=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_piece_is_run_once_by_one_of_the_workers(workers: int) -> None:
    pieces: Any = ["a", "bb", "ccc"]
    start: Any = partial(nullcontext, SimpleNamespace(run=len))
    assert run_pieces(pieces, workers=workers, start=start) == 6


def test_a_worker_that_died_is_none_that_held() -> None:
    pieces: Any = ["no number", "none either"]
    start: Any = partial(nullcontext, SimpleNamespace(run=int))
    assert run_pieces(pieces, workers=2, start=start) == 2


def test_a_version_that_cannot_be_had_is_told() -> None:
    with pytest.raises(NoSuchPostgres, match="there are 16, 17, 18"):
        programs_of(14)
