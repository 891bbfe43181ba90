"""What is broken around the operator, and that it comes through: no restart, no busy loop, the same end."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import httpx
import psycopg

from tenantry_testing.faults.api_faults import ENDLESS, ApiFault, Harm, WatchFault
from tenantry_testing.faults.dump import difference, dump
from tenantry_testing.faults.world import FaultWorld

LIMIT: Final = 90.0
LASTS: Final = 5.0
"""Seconds that a fault lasts which does not wear off by itself, and over which requests are counted at least."""
SWEEP_SECONDS: Final = "0.4"
"""An idle operator must not look busy beside a loop."""
MOST: Final = 25.0
"""Requests and batches a second above those of an idle operator and of the work; a busy loop makes hundreds."""
WRITES: Final = "POST|PUT|PATCH|DELETE"
OURS: Final = "/tenants|/secrets"
APPLICATION: Final = "application_name LIKE 'tenantry:%'"

Break = Callable[[FaultWorld], AbstractContextManager[object]]


@dataclass(frozen=True)
class FaultCase:
    """`breaks` is entered before a Tenant is made and another one changed, and left `lasts` seconds later."""

    name: str
    breaks: Break
    lasts: float = 0.0
    """0: it wears off by itself, and is left when all has converged."""


def api(*faults: ApiFault) -> Break:
    @contextmanager
    def break_it(world: FaultWorld) -> Iterator[None]:
        # Each run counts anew.
        world.api.faults += [ApiFault(**{**vars(one), "hits": 0}) for one in faults]
        try:
            yield
        finally:
            world.api.heal()

    return break_it


def watch(fault: WatchFault) -> Break:
    @contextmanager
    def break_it(world: FaultWorld) -> Iterator[None]:
        world.api.watch_faults.append(WatchFault(fault.path, drop=fault.drop, stale=fault.stale, garble=fault.garble))
        try:
            yield
        finally:
            world.api.heal()

    return break_it


@contextmanager
def expired_watches(world: FaultWorld) -> Iterator[None]:
    assert world.api.expire_watches() > 0
    yield


@contextmanager
def ended_watches(world: FaultWorld) -> Iterator[None]:
    assert world.api.end_watches() > 0
    yield


@contextmanager
def restarted_postgres(world: FaultWorld) -> Iterator[None]:
    world.postgres.stop()
    yield
    world.postgres.start()


@contextmanager
def ended_sessions(world: FaultWorld) -> Iterator[None]:
    """End the operator's sessions, and those that it opens after them."""
    with world.postgres.connect() as connection:
        for _ in range(3):
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {APPLICATION}")
            time.sleep(0.2)
    yield


@contextmanager
def full_server(world: FaultWorld) -> Iterator[None]:
    taken: list[psycopg.Connection[object]] = []
    world.database.reset()
    try:
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(world.postgres.connect())
        yield
    finally:
        for connection in taken:
            connection.close()


@contextmanager
def held_catalogue(world: FaultWorld) -> Iterator[None]:
    """Hold a lock that lets the catalogue of roles be read, and not be written."""
    with world.postgres.connect("app") as connection, connection.transaction():
        connection.execute("LOCK TABLE pg_authid, pg_db_role_setting IN EXCLUSIVE MODE")
        yield


@contextmanager
def read_only_server(world: FaultWorld) -> Iterator[None]:
    set_read_only(world, "on")
    try:
        yield
    finally:
        set_read_only(world, "off")


def set_read_only(world: FaultWorld, value: str) -> None:
    with world.postgres.connect() as connection:
        connection.execute("SET default_transaction_read_only TO off")
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only TO {value}")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def slow_postgres(world: FaultWorld) -> Iterator[None]:
    world.database.delay = 0.2
    try:
        yield
    finally:
        world.database.delay = 0.0


@contextmanager
def dark_postgres(world: FaultWorld) -> Iterator[None]:
    world.database.go_dark()
    try:
        yield
    finally:
        world.database.lighten()


@contextmanager
def refusing_postgres(world: FaultWorld) -> Iterator[None]:
    world.database.refusing = True
    world.database.reset()
    try:
        yield
    finally:
        world.database.refusing = False


def refuse(
    status: int, reason: str, *, times: int, retry_after: int | None = None, method: str = ".*", path: str = ".*"
) -> ApiFault:
    return ApiFault(
        Harm.REFUSE, method=method, path=path, times=times, status=status, reason=reason, retry_after=retry_after
    )


TENANT_EVENTS: Final = "/tenants$"
FAULTS: Final = (
    FaultCase("API: late answers", api(ApiFault(Harm.DELAY, path=OURS, seconds=1.0, times=8))),
    FaultCase("API: reset connections", api(ApiFault(Harm.RESET, path=OURS, times=8))),
    FaultCase("API: lost answers to writes", api(ApiFault(Harm.LOST, method=WRITES, path=OURS, times=4))),
    FaultCase("API: unreachable", api(ApiFault(Harm.RESET, times=ENDLESS)), lasts=LASTS),
    FaultCase("API: 409", api(refuse(409, "Conflict", times=5, method=WRITES, path=OURS))),
    FaultCase("API: 410 on watch", expired_watches),
    FaultCase("API: ended watches", ended_watches),
    FaultCase("API: 429 with Retry-After", api(refuse(429, "TooManyRequests", times=6, retry_after=1, path=OURS))),
    FaultCase("API: 500", api(refuse(500, "InternalError", times=8, path=OURS))),
    FaultCase("API: 500 to everything", api(refuse(500, "InternalError", times=ENDLESS)), lasts=LASTS),
    FaultCase("API: a burst of 403", api(refuse(403, "Forbidden", times=ENDLESS)), lasts=LASTS),
    FaultCase("API: dropped watch events", watch(WatchFault(TENANT_EVENTS, drop=3))),
    FaultCase("API: stale watch events", watch(WatchFault(TENANT_EVENTS, stale=True))),
    FaultCase("API: truncated watch events", watch(WatchFault(TENANT_EVENTS, garble=2))),
    FaultCase("API: truncated JSON", api(ApiFault(Harm.TRUNCATE, path=OURS, times=8))),
    FaultCase("API: truncated JSON about the Lease", api(ApiFault(Harm.TRUNCATE, path="/leases/", times=2))),
    FaultCase("Postgres: restarted", restarted_postgres, lasts=2.0),
    FaultCase("Postgres: ended sessions", ended_sessions),
    FaultCase("Postgres: full", full_server, lasts=LASTS),
    FaultCase("Postgres: a held catalogue lock", held_catalogue, lasts=LASTS),
    FaultCase("Postgres: read-only", read_only_server, lasts=LASTS),
    FaultCase("Postgres: slow", slow_postgres, lasts=LASTS),
    FaultCase("Postgres: dark", dark_postgres, lasts=LASTS),
    FaultCase("Postgres: refuses connections", refusing_postgres, lasts=LASTS),
)


class FaultCampaign:
    """One operator that goes through all the faults."""

    def __init__(self, world: FaultWorld) -> None:
        self._world = world
        self._operator = world.operator(TENANTRY_SWEEP_INTERVAL=SWEEP_SECONDS)
        self._numbers = itertools.count(1)
        self._wanted = ""
        self._work = 0
        """Requests and batches of an undisturbed run: what wears off in a second must not look busy for them."""

    def __enter__(self) -> Self:
        self._operator.start()
        self._operator.wait_working()
        self._world.wait(self._world.server_is_ready, "the DatabaseServer is Ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._operator.end()

    def run(self, fault: FaultCase) -> str:
        """Return what was wrong, empty when nothing was; raises nothing for it."""
        try:
            if not self._wanted:
                self._wanted = self._undisturbed()
            return self._run(fault)
        except AssertionError as error:
            return f"{error}\n{self._operator.tail()}"
        finally:
            if not self._operator.alive():
                self._operator.restart()

    def _undisturbed(self) -> str:
        made, changed = self._begin()
        asked = self._asked()
        self._act(made, changed)
        self._world.wait(lambda: self._is_done(made, changed), "the undisturbed run is done", limit=LIMIT)
        self._work = self._asked() - asked
        self._rest()
        return self._end(made, changed)

    def _run(self, fault: FaultCase) -> str:
        pid = self._operator.pid
        made, changed = self._begin()
        idle = self._idle_rate()
        asked, began = self._asked(), time.monotonic()
        with fault.breaks(self._world):
            self._act(made, changed)
            if fault.lasts:
                time.sleep(fault.lasts)
            else:
                self._converge(made, changed)
        self._converge(made, changed)
        # In less time than this, one list of each kind, as after a watch that ended, would look like a loop.
        time.sleep(max(0.0, began + LASTS - time.monotonic()))
        rate = (self._asked() - asked - self._work) / (time.monotonic() - began)
        count = self._rest()
        self._end(made, changed)
        assert self._operator.alive(), f"the operator ended ({count} effects)"
        assert self._operator.pid == pid, "the operator was started anew"
        return f"{rate:.0f} requests a second, {idle:.0f} when idle" if rate > idle + MOST else ""

    def _begin(self) -> tuple[str, str]:
        number = next(self._numbers)
        made, changed = f"fault-{number:03d}-made", f"fault-{number:03d}-changed"
        self._world.apply(changed)
        self._world.wait(lambda: self._world.is_ready(changed), f"{changed} is Ready")
        self._rest()
        return made, changed

    def _act(self, made: str, changed: str) -> None:
        self._world.change(changed, database={"connectionLimit": 7})
        self._world.apply(made)

    def _is_done(self, made: str, changed: str) -> bool:
        return self._world.is_ready(made) and self._world.is_ready(changed)

    def _converge(self, made: str, changed: str) -> None:
        self._world.wait(lambda: self._is_as_wanted(made, changed), "all is as in an undisturbed run", limit=LIMIT)

    def _is_as_wanted(self, made: str, changed: str) -> bool:
        assert self._operator.alive(), "the operator ended"
        try:
            return self._is_done(made, changed) and not difference(self._wanted, self._dump(made, changed))
        except (psycopg.Error, httpx.HTTPError):
            return False

    def _rest(self) -> int:
        """Wait for three sweeps without an effect; return how many effects there were."""
        end = time.monotonic() + LIMIT
        while True:
            count = self._world.effects.count()
            self._sweep()
            if self._world.effects.count() == count:
                return count
            assert time.monotonic() < end, f"the operator goes on writing: {self._world.effects.labels()[-5:]}"

    def _sweep(self) -> None:
        before = self._sweeps()
        self._world.wait(lambda: self._sweeps() >= before + 3, "the operator sweeps", limit=LIMIT)

    def _sweeps(self) -> float:
        with suppress(OSError):
            return self._operator.metric("tenantry_sweep_total", kind="Tenant", outcome="ok")
        return 0.0

    def _idle_rate(self) -> float:
        asked, began = self._asked(), time.monotonic()
        self._sweep()
        return (self._asked() - asked) / (time.monotonic() - began)

    def _asked(self) -> int:
        proxy = self._world.database
        return self._world.api.requests.total() + proxy.batches + proxy.attempts

    def _end(self, made: str, changed: str) -> str:
        text = self._dump(made, changed)
        self._world.remove(made)
        self._world.remove(changed)
        return text

    def _dump(self, made: str, changed: str) -> str:
        bodies = {name: self._world.tenant(name) for name in (made, changed)}
        return dump(self._world, {name: body["metadata"]["uid"] if body else "" for name, body in bodies.items()})
