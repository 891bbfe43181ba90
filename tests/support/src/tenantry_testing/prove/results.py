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

    def total(self) -> str:
        held = sum(one.holds for one in self.outcomes)
        not_reached = sum(one.verdict is Verdict.NOT_REACHED for one in self.outcomes)
        twice = sum(one.second is True for one in self.outcomes)
        return (
            f"crash points: {held} of {len(self.outcomes)} held, {not_reached} of them not reached, {twice} died twice"
        )

    def as_json(self) -> dict[str, Any]:
        return {"total": self.total(), "scenarios": [self._scenario(name) for name in self.scenarios]}

    def _scenario(self, name: str) -> dict[str, Any]:
        outcomes = [one for one in self.outcomes if one.scenario == name]
        single = [one for one in outcomes if one.point.second is None]
        pairs = [one for one in outcomes if one.point.second is not None]
        return {
            "name": name,
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


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write JSON that differs only where results do; what is not given anew stays."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**before, **results}, indent=2, ensure_ascii=False) + "\n")
