"""What is said of a tenant's isolation, and when a log-in is to try it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenantry_crds.reasons import Reason
from tenantry_operator.model.exposure import Exposure, Trial, Way
from tenantry_operator.model.isolation import Isolation, layout_of
from tenantry_operator.model.names import TENANTS, TenantNames
from tenantry_operator.model.pool import POOL_CUSTOMERS, POOL_ROLES
from tenantry_operator.model.server import ServerCatalogue
from tenantry_operator.model.tenant import PUBLIC, ForeignGrant, Grant, Membership, Role
from tenantry_operator.observe.trial import OF_NEIGHBOUR, attempts, closed_databases, closed_schemas
from tenantry_operator.plan import actions as do
from tenantry_operator.plan import database_actions as on_database
from tenantry_operator.plan.server_strays import stray_actions
from tenantry_operator.plan.tenant_isolation import (
    RETRY,
    IsolationVerdict,
    Tried,
    find_holes,
    is_trial_due,
    isolation_problem,
    isolation_said,
    next_trial,
    verified_at,
)

NAMES = TenantNames("acme")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
HOUR = timedelta(hours=1)
OPENING = (
    do.RevokeMembership(membership=Membership("t_beta_app", "t_acme_login_a"), reason="x"),
    do.RevokeForeign(grant=ForeignGrant("table", "t_beta.things", "t_beta_owner", "t_acme_app"), reason="x"),
    do.RevokeOnSchema(grant=Grant("t_acme", "PUBLIC", "USAGE"), reason="x"),
    do.RevokeOnTable(schema="s_acme", grant=Grant("users", "t_acme_app", "SELECT"), reason="x"),
    do.RevokeDefault(owner="t_acme_owner", grant=Grant("TABLES", "PUBLIC", "SELECT"), reason="x"),
    do.StripRole(role="t_acme_owner", attributes=("BYPASSRLS",), reason="x"),
    do.OwnTable(schema="s_acme", table="users", owner="tenantry_owner", lender="t_beta_owner", reason="x"),
    on_database.OwnDatabase(database="t_acme", owner="tenantry_owner", lender="t_beta_owner", reason="x"),
    on_database.RevokeOnDatabase(grant=Grant("t_acme", "PUBLIC", "CONNECT"), reason="x"),
    on_database.RevokeOnDatabase(grant=Grant("t_acme", "t_beta_app", "CONNECT"), reason="x"),
)


@pytest.mark.parametrize("way", Way)
def test_each_way_is_said_with_what_closes_it(way: Way) -> None:
    seen = Exposure(way, "view t_acme.theirs", "t_beta_owner")
    (hole,) = find_holes(NAMES, [seen], (), None)
    assert "theirs" in hole.what
    assert len(hole.remedy) > len("REVOKE")
    assert not re.search(r"[{}]", hole.what + hole.remedy)
    said = isolation_said(IsolationVerdict((hole,)))
    assert (said.status, said.reason) == ("False", Reason.ISOLATION_BROKEN)
    assert hole.what in said.message
    assert hole.remedy in said.message


@pytest.mark.parametrize("action", OPENING)
def test_what_opens_the_tenant_and_is_not_undone_is_a_hole(action: do.TenantAction) -> None:
    holes = find_holes(NAMES, (), [action, action], None)
    assert len(holes) == 1
    problem = isolation_problem(IsolationVerdict(holes))
    assert problem is not None
    assert (problem.reason, problem.lasting) == (Reason.ISOLATION_BROKEN, True)


def test_what_only_breaks_the_tenant_is_none() -> None:
    broken = do.GrantOnSchema(grant=Grant("t_acme", "t_acme_app", "USAGE"), reason="x")
    assert find_holes(NAMES, (), [broken], None) == ()
    assert isolation_problem(IsolationVerdict()) is None
    assert isolation_problem(None) is None


def test_a_trial_that_gets_through_is_a_hole() -> None:
    (hole,) = find_holes(NAMES, (), (), Trial(reached=("t_acme_login_a: SET ROLE t_beta_app",)))
    assert "SET ROLE t_beta_app" in hole.what


def test_many_holes_fit_a_message() -> None:
    seen = [Exposure(Way.SCHEMA, f"s{number}", "x") for number in range(200)]
    said = isolation_said(IsolationVerdict(find_holes(NAMES, seen, (), None)))
    assert "and 188 more" in said.message


def test_verified_claims_no_look_that_was_not_taken() -> None:
    """The pass that makes a tenant says it too, and has looked at the catalogue alone."""
    said = isolation_said(IsolationVerdict())
    assert (said.status, said.reason) == ("True", Reason.VERIFIED)
    assert said.message.startswith("the catalogue shows no way in or out; a log-in")
    assert "soon after" in said.message
    assert isolation_said(None).status == "Unknown"


def test_verified_at_changes_with_the_verdict_alone() -> None:
    held, broken = (
        isolation_said(IsolationVerdict()),
        isolation_said(IsolationVerdict(find_holes(NAMES, (), OPENING, None))),
    )
    unknown = isolation_said(IsolationVerdict(unknown="the server refuses the log-in"))
    first = verified_at(held, None, now=NOW)
    assert first == NOW.replace(microsecond=0)
    assert verified_at(held, first, now=NOW + HOUR) == first
    assert verified_at(unknown, first, now=NOW + HOUR) == first
    assert verified_at(isolation_said(None), first, now=NOW + HOUR) == first
    assert verified_at(broken, first, now=NOW + HOUR) is None


def tried(trial: Trial = Trial(), *, ago: timedelta = timedelta(0)) -> Tried:  # noqa: B008  a frozen value
    return Tried(NOW - ago, "same", trial)


@pytest.mark.parametrize(
    ("last", "inputs", "asked", "due"),
    [
        (None, "same", False, False),
        (None, "same", True, True),
        (tried(ago=2 * HOUR), "same", False, False),
        (tried(), "same", True, True),
        (tried(), "another", False, True),
        (tried(Trial(problem="away")), "another", True, False),
        (tried(Trial(problem="away"), ago=RETRY), "same", False, True),
    ],
)
def test_a_log_in_is_tried_when_something_changed_or_somebody_asks(
    last: Tried | None, inputs: str, *, asked: bool, due: bool
) -> None:
    assert is_trial_due(last, inputs=inputs, now=NOW, asked=asked) is due


def test_a_new_process_spreads_its_first_log_ins() -> None:
    turns = [next_trial(f"tenant-{number}", None, started=NOW, interval=HOUR) for number in range(1000)]
    assert min(turns) >= NOW
    assert max(turns) <= NOW + HOUR
    quarters = [sum(1 for turn in turns if (turn - NOW) // (HOUR / 4) == part) for part in range(4)]
    assert min(quarters) > 200
    assert next_trial("acme", NOW, started=NOW - HOUR, interval=HOUR) == NOW + HOUR


@pytest.mark.parametrize("isolation", Isolation)
def test_what_is_tried_names_no_neighbour_and_changes_nothing(isolation: Isolation) -> None:
    layout = layout_of(NAMES, isolation, server="primary", database="app")
    words = {one.split()[0] for one in (*attempts(layout), *OF_NEIGHBOUR[isolation])}
    assert words == {"SELECT", "SET"}
    assert not any("beta" in one for one in attempts(layout))


@pytest.mark.parametrize("isolation", Isolation)
def test_a_login_tries_nothing_that_it_may(isolation: Isolation) -> None:
    layout = layout_of(NAMES, isolation, server="primary", database="app")
    tried = attempts(layout)
    assert not {f"SET ROLE {role}" for role in layout.groups} & set(tried)
    assert not {f"SET ROLE {login}" for login in NAMES.logins} & set(tried)


def test_a_login_tries_what_its_isolation_keeps_from_it() -> None:
    of = {one: attempts(layout_of(NAMES, one, server="primary", database="app")) for one in Isolation}
    pool = {f"SET ROLE {role}" for role in POOL_ROLES.values()}
    assert pool <= set(of[Isolation.SCHEMA])
    assert pool <= set(of[Isolation.DATABASE])
    assert pool - set(of[Isolation.POOLED]) == {f"SET ROLE {POOL_CUSTOMERS}"}
    # A member of the tenants' group reaches the shared database.
    assert [one for one, tried in of.items() if f"SET ROLE {TENANTS}" in tried] == [Isolation.DATABASE]
    # A pooled tenant has a role that bears its marker, and none of the services' schema.
    assert [one for one, tried in of.items() if f"SET ROLE {NAMES.owner}" in tried] == [Isolation.POOLED]
    assert not any(NAMES.service_schema in one for one in of[Isolation.POOLED])
    assert "SELECT FROM tenantry.pooled" in of[Isolation.POOLED]
    assert all(f"SELECT FROM {NAMES.service_schema}.schema_version" in of[one] for one in list(Isolation)[:2])


def test_a_tenant_with_a_database_of_its_own_is_kept_out_of_the_shared_one() -> None:
    for isolation in Isolation:
        layout = layout_of(NAMES, isolation, server="primary", database="app")
        closed = closed_databases(layout, shared="app", registry="registry")
        assert closed == (["registry", "app"] if isolation is Isolation.DATABASE else ["registry"])
        assert (NAMES.service_schema in closed_schemas(layout)) is (isolation is not Isolation.POOLED)


@pytest.mark.parametrize(
    ("who", "words", "remedy"),
    [
        (TENANTS, "every tenant's login may create", "REVOKE CREATE ON SCHEMA shared FROM PUBLIC, tenantry_tenants"),
        (POOL_CUSTOMERS, "every pooled tenant's login may create", f"shared FROM PUBLIC, {POOL_CUSTOMERS}"),
        (PUBLIC, "every login that reaches the tenant's database may create", "shared FROM PUBLIC"),
    ],
)
def test_a_way_is_said_of_those_to_whom_it_is_open(who: str, words: str, remedy: str) -> None:
    (hole,) = find_holes(NAMES, [Exposure(Way.SCHEMA, "shared", "public", who)], (), None)
    assert words in hole.what
    assert hole.remedy.endswith(remedy)


def catalogue(**changes: Any) -> ServerCatalogue:
    held: dict[str, Any] = {"version": 150000, "version_text": "15.0", "me": "operator_login", "owns_database": True}
    may = {"may_create_roles": True, "may_create_databases": True, "may_end_sessions": True}
    return ServerCatalogue(**{**held, **may, "roles": {TENANTS: Role(TENANTS, 1)}, **changes})


def test_the_shared_roles_lose_what_they_should_not_hold() -> None:
    member = Membership("pg_read_all_data", TENANTS)
    grant = ForeignGrant("table", "shared.things", "somebody", TENANTS)
    found = stray_actions(catalogue(strays=frozenset({member}), group_grants=frozenset({grant})))
    assert [type(action) for action in found] == [do.RevokeMembership, do.RevokeForeign]
    assert stray_actions(catalogue()) == ()
