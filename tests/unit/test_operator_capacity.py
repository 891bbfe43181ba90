"""How many tenants a server takes, and how many logins that needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds.reasons import Reason
from tenantry_operator.model.placement import Candidate, Taken, seat_on
from tenantry_operator.plan import capacity
from tenantry_operator.plan.capacity import (
    MOST_LOGINS,
    Limits,
    capacity_of,
    capacity_said,
    logins_needed,
    most_tenants,
    tenants_per_login,
)

VERSIONS = (150014, 160009, 170005, 180001)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_spec_decides_and_else_what_the_version_bears(version: int) -> None:
    assert most_tenants(Limits(version)) == (100_000 if version < 160000 else 1_000)
    for asked in (0, 10, 50_000):
        assert most_tenants(Limits(version, asked=asked)) == asked


def test_a_spec_that_asks_for_more_than_the_version_bears_is_told() -> None:
    said = capacity_said(Limits(180001, asked=5_000), Taken(), logins=1)
    assert said.status == "True"
    assert "past 1000 each change takes long" in said.message
    for limits in (Limits(180001, asked=1_000), Limits(150014, asked=5_000), Limits(180001)):
        assert "takes long" not in capacity_said(limits, Taken(), logins=1).message


def test_below_17_a_login_reaches_a_thousand_tenants() -> None:
    assert {version: tenants_per_login(version) for version in VERSIONS} == {
        150014: 1_000,
        160009: 1_000,
        170005: 10_000,
        180001: 10_000,
    }


@pytest.mark.parametrize(
    ("held", "needed"),
    [
        ({}, 1),
        ({1: 500}, 1),
        ({1: 501}, 2),
        ({1: 1000}, 2),
        ({1: 1000, 2: 500}, 2),
        ({1: 1000, 2: 501}, 3),
        ({1: 0, 2: 1000}, 2),
        ({4: 1}, 4),
        ({9999: 1}, MOST_LOGINS),
    ],
)
def test_the_next_login_is_made_when_the_last_is_half_full(held: dict[int, int], needed: int) -> None:
    assert logins_needed(Taken(sum(held.values()), held), 150014) == needed


@given(st.integers(0, 100_000), st.sampled_from(VERSIONS))
def test_there_are_always_logins_enough(tenants: int, version: int) -> None:
    per_login = tenants_per_login(version)
    tenants = min(tenants, most_tenants(Limits(version)))
    full, rest = divmod(tenants, per_login)
    held = dict.fromkeys(range(1, full + 1), per_login) | ({full + 1: rest} if rest else {})
    needed = logins_needed(Taken(tenants, held), version)
    assert needed * per_login >= tenants
    assert needed >= max(held, default=1)
    if tenants < most_tenants(Limits(version)):
        assert needed * per_login > tenants


@given(st.integers(1, 5), st.lists(st.integers(0, 6), max_size=MOST_LOGINS - 1))
def test_a_tenant_always_finds_a_login_and_one_that_is_half_empty(per_login: int, tenants: list[int]) -> None:
    held = dict(enumerate(tenants, start=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capacity, "tenants_per_login", lambda _version: per_login)
        needed = logins_needed(Taken(sum(held.values()), held), 150014)
    numbers = range(1, needed + 1)
    room = sum(max(0, per_login - held.get(number, 0)) for number in numbers)
    assert 2 * room >= per_login
    assert seat_on(Candidate("primary", logins=needed, most_per_login=per_login), Taken(by_login=held)) is not None
    assert needed <= max(held, default=1) + 1, "and no more than that"
    assert needed >= max(held, default=1), "and none is taken away that tenants are reached by"


def test_room_is_said_with_what_bounds_it() -> None:
    said = capacity_said(Limits(150014), Taken(3), logins=1)
    assert (said.status, said.reason) == ("True", Reason.ROOM_LEFT)
    for word in ("1000 tenants", "Postgres 15", "max_connections 100", "leaves 89"):
        assert word in said.message
    full = capacity_said(Limits(150014, asked=3), Taken(3), logins=1)
    assert (full.status, full.reason) == ("False", Reason.NO_CAPACITY)
    assert "spec.limits.tenants" in full.message


def test_a_server_without_connections_has_no_room() -> None:
    said = capacity_said(Limits(150014, max_connections=10), Taken(), logins=1)
    assert (said.status, said.reason) == ("False", Reason.TOO_MANY_CONNECTIONS)


def test_what_the_registry_does_not_say_is_unknown() -> None:
    assert capacity_said(Limits(150014), None, logins=1).status == "Unknown"


def test_the_status_shows_the_bounds() -> None:
    shown = capacity_of(Limits(160009, asked=7), logins=2)
    assert (shown.tenants, shown.tenants_per_login, shown.service_logins) == (7, 1_000, 2)
