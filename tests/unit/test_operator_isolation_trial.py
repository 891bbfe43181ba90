"""To which databases a tenant's login knocks, and what comes of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tenantry_operator.clients.postgres import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseError,
    DatabaseMissing,
    ServerAddress,
    ServerUnreachable,
)
from tenantry_operator.clients.sqlstate import Failure, FailureKind
from tenantry_operator.model.exposure import Trial
from tenantry_operator.model.isolation import Isolation, layout_of
from tenantry_operator.model.names import TenantNames
from tenantry_operator.observe import trial
from tenantry_operator.observe.trial import try_log_in

HERE = ServerAddress("primary", "db", 5432, "app", "operator_login", "x")
REFUSED = ConnectionRefused(Failure(FailureKind.PERMANENT, "ConnectionRefused", "no"))
NO_ENTRY = AuthenticationFailed(Failure(FailureKind.AUTH, "AuthenticationFailed", "no"))
GONE = DatabaseMissing(Failure(FailureKind.MISSING, "DatabaseMissing", "gone"))
AWAY = ServerUnreachable(Failure(FailureKind.UNREACHABLE, "NotReachable", "away"))


class Doors:
    """Servers of which each database answers with an error, or lets in."""

    def __init__(self, answers: Mapping[str, DatabaseError]) -> None:
        self.answers = answers
        self.knocked: list[str] = []
        self.inside = 0

    @asynccontextmanager
    async def visit(self, _address: ServerAddress, who: ServerAddress) -> AsyncIterator[None]:
        self.knocked.append(who.database)
        if who.database in self.answers:
            raise self.answers[who.database]
        assert not self.inside, "the tenant's limit may be one connection"
        self.inside += 1
        yield
        self.inside -= 1


async def tried(
    monkeypatch: pytest.MonkeyPatch, isolation: Isolation, answers: Mapping[str, DatabaseError], *found: str
) -> tuple[Trial, list[str]]:
    async def sees(*_: object, **__: object) -> tuple[tuple[str, ...], str]:
        return found, "t_beta"

    monkeypatch.setattr(trial, "_tried", sees)
    doors: Any = Doors(answers)
    layout = layout_of(TenantNames("acme"), isolation, server="primary", database="app")
    said = await try_log_in(doors, HERE, layout, login="t_acme_login_a", password="x", registry="registry")
    return said, doors.knocked


@pytest.mark.parametrize("refusal", [REFUSED, NO_ENTRY, GONE])
async def test_who_is_let_in_nowhere_else_is_kept_apart(
    monkeypatch: pytest.MonkeyPatch, refusal: DatabaseError
) -> None:
    answers = {"app": refusal, "t_beta": refusal}
    assert await tried(monkeypatch, Isolation.DATABASE, answers) == (Trial(), ["t_acme", "app", "t_beta"])


@pytest.mark.parametrize(("shut", "open_"), [("app", "t_beta"), ("t_beta", "app")])
async def test_who_is_let_in_elsewhere_is_not(monkeypatch: pytest.MonkeyPatch, shut: str, open_: str) -> None:
    said, _ = await tried(monkeypatch, Isolation.DATABASE, {shut: REFUSED})
    assert said == Trial(reached=(f"CONNECT to database {open_}",))


async def test_a_server_that_goes_away_in_between_proves_nothing_and_takes_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, _ = await tried(monkeypatch, Isolation.DATABASE, {"app": AWAY})
    assert said == Trial(problem="away")
    said, _ = await tried(monkeypatch, Isolation.DATABASE, {"app": AWAY}, "t_acme_login_a: SET ROLE t_beta_app")
    assert said.reached == ("t_acme_login_a: SET ROLE t_beta_app",)


@pytest.mark.parametrize("isolation", [Isolation.SCHEMA, Isolation.POOLED])
async def test_who_shares_a_database_knocks_at_no_other(monkeypatch: pytest.MonkeyPatch, isolation: Isolation) -> None:
    assert await tried(monkeypatch, isolation, {}) == (Trial(), ["app"])


async def test_a_refused_log_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = await tried(monkeypatch, Isolation.DATABASE, {"t_acme": NO_ENTRY})
    assert said == Trial(problem="no", refused=True)


@pytest.mark.parametrize("isolation", [Isolation.SCHEMA, Isolation.DATABASE, Isolation.POOLED])
async def test_it_knocks_at_the_server_as_the_login_and_in_the_tenants_database(isolation: Isolation) -> None:
    seen: list[ServerAddress] = []

    class Door:
        @asynccontextmanager
        async def visit(self, _: ServerAddress, who: ServerAddress) -> AsyncIterator[None]:
            seen.append(who)
            raise REFUSED
            yield

    doors: Any = Door()
    layout = layout_of(TenantNames("acme"), isolation, server="primary", database="app")
    await try_log_in(doors, HERE, layout, login="t_acme_login_a", password="x", registry="registry")
    assert seen == [replace(HERE, user="t_acme_login_a", password="x", database=layout.database)]
