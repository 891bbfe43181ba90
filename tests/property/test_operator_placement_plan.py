"""Placement: the default with most room, ties by name, never beyond a limit, never where nobody can work."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds.reasons import Reason
from tenantry_operator.model.names import TenantNames, service_login
from tenantry_operator.model.placement import Candidate, Choice, Seat, Taken
from tenantry_operator.model.tenant import Membership
from tenantry_operator.plan.placement import free, kept_login, place

NAMES = ("alpha", "beta", "gamma", "delta")

candidates = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from(NAMES),
        default=st.booleans(),
        ready=st.booleans(),
        leaving=st.booleans(),
        most_tenants=st.integers(0, 6),
        logins=st.integers(1, 3),
        most_per_login=st.integers(1, 3),
    ),
    unique_by=lambda one: one.name,
)
by_login = st.dictionaries(st.integers(1, 4), st.integers(0, 4))
taken = st.dictionaries(st.sampled_from(NAMES), st.builds(Taken, tenants=st.integers(0, 8), by_login=by_login))


@given(candidates, taken)
def test_a_tenant_goes_to_the_default_with_most_room(servers: list[Candidate], there: dict[str, Taken]) -> None:
    placed = place(servers, there, asked=None)
    assert (placed.problem is None) is bool(placed.choices)
    known = {one.name: one for one in servers}
    defaults = [one for one in servers if one.default and not one.leaving]
    chosen = [known[choice.server] for choice in placed.choices]
    for one in chosen:
        assert one in defaults
        assert one.ready or defaults == [one]
        assert free(one, there) > 0
    assert chosen == sorted(chosen, key=lambda one: (-free(one, there), one.name))
    left_out = [one for one in defaults if one.ready and one not in chosen]
    assert all(free(one, there) <= 0 or not has_login(one, there) for one in left_out)


def has_login(server: Candidate, there: dict[str, Taken]) -> bool:
    held = there.get(server.name, Taken()).by_login
    return any(held.get(number, 0) < server.most_per_login for number in range(1, server.logins + 1))


@given(candidates, taken, st.sampled_from(NAMES))
def test_a_tenant_that_asks_for_a_server_gets_that_or_none(
    servers: list[Candidate], there: dict[str, Taken], asked: str
) -> None:
    placed = place(servers, there, asked=asked)
    assert {choice.server for choice in placed.choices} <= {asked}
    one = next((one for one in servers if one.name == asked), None)
    if one is None:
        assert placed.choices == (Choice(asked),)
    else:
        assert bool(placed.choices) is (free(one, there) > 0 and has_login(one, there))


@given(candidates, taken)
def test_the_login_is_the_first_with_room(servers: list[Candidate], there: dict[str, Taken]) -> None:
    known = {one.name: one for one in servers}
    for choice in place(servers, there, asked=None).choices:
        one, held = known[choice.server], there.get(choice.server, Taken()).by_login
        assert held.get(choice.seat.login, 0) < one.most_per_login
        assert all(held.get(number, 0) >= one.most_per_login for number in range(1, choice.seat.login))
        assert choice.seat == Seat(choice.seat.login, one.most_tenants, one.most_per_login)


@given(candidates, st.integers(1, 30))
def test_tenants_that_come_one_by_one_never_pass_a_limit(servers: list[Candidate], many: int) -> None:
    there: dict[str, Taken] = {}
    known = {one.name: one for one in servers}
    for _ in range(many):
        placed = place(servers, there, asked=None)
        if placed.problem is not None:
            break
        first = placed.choices[0]
        before = there.get(first.server, Taken())
        held = {**before.by_login, first.seat.login: before.by_login.get(first.seat.login, 0) + 1}
        there[first.server] = Taken(before.tenants + 1, held)
    for name, one in there.items():
        assert one.tenants <= known[name].most_tenants
        assert max(one.by_login.values()) <= known[name].most_per_login
        assert sum(one.by_login.values()) == one.tenants


@given(candidates, taken)
def test_what_stands_in_the_way_is_said(servers: list[Candidate], there: dict[str, Taken]) -> None:
    problem = place(servers, there, asked=None).problem
    if problem is None:
        return
    defaults = [one for one in servers if one.default and not one.leaving]
    if problem.reason is Reason.NO_DEFAULT_SERVER:
        assert not defaults
    elif problem.reason is Reason.NO_SERVER_READY:
        assert not any(one.ready for one in defaults)
        assert not problem.lasting
    elif problem.reason is Reason.NO_CAPACITY:
        assert all(free(one, there) <= 0 for one in defaults if one.ready)
        # What waits for a server that is out comes to its end without anybody.
        assert problem.lasting is all(free(one, there) <= 0 for one in defaults)
    else:
        assert problem.reason is Reason.PROVISIONING
        assert not problem.lasting


def test_a_server_that_is_out_is_left_out() -> None:
    here = Candidate("a", default=True, most_tenants=10, most_per_login=10)
    there = Candidate("b", default=True, most_tenants=5, most_per_login=10)
    assert [one.server for one in place([here, there], {}, asked=None).choices] == ["a", "b"]
    assert [one.server for one in place([replace(here, ready=False), there], {}, asked=None).choices] == ["b"]
    assert [one.server for one in place([replace(here, leaving=True), there], {}, asked=None).choices] == ["b"]
    assert [one.server for one in place([replace(here, default=False), there], {}, asked=None).choices] == ["b"]
    full = {"a": Taken(10), "b": Taken(5)}
    assert place([here, there], full, asked=None).problem is not None


def test_a_lost_rows_login_is_the_one_that_reaches_the_tenant() -> None:
    names = TenantNames("acme")
    held = [Membership(names.service_role("accounts"), service_login("accounts", 7)), Membership(names.app, "t_x")]
    assert kept_login(names, held, otherwise=2) == 7
    assert kept_login(names, [Membership(names.owner, service_login("accounts", 7))], otherwise=2) == 2
    assert kept_login(names, [], otherwise=2) == 2
