"""What is asked about a tenant, by how it is kept apart; what the server answers is made up here."""

from collections.abc import Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tenantry_crds import Lifecycle
from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.clients.sqlstate import Failure, FailureKind
from tenantry_operator.metrics import Metrics
from tenantry_operator.model.credentials import RotationNotes
from tenantry_operator.model.exposure import Exposure, Trial, Way
from tenantry_operator.model.isolation import Isolation, layout_of
from tenantry_operator.model.names import TENANTS, TenantNames
from tenantry_operator.model.pool import POOL_CUSTOMERS
from tenantry_operator.model.tenant import PUBLIC, ObservedSecret
from tenantry_operator.plan.actions import ResetPassword, WriteSecret
from tenantry_operator.plan.tenant_isolation import PATIENCE, RETRY, IsolationVerdict
from tenantry_operator.reconcile import tenant_isolation
from tenantry_operator.reconcile.tenant_isolation import NOT_OURS, IsolationWatch
from tenantry_operator.settings import OperatorSettings
from tenantry_testing.fake_clock import FakeClock

HERE = ServerAddress("primary", "db", 5432, "app", "operator_login", "x")
ACME, BETA = TenantNames("acme"), TenantNames("beta")
SECRET = ObservedSecret(
    "acme-database",
    "tenantry-system",
    "uid",
    "1",
    ours=True,
    data={"username": "t_acme_login_a", "password": "x", "database": "postgres", "host": "evil"},
)
LAYOUT = layout_of(ACME, Isolation.SCHEMA, server="primary", database="app")
OF_ALL = {
    TENANTS: frozenset({Exposure(Way.SCHEMA, "shared", "postgres")}),
    POOL_CUSTOMERS: frozenset(
        {
            Exposure(Way.SCHEMA, "shared", "postgres", POOL_CUSTOMERS),
            Exposure(Way.ROLE, "pg_read_all_stats", "", POOL_CUSTOMERS),
        }
    ),
    PUBLIC: frozenset({Exposure(Way.DEFINER, "s.mine()", "postgres", PUBLIC)}),
}
OF_POOL = frozenset({Exposure(Way.ROLE, "pg_read_all_stats", "", POOL_CUSTOMERS)})
OWN = frozenset({Exposure(Way.OBJECT_OUTSIDE, "view shared.ours", "t_acme_owner")})


class Asked:
    """The questions, and answers of which nobody asks twice by mistake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of_all: list[tuple[str, list[str]]] = []
        self.pooled: list[str] = []
        monkeypatch.setattr(tenant_isolation, "read_shared_ways", self.shared)
        monkeypatch.setattr(tenant_isolation, "read_ways", self.own)
        monkeypatch.setattr(tenant_isolation, "observe_pool", self.pool)
        settings = OperatorSettings(registry_server="primary", registry_database="registry", sweep_interval=10)
        self.clock = FakeClock()
        self.watch = IsolationWatch(Servers("test"), settings=settings, clock=self.clock, metrics=Metrics())

    async def shared(self, _: object, *, who: str = TENANTS, closed: Iterable[str] = ()) -> frozenset[Exposure]:
        self.of_all.append((who, list(closed)))
        return OF_ALL[who]

    async def own(self, _: object, tenants: Iterable[TenantNames], *, pooled: Any = ()) -> dict[str, Any]:
        self.pooled = sorted(pooled)
        return {"acme": OWN} if ACME in list(tenants) else {}

    async def pool(self, _: object) -> None:
        return None

    async def by_pass(self, isolation: Isolation, *, database: str) -> frozenset[Exposure]:
        layout = layout_of(ACME, isolation, server="primary", database="app")
        return await self.watch.seen_by_pass(connection(database), HERE, layout)


def connection(database: str) -> Any:
    @asynccontextmanager
    async def transaction() -> Any:
        yield

    async def execute(*_: object) -> None:
        return None

    return SimpleNamespace(info=SimpleNamespace(dbname=database), transaction=transaction, execute=execute)


async def test_with_schemas_of_its_own_it_is_asked_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    assert await asked.by_pass(Isolation.SCHEMA, database="app") == OF_ALL[TENANTS] | OWN
    assert asked.of_all == [(TENANTS, ["registry"])]
    await asked.by_pass(Isolation.SCHEMA, database="app")
    assert len(asked.of_all) == 1, "for all of them it is known for a while"
    asked.clock.advance(11)
    await asked.by_pass(Isolation.SCHEMA, database="app")
    assert len(asked.of_all) == 2


async def test_in_the_pool_it_is_asked_of_its_customers_too_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    await asked.by_pass(Isolation.SCHEMA, database="app")
    assert await asked.by_pass(Isolation.POOLED, database="app") == OF_ALL[TENANTS] | OF_POOL | OWN
    assert asked.pooled == ["acme"]
    assert [who for who, _ in asked.of_all] == [TENANTS, TENANTS, POOL_CUSTOMERS]
    assert await asked.by_pass(Isolation.SCHEMA, database="app") == OF_ALL[TENANTS] | OWN


async def test_in_a_database_of_its_own_it_is_asked_of_public_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    assert await asked.by_pass(Isolation.DATABASE, database="t_acme") == OF_ALL[PUBLIC] | OWN
    assert asked.of_all == [(PUBLIC, ["registry", "app"])]


async def test_from_another_database_nothing_is_seen_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    assert await asked.by_pass(Isolation.DATABASE, database="app") == frozenset()
    # The sweep falls back to the server's database as a pass does, and has to come to the same.
    assert await asked.watch.seen_apart(connection("app"), HERE, ACME) == frozenset()
    assert asked.of_all == []
    assert await asked.watch.seen_apart(connection("t_acme"), HERE, ACME) == OF_ALL[PUBLIC] | OWN


async def test_a_sweep_tells_the_pool_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    seen = await asked.watch.seen_by_sweep(connection("app"), HERE, [ACME, BETA], pooled=frozenset({"beta"}))
    assert seen == {"acme": OF_ALL[TENANTS] | OWN, "beta": OF_ALL[TENANTS] | OF_POOL}
    seen = await asked.watch.seen_by_sweep(connection("app"), HERE, [BETA], pooled=frozenset())
    assert seen == {"beta": OF_ALL[TENANTS]}


class Judged:
    """Passes over one Tenant, whose log-ins come to what is said here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = Asked(monkeypatch)
        self.trial = Trial()
        self.tried = 0
        self.away = False
        self.expires = False
        self.said = "True"
        self.lifecycle = Lifecycle.ACTIVE
        self.looks = 0
        self.before: frozenset[Exposure] = frozenset()
        self.after: frozenset[Exposure] = frozenset()
        self.verdict: IsolationVerdict | None = None
        self.secret = SECRET
        self.active = "t_acme_login_a"
        self.undone: tuple[object, ...] = ()
        self.who: list[tuple[object, object]] = []
        monkeypatch.setattr(tenant_isolation, "try_log_in", self.log_in)
        monkeypatch.setattr(self.asked.watch, "seen_by_pass", self.look)
        monkeypatch.setattr(Servers, "connection", self.connection)

    @asynccontextmanager
    async def connection(self, *_: object, **__: object) -> Any:
        if self.away:
            raise DatabaseError(Failure(FailureKind.UNREACHABLE, "Unreachable", "it is away"))
        yield None

    async def look(self, *_: object) -> frozenset[Exposure]:
        self.looks += 1
        return self.after

    async def log_in(self, *_: object, **given: object) -> Trial:
        self.tried += 1
        self.who.append((given["login"], given["password"]))
        return self.trial

    def refused(self, *, version: str = "1") -> str | None:
        return self.asked.watch.refused_login("acme", replace(SECRET, resource_version=version))

    async def judge(self, *done: object, after: float = 0) -> str:
        """Return why it is not known to be isolated, or ""; the Tenant says so before the next pass."""
        self.asked.clock.advance(after)
        condition = SimpleNamespace(type="IsolationVerified", status=self.said)
        tenant: Any = SimpleNamespace(status=SimpleNamespace(conditions=[condition]))
        looked: Any = SimpleNamespace(
            desired=SimpleNamespace(names=ACME, lifecycle=self.lifecycle, layout=LAYOUT),
            observed=SimpleNamespace(
                ways=self.before,
                catalogue=SimpleNamespace(
                    database=None, is_shut=False, roles={"t_acme_login_a": SimpleNamespace(expires=self.expires)}
                ),
                secret=self.secret,
            ),
            address=HERE,
            facts="facts",
        )
        rotation = SimpleNamespace(active=self.active)
        plan: Any = SimpleNamespace(actions=(*done, *self.undone), held=(), rotation=rotation)
        actions: Any = done
        self.verdict = verdict = await self.asked.watch.judge(tenant, looked, plan=plan, done=actions, problem=None)
        self.said = "Unknown" if verdict is None or verdict.unknown else "True"
        return verdict.unknown if verdict is not None else NOT_LOOKED


NOT_LOOKED = "not looked"
FULL = "too many connections for role t_acme_login_a"


async def test_who_lets_nobody_in_is_not_verified_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    assert await judged.judge("made") == ""
    assert judged.tried == 0
    judged.trial = Trial(problem=FULL)
    assert await judged.judge() == "", "it may pass"
    assert await judged.judge(after=RETRY.total_seconds()) == ""
    # What the tenant has repaired meanwhile does not start the time anew.
    assert await judged.judge("repaired") == ""
    assert await judged.judge(after=PATIENCE.total_seconds() - RETRY.total_seconds()) == FULL
    assert await judged.judge("repaired") == FULL
    assert await judged.judge(after=1) == FULL
    # A log-in that comes through ends it, and the next failure has its time again.
    judged.trial = Trial()
    assert await judged.judge(after=RETRY.total_seconds()) == ""
    judged.trial = Trial(problem=FULL)
    assert await judged.judge("changed") == ""
    assert await judged.judge(after=1) == ""
    assert judged.tried == 6


async def test_what_a_pass_has_made_is_looked_at_before_it_is_called_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    assert await judged.judge() == ""
    assert judged.looks == 0, "the pass itself has looked"
    judged.after = OWN
    await judged.judge("made")
    assert judged.looks == 1
    assert judged.verdict is not None
    assert judged.verdict.holes
    judged.before, judged.after = OWN, frozenset()
    assert await judged.judge("closed") == ""
    assert judged.verdict == IsolationVerdict()


async def test_what_cannot_be_looked_at_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    judged.away = True
    assert await judged.judge("made") == NOT_LOOKED
    judged.before = OWN
    await judged.judge("made")
    assert judged.verdict is not None
    assert judged.verdict.holes, "what was seen before still counts"


async def test_a_new_process_does_not_take_back_that_nobody_was_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    judged.said, judged.trial = "Unknown", Trial(problem=FULL)
    assert await judged.judge() == FULL


async def test_a_refusal_is_said_at_once_and_not_of_a_suspended_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    await judged.judge("made")
    judged.trial = Trial(problem="no", refused=True)
    assert await judged.judge() == "no"
    judged.lifecycle = Lifecycle.SUSPENDED
    assert await judged.judge() == ""
    assert judged.tried == 1


async def test_a_password_is_reset_once_and_again_when_a_log_in_came_through(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    reset: Any = ResetPassword(role="t_acme_login_a", reason="it is another one")
    await judged.judge("made")
    judged.trial = Trial(problem="no", refused=True, wrong_password=True)
    await judged.judge()
    assert judged.refused() == "t_acme_login_a"
    assert judged.refused(version="2") is None, "of another Secret nothing is known"
    await judged.judge(reset)
    assert judged.refused() is None
    await judged.judge(after=RETRY.total_seconds())
    assert judged.refused() is None, "it was given the password, and refuses it all the same"
    judged.trial = Trial(problem="no", refused=True)
    await judged.judge(after=RETRY.total_seconds())
    judged.trial = Trial()
    await judged.judge(after=RETRY.total_seconds())
    judged.trial = Trial(problem="no", refused=True, wrong_password=True)
    await judged.judge("changed")
    await judged.judge(after=RETRY.total_seconds())
    assert judged.refused() == "t_acme_login_a"
    await judged.judge(reset)
    await judged.judge(after=RETRY.total_seconds())
    assert judged.refused() is None
    judged.asked.clock.advance(3600)
    assert judged.refused() == "t_acme_login_a", "somebody may have changed it once more"


async def test_an_expired_password_is_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    await judged.judge("made")
    judged.expires, judged.trial = True, Trial(problem="no", refused=True, wrong_password=True)
    await judged.judge()
    assert judged.refused() is None


async def test_nobody_else_is_logged_in_as_than_the_active_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant may write a Secret in its own namespace: the operator's way to the server is not lent to it."""
    judged = Judged(monkeypatch)
    await judged.judge("made")
    for named in ("postgres", "t_beta_login_a", "t_acme_login_b", "t_acme_owner", ""):
        judged.secret = replace(SECRET, data={**SECRET.data, "username": named})
        await judged.judge(after=RETRY.total_seconds())
    judged.secret, judged.active = replace(SECRET, data={**SECRET.data, "username": "postgres"}), "postgres"
    await judged.judge(after=RETRY.total_seconds())
    assert judged.tried == 0
    judged.secret, judged.active = SECRET, "t_acme_login_a"
    await judged.judge(after=RETRY.total_seconds())
    assert judged.who == [("t_acme_login_a", "x")]


async def test_a_secret_that_was_to_be_written_and_was_not_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(monkeypatch)
    await judged.judge("made")
    notes = RotationNotes()
    judged.undone = (WriteSecret(name="s", namespace="n", login="t_acme_login_a", notes=notes, reason="it is wrong"),)
    await judged.judge()
    assert judged.tried == 0
    assert await judged.judge(after=PATIENCE.total_seconds()) == NOT_OURS, "what is not tried is not verified"
    judged.undone = ()
    assert await judged.judge(after=RETRY.total_seconds()) == ""
    assert judged.tried == 1
