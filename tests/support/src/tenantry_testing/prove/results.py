"""What `make prove` writes down: small, and the same for the same result."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenantry_testing.prove.campaign import Outcome, Undisturbed, Verdict


@dataclass
class CrashResults:
    """The crash points of all scenarios."""

    scenarios: dict[str, Undisturbed] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> list[Outcome]:
        return [one for one in self.outcomes if not one.holds]

    def line(self, scenario: str) -> str:
        """One line for a person."""
        outcomes = [one for one in self.outcomes if one.scenario == scenario]
        said = f"{scenario}: {len(self.scenarios[scenario].labels)} effects, {_counts(outcomes)}"
        reached = sum(one.second is True for one in outcomes)
        return f"{said}, {reached} died twice" if any(one.point.second for one in outcomes) else said

    def scenario_as_json(self, name: str) -> dict[str, Any]:
        outcomes = [one for one in self.outcomes if one.scenario == name]
        single = [one for one in outcomes if one.point.second is None]
        pairs = [one for one in outcomes if one.point.second is not None]
        return {
            "effects": list(self.scenarios[name].labels),
            "points": len(single),
            "equal": _count(single, Verdict.EQUAL),
            "not_reached": [str(one.point) for one in single if one.verdict is Verdict.NOT_REACHED],
            "pairs": len(pairs),
            "pairs_equal": sum(one.holds for one in pairs),
            "pairs_that_died_twice": sum(one.second is True for one in pairs),
            "failed": [f"{one.point} ({one.label}): {one.verdict}" for one in outcomes if not one.holds],
        }


def _count(outcomes: Iterable[Outcome], verdict: Verdict) -> int:
    return sum(one.verdict is verdict for one in outcomes)


def _counts(outcomes: Sequence[Outcome]) -> str:
    counts = {verdict: _count(outcomes, verdict) for verdict in Verdict}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "no points"


class ResultFile:
    """What was found with one Postgres version, beside what was found with others. Each result is written at once."""

    def __init__(self, path: Path, postgres: str) -> None:
        self._path = path
        self._postgres = postgres

    def has_held(self, scenario: str) -> bool:
        """Whether each point of the scenario was run, and none failed."""
        return bool(self._of("crash_points").get(scenario, {"failed": [""]})["failed"] == [])

    def write_scenario(self, name: str, found: Mapping[str, Any]) -> None:
        self._write("crash_points", name, found)

    def write_fault(self, name: str, found: str) -> None:
        self._write("faults", name, found)

    def write_part(self, part: str, found: Mapping[str, Any]) -> None:
        self._write(part, None, found)

    def write_about(self, **about: object) -> None:
        self._save({**self._load(), **about})

    def total(self) -> str:
        """Count the crash points of all scenarios that were ever run."""
        found = self._of("crash_points").values()
        run = sum(one["points"] + one["pairs"] for one in found)
        lost = sum(len(one["failed"]) for one in found)
        missed = sum(len(one["not_reached"]) for one in found)
        twice = sum(one["pairs_that_died_twice"] for one in found)
        return f"crash points: {run - lost} of {run} held, {missed} of them not reached, {twice} died twice"

    def _of(self, part: str) -> dict[str, Any]:
        found: dict[str, Any] = self._load().get("postgres", {}).get(self._postgres, {}).get(part, {})
        return found

    def _write(self, part: str, name: str | None, found: object) -> None:
        whole = self._load()
        here = whole.setdefault("postgres", {}).setdefault(self._postgres, {})
        here[part] = found if name is None else {**here.get(part, {}), name: found}
        if part == "crash_points":
            self._save(whole)
            here["total"] = self.total()
        self._save(whole)

    def _load(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return found

    def _save(self, whole: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
