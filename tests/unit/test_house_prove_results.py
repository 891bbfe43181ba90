"""Results of campaigns are kept apart by the version of Postgres, and a campaign goes on where it was."""

import json
from pathlib import Path

import pytest

from tenantry_testing.postgres_versions import NoSuchPostgres, programs_of
from tenantry_testing.prove.results import ResultFile


def scenario(*failed: str) -> dict[str, object]:
    return {"points": 4, "pairs": 1, "not_reached": ["x"], "pairs_that_died_twice": 1, "failed": list(failed)}


def test_each_result_is_there_at_once_and_beside_the_others(tmp_path: Path) -> None:
    file, other = ResultFile(tmp_path / "prove.json", "15.1"), ResultFile(tmp_path / "prove.json", "18.2")
    file.write_about(seed=7)
    file.write_scenario("create", scenario())
    file.write_scenario("delete", scenario("after effect 2"))
    other.write_scenario("create", scenario())
    other.write_fault("late", "converged")
    found = json.loads((tmp_path / "prove.json").read_text())
    assert found["seed"] == 7
    assert list(found["postgres"]["15.1"]["crash_points"]) == ["create", "delete"]
    assert found["postgres"]["15.1"]["total"] == "crash points: 9 of 10 held, 2 of them not reached, 2 died twice"
    assert found["postgres"]["18.2"]["faults"] == {"late": "converged"}
    assert file.total() == found["postgres"]["15.1"]["total"]


def test_only_what_held_needs_not_be_run_again(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "prove.json", "15.1")
    assert not file.has_held("create")
    file.write_scenario("create", scenario("after effect 2"))
    assert not file.has_held("create")
    file.write_scenario("create", scenario())
    assert file.has_held("create")


def test_a_version_that_cannot_be_had_is_told() -> None:
    with pytest.raises(NoSuchPostgres, match="there are 16, 17, 18"):
        programs_of(14)
