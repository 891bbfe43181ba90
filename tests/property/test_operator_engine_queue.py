"""The queue, whatever the order of events: nothing is lost, nothing runs twice at once, failing keys delay nobody."""

import heapq
import random
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tenantry_operator.engine.queue import LONGEST_BACKOFF, Key, KeyedQueue, Lane, Result
from tenantry_testing.fake_clock import FakeClock

NAMES = st.sampled_from("abc")
KEYS = NAMES.map(lambda name: Key("Tenant", name))

ADD = st.tuples(st.just("add"), KEYS, st.sampled_from([0.0, 0.0, 0.3, 2.0]), st.sampled_from(Lane))
TAKE = st.tuples(st.just("take"))
DONE = st.tuples(st.just("done"), st.integers(0, 5), st.booleans(), st.sampled_from([None, None, 0.5, 3.0]))
WAIT = st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 1.0, 5.0]))
STEPS = st.lists(ADD | TAKE | DONE | WAIT, max_size=60)


@dataclass
class History:
    clock: FakeClock = field(default_factory=FakeClock)
    running: list[Key] = field(default_factory=list)
    owed: dict[Key, float] = field(default_factory=dict)
    """Asked for and not begun since: when it was asked."""
    queue: KeyedQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = KeyedQueue(self.clock, random.Random(1), failing_limit=2)  # noqa: S311

    def play(self, step: tuple) -> None:
        match step:
            case ("add", key, delay, lane):
                self.queue.add(key, delay, lane=lane)
                self.owed.setdefault(key, self.clock.monotonic())
            case ("take",):
                self.take()
            case ("done", index, failed, after):
                if self.running:
                    key = self.running.pop(index % len(self.running))
                    self.queue.done(key, Result(requeue_after=after, failed=failed))
            case ("wait", seconds):
                self.clock.advance(seconds)

    def take(self) -> Key | None:
        key = self.queue.take()
        if key is not None:
            assert key not in self.running
            self.running.append(key)
            self.owed.pop(key, None)
        return key


@given(STEPS)
def test_a_key_never_runs_twice_at_once_and_what_was_asked_for_is_run(steps: list[tuple]) -> None:
    history = History()
    for step in steps:
        history.play(step)
    for _ in range(200):
        for key in history.running.copy():
            history.running.remove(key)
            history.queue.done(key, Result())
        if history.take() is None:
            due = history.queue.next_due()
            if due is None:
                break
            history.clock.advance(due)
    assert not history.owed
    assert history.queue.depth() == 0
    assert history.queue.next_due() is None


@given(STEPS)
def test_the_queue_never_says_due_without_having_something(steps: list[tuple]) -> None:
    history = History()
    for step in steps:
        history.play(step)
        if history.queue.next_due() == 0:
            assert history.take() is not None


@given(st.integers(1, 30))
def test_the_backoff_of_a_failing_key_grows_to_a_minute_and_no_further(failures: int) -> None:
    clock = FakeClock()
    queue = KeyedQueue(clock, random.Random(failures))  # noqa: S311
    key = Key("Tenant", "a")
    queue.add(key)
    backoffs = []
    for _ in range(failures):
        assert queue.take() == key
        backoff = queue.done(key, Result(failed=True))
        assert backoff is not None
        backoffs.append(backoff)
        assert queue.take() is None
        clock.advance(backoff)
    assert 0.15 <= backoffs[0] <= 0.2
    assert all(backoff <= LONGEST_BACKOFF for backoff in backoffs)
    assert all(later > earlier for earlier, later in pairwise(backoffs[:8]))


WORKERS = 4
FAILING_LIMIT = 2
FAILING_PASS = 5.0
HEALTHY_PASS = 0.01


@given(failing=st.integers(0, 200), healthy=st.lists(st.floats(10, 60), min_size=1, max_size=30))
def test_failing_keys_delay_nobody(failing: int, healthy: list[float]) -> None:
    """Any number of keys that always fail, slowly; a healthy key still begins as if it were alone."""
    waits = _simulate(failing, sorted(healthy))
    # The failing ones may hold their share of the workers; what is left serves the healthy ones.
    busiest = max(sum(1 for other in healthy if abs(other - moment) <= 1.0) for moment in healthy)
    assert max(waits) <= busiest * HEALTHY_PASS + 0.001


def _simulate(failing: int, arrivals: list[float]) -> list[float]:
    clock = FakeClock()
    queue = KeyedQueue(clock, random.Random(7), failing_limit=FAILING_LIMIT)  # noqa: S311
    # They are known to fail before the first healthy one comes.
    for number in range(failing):
        key = Key("Tenant", f"failing-{number}")
        queue.add(key)
        queue.take()
        queue.done(key, Result(failed=True))
    events: list[tuple[float, int, str, Key]] = []
    for number, moment in enumerate(arrivals):
        heapq.heappush(events, (moment, number, "arrive", Key("Tenant", f"healthy-{number}")))
    arrived: dict[Key, float] = {}
    waits: list[float] = []
    busy, sequence = 0, len(arrivals)
    while len(waits) < len(arrivals):
        while busy < WORKERS and (key := queue.take()) is not None:
            busy += 1
            sequence += 1
            healthy = key in arrived
            if healthy:
                waits.append(clock.monotonic() - arrived[key])
            heapq.heappush(
                events, (clock.monotonic() + (HEALTHY_PASS if healthy else FAILING_PASS), sequence, "end", key)
            )
        due = queue.next_due() if busy < WORKERS else None
        moments = [events[0][0]] if events else []
        clock.seconds = min([*moments, *([clock.monotonic() + due] if due is not None else [])])
        while events and events[0][0] <= clock.monotonic():
            _, _, what, key = heapq.heappop(events)
            if what == "arrive":
                arrived[key] = clock.monotonic()
                queue.add(key)
            else:
                busy -= 1
                queue.done(key, Result(failed=key not in arrived))
    return waits


def test_timers_that_were_overtaken_do_not_pile_up() -> None:
    queue, key = KeyedQueue(FakeClock(), random.Random(1)), Key("Tenant", "acme")  # noqa: S311
    for _ in range(1000):
        queue.add(key)
        assert queue.take() == key
        queue.done(key, Result(requeue_after=2592000.0))
    assert len(queue._timers) < 100
    assert queue.next_due() == 2592000.0


def test_what_is_made_again_has_not_failed() -> None:
    """Forgotten is what is gone: the next one of its name waits for no backoff, nor in the line of those that fail."""
    history = History()
    key = Key("Tenant", "a")
    history.queue.add(key)
    for _ in range(12):
        history.clock.advance(LONGEST_BACKOFF)
        assert history.take() == key
        history.play(("done", 0, True, None))
    assert history.queue.failing() == 1
    history.queue.forget(key)
    history.queue.add(key)
    assert (history.queue.failing(), history.take()) == (0, key)
