"""What `make prove` writes down: small, and the same for the same result."""

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tenantry_testing.prove.campaign import Outcome, Undisturbed, Verdict

CONVERGED: Final = "converged"
HELD: Final = "fenced, and nothing written twice"
Whole = dict[str, Any]


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
        said = f"{len(self.scenarios[scenario].labels)} effects, {_counts(outcomes)}"
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
    """What was found with one Postgres version, beside what was found with others. Each result is written at once.

    Several processes may write to the file; each takes a lock on its folder for it.
    """

    def __init__(self, path: Path, postgres: str) -> None:
        self._path = path
        self._postgres = postgres

    def has_held(self, scenario: str, *, share: float = 1.0) -> bool:
        """Whether so many points of the scenario were run, and none failed."""
        found = self._of("crash_points").get(scenario)
        if found is None or found["failed"]:
            return False
        return bool(found["points"] >= round(share * 2 * len(found["effects"])))

    def fault(self, name: str) -> str | None:
        found: str | None = self._of("faults").get(name)
        return found

    def pauses_that_held(self, scenario: str) -> int:
        return sum(said == HELD for name, said in self._of("pauses").items() if name.startswith(f"{scenario}, "))

    def lap(self, name: str) -> Whole | None:
        found: Whole | None = self._of("walks").get(name)
        return found

    def rotation(self) -> Whole:
        return self._of("rotation")

    def write_scenario(self, name: str, found: Mapping[str, Any]) -> None:
        def change(here: Whole) -> None:
            here.setdefault("crash_points", {})[name] = found
            here["total"] = _total(here["crash_points"].values())

        self._write(change)

    def write_fault(self, name: str, found: str) -> None:
        self._write(lambda here: here.setdefault("faults", {}).update({name: found}))

    def write_pauses(self, scenario: str, found: Mapping[str, str]) -> None:
        """Write those of a scenario in the place of those that were there of it."""

        def change(here: Whole) -> None:
            kept = {name: said for name, said in here.get("pauses", {}).items() if not name.startswith(f"{scenario}, ")}
            here["pauses"] = {**kept, **found}

        self._write(change)

    def write_lap(self, name: str, found: Mapping[str, Any]) -> None:
        self._write(lambda here: here.setdefault("walks", {}).update({name: found}))

    def write_rotation(self, found: Mapping[str, Any]) -> None:
        self._write(lambda here: here.update(rotation=found))

    def write_about(self, **about: object) -> None:
        with self._locked():
            self._save({**about, **{key: told for key, told in self._load().items() if key not in about}})

    def total(self) -> str:
        """Count the crash points of all scenarios that were ever run."""
        return _total(self._of("crash_points").values())

    def _of(self, part: str) -> Whole:
        found: Whole = self._load().get("postgres", {}).get(self._postgres, {}).get(part, {})
        return found

    def _write(self, change: Callable[[Whole], None]) -> None:
        with self._locked():
            whole = self._load()
            change(whole.setdefault("postgres", {}).setdefault(self._postgres, {}))
            self._save(whole)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _load(self) -> Whole:
        found: Whole = json.loads(self._path.read_text()) if self._path.exists() else {}
        return found

    def _save(self, whole: Mapping[str, Any]) -> None:
        self._path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def _total(scenarios: Collection[Mapping[str, Any]]) -> str:
    single = sum(one["points"] for one in scenarios)
    run = single + sum(one["pairs"] for one in scenarios)
    lost = sum(len(one["failed"]) for one in scenarios)
    missed = sum(len(one["not_reached"]) for one in scenarios)
    twice = sum(one["pairs_that_died_twice"] for one in scenarios)
    there = sum(2 * len(one["effects"]) for one in scenarios)
    drawn = f", {there - single} more not drawn" if there > single else ""
    return f"crash points: {run - lost} of {run} held, {missed} of them not reached, {twice} died twice{drawn}"
