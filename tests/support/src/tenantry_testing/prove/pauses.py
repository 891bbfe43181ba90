"""Two operators, of which the leader is stopped (SIGSTOP) in the middle of a write, and goes on long after.

The other one leads by then, and has done the work. Who wakes up finds its sessions ended and its Lease lost, and ends:
it writes nothing, neither what it was about to write nor what it believes to be missing.
"""

import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import httpx
import psycopg

from tenantry_testing.faults.api_proxy import ApiProxy
from tenantry_testing.faults.dump import difference, dump
from tenantry_testing.faults.effects import Effects
from tenantry_testing.faults.world import FaultWorld
from tenantry_testing.operator_process import OperatorProcess
from tenantry_testing.prove.scenarios import SCENARIOS, Scenario

LEASE_LOST: Final = 3
LIMIT: Final = 90.0
SWEEPS: Final = 3
LOOK: Final = 0.05
SECONDS: Final = 60.0
SQL: Final = "SQL "
SCENARIO_NAMES: Final = ("create", "rotate", "archive", "delete with Delete")
PAUSED: Final = tuple(one for one in SCENARIOS if one.name in SCENARIO_NAMES)


@dataclass(frozen=True)
class Pause:
    """The leader is stopped when this effect of the scenario, counted from 1, is about to be passed on.

    It is done by the server, and its answer waits for the leader to go on.
    """

    scenario: Scenario
    number: int
    label: str

    def __str__(self) -> str:
        return f"{self.scenario.name}, stopped at effect {self.number} ({self.label})"


@dataclass
class _Operator:
    """One of the two, with a way to the API server that counts its writes apart from the other's."""

    process: OperatorProcess
    api: ApiProxy
    effects: Effects
    """Its writes at the API server. What both write at Postgres is counted by the world's."""


@dataclass
class _Heard:
    """Effects in order, and the process that stops at one of them."""

    stop_at: int = 0
    process: OperatorProcess | None = None
    labels: list[str] = field(default_factory=list)
    stopped: float | None = None

    def __call__(self, label: str) -> None:
        self.labels.append(label)
        if len(self.labels) == self.stop_at and self.process is not None:
            self.process.pause()
            self.stopped = time.monotonic()


class PauseCampaign:
    """Runs pauses in one world, with a new Tenant for each; the two operators take turns in leading."""

    def __init__(self, world: FaultWorld, *, seconds: float = SECONDS, env: Mapping[str, str] | None = None) -> None:
        self._world = world
        self._seconds = seconds
        self._env = {**(env or {})}
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self._undisturbed: dict[str, tuple[tuple[str, ...], str]] = {}

    def __enter__(self) -> Self:
        self._leader, self._standby = self._operator("first-0"), self._operator("second-0")
        self._leader.process.start()
        self._leader.process.wait_working(LIMIT)
        self._standby.process.start()
        self._standby.process.wait_started(LIMIT)
        self._wait(self._world.server_is_ready, "the DatabaseServer is Ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def pause_at(self, scenario: Scenario, pattern: str) -> Pause:
        """Return the pause at the first effect whose label has the pattern."""
        labels = self._undisturbed_run(scenario)[0]
        numbers = [number for number, label in enumerate(labels, start=1) if re.search(pattern, label)]
        assert numbers, f"no effect has {pattern}: {labels}"
        return Pause(scenario, numbers[0], labels[numbers[0] - 1])

    def drawn(self, scenario: Scenario, count: int, draw: random.Random) -> list[Pause]:
        """Draw pauses of a scenario, each at another effect."""
        labels = self._undisturbed_run(scenario)[0]
        numbers = sorted(draw.sample(range(1, len(labels) + 1), min(count, len(labels))))
        return [Pause(scenario, number, labels[number - 1]) for number in numbers]

    def run(self, pause: Pause) -> str:
        """Return what was wrong, empty when nothing was. After a fault the campaign is not to be used any more."""
        try:
            self._run(pause)
        except AssertionError as error:
            tails = [f"{one.process.pod_name}:\n{one.process.tail()}" for one in (self._leader, self._standby)]
            return "\n".join([f"{pause}: {error}", *tails])
        return ""

    def _run(self, pause: Pause) -> None:
        labels, wanted = self._undisturbed_run(pause.scenario)
        leader, standby = self._leader, self._standby
        name, uid = self._prepared(pause.scenario)
        heard = self._listen(_Heard(pause.number, leader.process))
        pause.scenario.act(self._world, name)
        uid = uid or self._uid(name)
        self._wait(lambda: heard.stopped is not None, "the leader is stopped")
        standby.process.wait_working(LIMIT)
        self._wait(lambda: pause.scenario.reached(self._world, name), "the other one does the work")
        self._rest(standby)
        self._is_as(wanted, name, uid)
        self._check_not_twice(labels, [self._anonymous(label, name) for label in heard.labels])
        time.sleep(max(0.0, (heard.stopped or 0.0) + self._seconds - time.monotonic()))
        self._wake(leader, standby)
        self._is_as(wanted, name, uid)
        self._world.remove(name)
        leader.process.start()
        leader.process.wait_started(LIMIT)
        self._leader, self._standby = standby, leader

    def _wake(self, leader: _Operator, standby: _Operator) -> None:
        """Let it go on. It must end by itself, without a write to anybody."""
        with self._world.postgres.connect() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s"
            row = connection.execute(query, [f"tenantry:{leader.process.pod_name}:%"]).fetchone()
        assert row == (0,), "its sessions are ended before another one works"
        heard = self._listen(_Heard())
        leader.process.resume()
        code = leader.process.wait_ended(LIMIT)
        assert code == LEASE_LOST, f"it ended with {code}"
        self._sweep(standby)
        assert not heard.labels, f"written after it went on: {heard.labels}"

    @staticmethod
    def _check_not_twice(wanted: Sequence[str], found: Sequence[str]) -> None:
        """At the API server both together wrote what one alone would have written, and nothing of it twice.

        In Postgres a transaction that was cut off is made again; there the state tells.
        """
        more = Counter(one for one in found if not one.startswith(SQL))
        more.subtract(one for one in wanted if not one.startswith(SQL))
        twice = {label: count for label, count in more.items() if count > 0}
        assert not twice, f"written more often than by one operator alone: {twice}"

    def _undisturbed_run(self, scenario: Scenario) -> tuple[tuple[str, ...], str]:
        if scenario.name not in self._undisturbed:
            name, uid = self._prepared(scenario)
            heard = self._listen(_Heard())
            scenario.act(self._world, name)
            uid = uid or self._uid(name)
            self._wait(lambda: bool(heard.labels) and scenario.reached(self._world, name), f"{scenario.name} is done")
            self._rest(self._leader)
            labels = tuple(self._anonymous(label, name) for label in heard.labels)
            self._undisturbed[scenario.name] = labels, dump(self._world, {name: uid or "no uid"})
            self._world.remove(name)
        return self._undisturbed[scenario.name]

    def _prepared(self, scenario: Scenario) -> tuple[str, str]:
        """Return the name of a new Tenant, and its UID if the scenario begins with one."""
        name = f"pause-{next(self._numbers):03d}"
        scenario.prepare(self._world, name)
        self._rest(self._leader)
        return name, self._uid(name)

    def _operator(self, pod: str) -> _Operator:
        effects = Effects()
        api = self._stack.enter_context(self._world.another_api(effects))
        process = self._world.operator(None, pod=pod, api=api, later=False, **self._env)
        self._stack.callback(process.end)
        return _Operator(process, api, effects)

    def _listen(self, heard: _Heard) -> _Heard:
        for effects in (self._world.effects, self._leader.effects, self._standby.effects):
            effects.listener = heard
        return heard

    def _rest(self, operator: _Operator) -> None:
        """Wait until whole sweeps end without a write of any sort."""
        end = time.monotonic() + LIMIT
        while True:
            began = time.monotonic()
            self._sweep(operator)
            quiet = min(one.quiet_for() for one in (self._world.effects, operator.effects))
            if quiet >= time.monotonic() - began:
                return
            assert time.monotonic() < end, f"it goes on writing: {self._world.effects.labels()[-5:]}"

    def _sweep(self, operator: _Operator) -> None:
        def swept() -> tuple[float, ...]:
            kinds = ("Tenant", "DatabaseServer")
            return tuple(operator.process.metric("tenantry_sweep_total", kind=kind, outcome="ok") for kind in kinds)

        before = swept()
        self._wait(lambda: all(now >= then + SWEEPS for now, then in zip(swept(), before, strict=True)), "it sweeps")

    def _is_as(self, wanted: str, name: str, uid: str) -> None:
        end, found = time.monotonic() + LIMIT, ""
        while time.monotonic() < end:
            try:
                found = dump(self._world, {name: uid or "no uid"})
            except (psycopg.Error, httpx.HTTPError):
                continue  # it changed while it was read
            if found == wanted:
                return
            time.sleep(5 * LOOK)
        raise AssertionError(f"the end is another one:\n{difference(wanted, found)}")

    def _uid(self, name: str) -> str:
        body = self._world.tenant(name)
        return str(body["metadata"]["uid"]) if body else ""

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        self._world.wait(condition, what, limit=LIMIT)

    @staticmethod
    def _anonymous(label: str, name: str) -> str:
        return label.replace(name, "<tenant>").replace(name.replace("-", "_"), "<tenant>")
