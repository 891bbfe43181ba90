"""Kills the operator at each of its writes, starts it again, and compares what there is with an undisturbed run."""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import httpx
import psycopg

from tenantry_testing.faults.dump import difference, dump
from tenantry_testing.faults.effects import Effects, Moment
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.operator_process import OperatorProcess, sample
from tenantry_testing.prove.scenarios import NEIGHBOUR, Scenario

LIMIT: Final = 60.0
"""Seconds for what takes two on a machine of its own."""
SWEEPS: Final = 3
"""Three ends of a sweep hold two whole ones."""
LOOK: Final = 0.05
KINDS: Final = ("Tenant", "DatabaseServer")


class Verdict(StrEnum):
    EQUAL = "equal"
    NOT_REACHED = "not reached"
    """The run had fewer effects than the undisturbed one; it came to the same end."""
    DIFFERS = "differs"
    RESTLESS = "restless"
    """The state is the same, and the operator goes on writing."""


@dataclass(frozen=True)
class Point:
    """Where the operator dies: at an effect of the run, and perhaps once more at one after the restart."""

    number: int
    moment: Moment
    second: tuple[int, Moment] | None = None

    def __str__(self) -> str:
        again = f", and {self.second[1]} effect {self.second[0]} of the next start" if self.second else ""
        return f"{self.moment} effect {self.number}{again}"


@dataclass(frozen=True)
class Undisturbed:
    """A run without a death: its effects in order, and what there is in the end."""

    labels: tuple[str, ...]
    text: str

    def points(self) -> Iterator[Point]:
        for number in range(1, len(self.labels) + 1):
            yield from (Point(number, moment) for moment in Moment)


@dataclass(frozen=True)
class Outcome:
    """What became of one point. `label` is the effect at which the operator died, `detail` what was wrong."""

    scenario: str
    point: Point
    verdict: Verdict
    label: str = ""
    second: bool | None = None
    """Whether the second death was reached; None when none was planned."""
    detail: str = ""

    @property
    def holds(self) -> bool:
        return self.verdict in {Verdict.EQUAL, Verdict.NOT_REACHED}

    def __str__(self) -> str:
        told = f"{self.scenario}, {self.point} ({self.label or 'no effect'}): {self.verdict}"
        return f"{told}\n{self.detail}" if self.detail else told


class Campaign:
    """Runs points in one world, each with a Tenant of its own, one after the other."""

    def __init__(self, world: FaultWorld) -> None:
        self._world = world
        self._operator = world.operator()
        self._later = False
        self._numbers = itertools.count(1)
        self._neighbour = ""

    @property
    def effects(self) -> Effects:
        return self._world.effects

    @property
    def operator(self) -> OperatorProcess:
        return self._operator

    def close(self) -> None:
        self._operator.end()

    def undisturbed(self, scenario: Scenario) -> Undisturbed:
        """Run the scenario without a death. Raises AssertionError when it does not come to its end."""
        name, uid, before = self._prepared(scenario)
        self.effects.start()
        scenario.act(self._world, name)
        uid = self._uid(name) or uid
        self._wait(lambda: self.effects.count() > 0, f"{scenario.name} has an effect")
        self._wait(lambda: scenario.reached(self._world, name), f"{scenario.name} is done")
        self.rest()
        labels = tuple(self._anonymous(label, name) for label in self.effects.labels())
        text = self._dump(name, uid)
        if scenario.restores:
            assert not difference(before, text), f"{scenario.name} does not restore:\n{difference(before, text)}"
        self._remove(scenario, name)
        return Undisturbed(labels, text)

    def run(self, scenario: Scenario, point: Point, undisturbed: Undisturbed) -> Outcome:
        """Run the scenario with a death, or two."""
        name, uid, _ = self._prepared(scenario)
        self.effects.arm(point.number, point.moment, self._operator.kill)
        scenario.act(self._world, name)
        uid = self._uid(name) or uid
        died = self._dies_or_ends(scenario, name)
        label = self._anonymous(died or "", name)
        second = self._again(scenario, name, point.second) if died and point.second else None
        self.effects.disarm()
        if died:
            self._start()
        verdict, detail = self._judge(scenario, name, uid=uid, wanted=undisturbed.text)
        if verdict is Verdict.EQUAL and not died:
            verdict = Verdict.NOT_REACHED
        if verdict in {Verdict.EQUAL, Verdict.NOT_REACHED}:
            self._remove(scenario, name)
        else:
            detail += f"\neffects since the start: {self.effects.labels()}\n{self._operator.tail()}"
            self._start_over(scenario, name)
        return Outcome(scenario.name, point, verdict, label=label, second=second, detail=detail)

    def rest(self) -> None:
        """Wait until two whole sweeps of each kind end without a write of any sort, and no pass is under way."""
        end = time.monotonic() + LIMIT
        began, before = time.monotonic(), self._sweeps()
        while not (_are_whole(before, self._sweeps()) and self._is_idle()):
            assert time.monotonic() < end, f"the operator goes on writing, or ends no sweep:\n{self._told()}"
            time.sleep(2 * LOOK)
            if self.effects.quiet_for() < time.monotonic() - began:
                began, before = time.monotonic(), self._sweeps()

    def _told(self) -> str:
        return f"{self.effects.labels()[-10:]}\n{self._operator.tail()}"

    def _sweep(self) -> None:
        """Wait until the sweep has come to its end so often that two were whole."""
        before = self._sweeps()
        self._wait(lambda: _are_whole(before, self._sweeps()), "the operator sweeps")

    def _sweeps(self) -> Sequence[float]:
        """How often the sweep of each kind has come to its end."""
        text = self._operator.metrics_text()
        return [sample(text, "tenantry_sweep_total", kind=kind, outcome="ok") for kind in KINDS]

    def _is_idle(self) -> bool:
        """Say whether the operator has looked at the Tenants, and all passes that began have ended."""
        text = self._operator.metrics_text()
        begun, ended = (
            [sample(text, f"tenantry_{name}", kind=kind) for kind in ("Tenant", "MigrationRun")]
            for name in ("queue_wait_seconds_count", "reconcile_total")
        )
        return begun == ended and ended[0] > 0

    def _prepared(self, scenario: Scenario) -> tuple[str, str, str]:
        """Return the name of a new Tenant, its UID as far as there is one, and what there is."""
        self.effects.start()
        if not self._operator.alive():
            self._start()
            self._wait(self._world.server_is_ready, "the DatabaseServer is Ready")
        if not self._neighbour:
            self._world.apply(NEIGHBOUR)
            self._wait(lambda: self._world.is_ready(NEIGHBOUR), "the neighbour is Ready")
            self._neighbour = self._uid(NEIGHBOUR)
        if self._later is not scenario.later:
            self._become(later=scenario.later)
        name = f"prove-{next(self._numbers):04d}"
        scenario.prepare(self._world, name)
        self.rest()
        uid = self._uid(name)
        return name, uid, self._dump(name, uid) if scenario.restores else ""

    def _become(self, *, later: bool) -> None:
        """Go on with the operator of this version, or with that of a later one."""
        self._operator.end()
        self._operator, self._later = self._world.operator(later=later), later
        self._start()

    def _remove(self, scenario: Scenario, name: str) -> None:
        scenario.tidy(self._world, name)
        self._world.remove(name)

    def _uid(self, name: str) -> str:
        body = self._world.tenant(name)
        return str(body["metadata"]["uid"]) if body else ""

    def _start(self) -> None:
        self._operator.start()
        self._operator.wait_working()

    def _dies_or_ends(self, scenario: Scenario, name: str) -> str | None:
        """Return the label of the effect that the operator died at; None when it came to its end without."""
        end = time.monotonic() + LIMIT
        while not self.effects.struck:
            if self.effects.count() and scenario.reached(self._world, name):
                # It is done for the user; what follows (an Event, a Secret of before) may still be the one.
                quiet = self._rests_or_dies()
                if quiet:
                    return None
            assert time.monotonic() < end, f"{scenario.name} comes to no end: {self.effects.labels()}"
            time.sleep(LOOK)
        return self.effects.struck.label

    def _rests_or_dies(self) -> bool:
        before = self._sweeps_or_none()
        count = self.effects.count()
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and not self.effects.struck:
            if _are_whole(before, self._sweeps_or_none()):
                return self.effects.count() == count
            time.sleep(LOOK)
        return False

    def _sweeps_or_none(self) -> Sequence[float]:
        try:
            return self._sweeps()
        except OSError:
            return [0.0 for _ in KINDS]

    def _again(self, scenario: Scenario, name: str, second: tuple[int, Moment]) -> bool:
        """Start the operator, which dies once more; say whether it did. It may run in the end, or not."""
        self.effects.arm(*second, self._operator.kill)
        self._operator.start()
        end = time.monotonic() + LIMIT
        while not self.effects.struck:
            assert time.monotonic() < end, f"{scenario.name} comes to no end after the first death"
            if self._is_working() and scenario.reached(self._world, name) and self._rests_or_dies():
                self._operator.kill()
                return False
            time.sleep(LOOK)
        return True

    def _is_working(self) -> bool:
        return any(line.get("event") == "working" for line in self._operator.lines())

    def _judge(self, scenario: Scenario, name: str, *, uid: str, wanted: str) -> tuple[Verdict, str]:
        """Compare what there is once two whole sweeps have written nothing, again and again for a while."""
        found, restless = "nothing could be read", ""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                self.rest()
                count, restless = self.effects.count(), ""
                found = self._dump(name, uid)
                if scenario.reached(self._world, name) and found == wanted and self.effects.count() == count:
                    return Verdict.EQUAL, ""
            except (psycopg.Error, httpx.HTTPError) as error:
                found = str(error)  # it changed while it was read
            except AssertionError as error:
                found, restless = self._dump(name, uid), str(error)
        differs = difference(wanted, found)
        return (Verdict.DIFFERS, f"{differs}\n{restless}") if differs else (Verdict.RESTLESS, restless)

    def _dump(self, name: str, uid: str) -> str:
        return dump(self._world, {name: uid or "no uid", NEIGHBOUR: self._neighbour})

    def _start_over(self, scenario: Scenario, name: str) -> None:
        """After a point that does not hold, let the next one begin cleanly."""
        if not self._operator.alive():
            self._start()
        self._remove(scenario, name)
        self._world.remove(NEIGHBOUR)
        self._neighbour = ""

    def _anonymous(self, label: str, name: str) -> str:
        return label.replace(name, "<tenant>").replace(name.replace("-", "_"), "<tenant>")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            self._world.wait(condition, what, limit=LIMIT)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._operator.tail()}") from error


def _are_whole(before: Sequence[float], now: Sequence[float]) -> bool:
    return all(later >= earlier + SWEEPS for earlier, later in zip(before, now, strict=True))


def drawn_points(run: Undisturbed, draw: random.Random, *, share: float, pairs: int) -> list[Point]:
    """Draw a share of a run's points, all of them in order when it is 1, and pairs of deaths."""
    points = list(run.points())
    count = min(len(points), max(1, round(share * len(points))))
    chosen = sorted(draw.sample(range(len(points)), count)) if count < len(points) else range(count)
    return [*(points[number] for number in chosen), *second_deaths(run, pairs, draw)]


def second_deaths(undisturbed: Undisturbed, count: int, draw: random.Random) -> list[Point]:
    """Draw pairs of deaths; the second one is at a write that is still to come after the first."""
    drawn = []
    for _ in range(count):
        number = draw.randint(1, len(undisturbed.labels))
        left = len(undisturbed.labels) - number + 1
        second = (draw.randint(1, left), draw.choice(list(Moment)))
        drawn.append(Point(number, draw.choice(list(Moment)), second))
    return drawn
