"""Whatever is deleted when: never more than allowed within a minute, and never what is protected."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tenantry_operator.model.breaker import BreakerLimits, BreakerState
from tenantry_operator.model.tenant import Deletion, Leaving
from tenantry_operator.plan.actions import DropData
from tenantry_operator.plan.breaker import admit, drops_data, reset
from tenantry_operator.plan.tenant import plan_tenant
from tenantry_testing.tenant_damages import make_desired
from tenantry_testing.tenant_model import TenantModel, in_steps

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class Fleet:
    """Tenants that are dropped under the breaker's eyes; the state goes through its text, as a restart makes it."""

    tenants: int
    limits: BreakerLimits = field(default_factory=BreakerLimits)
    text: str = field(default_factory=lambda: BreakerState().text())
    now: datetime = START
    dropped: list[tuple[datetime, int, int]] = field(default_factory=list)
    """When, who, and how many tenants there were."""

    @property
    def state(self) -> BreakerState:
        return BreakerState.parse(self.text)

    def drop(self, who: int, *, dies: bool = False) -> bool:
        """One pass: it asks, and drops unless it dies in between."""
        name = f"tenant-{who}"
        made = admit(self.state, self.limits, uid=name, name=name, tenants=self.tenants, now=self.now)
        self.text = made.state.text()
        if made.allowed and not dies and who not in {one for _, one, _ in self.dropped}:
            self.dropped.append((self.now, who, self.tenants))
            self.tenants -= 1
        return made.allowed

    def reset(self, *, approved: Sequence[int] = ()) -> None:
        self.text = reset(self.state, approved=[f"tenant-{who}" for who in approved]).text()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("drop"), st.integers(0, 60)),
        st.tuples(st.just("die"), st.integers(0, 60)),
        st.tuples(st.just("wait"), st.integers(0, 70)),
        st.tuples(st.just("reset"), st.just(0)),
    ),
    max_size=60,
)


@given(st.integers(0, 3000), steps)
def test_no_minute_sees_more_drops_than_are_allowed(tenants: int, story: list[tuple[str, int]]) -> None:
    fleet = Fleet(tenants)
    for what, number in story:
        if what == "wait":
            fleet.now += timedelta(seconds=number)
        elif what == "reset":
            fleet.reset()
        else:
            fleet.drop(number, dies=what == "die")
    for at, _, _ in fleet.dropped:
        within = [one for one in fleet.dropped if at <= one[0] < at + MINUTE]
        most = max(count for _, _, count in within)
        assert len(within) <= max(5, most / 100)


@given(steps)
def test_an_open_breaker_lets_nothing_go_until_it_is_reset(story: list[tuple[str, int]]) -> None:
    fleet = Fleet(100)
    for who in range(6):
        fleet.drop(who)
    assert len(fleet.dropped) == 5
    for what, number in story:
        if what == "wait":
            fleet.now += timedelta(seconds=number)
        elif what != "reset":
            assert not fleet.drop(number, dies=what == "die")
    assert len(fleet.dropped) == 5


def test_one_percent_of_many_may_go() -> None:
    fleet = Fleet(2000)
    allowed = [fleet.drop(who) for who in range(40)]
    assert allowed.count(True) == 19  # the 20th would be more than 1 % of the 1,981 that are left
    assert not any(allowed[19:])


def test_a_drop_that_is_begun_again_and_again_counts_once() -> None:
    fleet = Fleet(100)
    for _ in range(50):
        assert fleet.drop(1, dies=True)
        fleet.now += timedelta(seconds=1)
    assert [fleet.drop(who) for who in (1, 2, 3, 4, 5)] == [True] * 5
    assert not fleet.drop(6)


def test_a_drop_counts_from_its_last_beginning() -> None:
    fleet = Fleet(100)
    for who in range(5):
        fleet.drop(who, dies=True)
    fleet.now += timedelta(seconds=59)
    for who in range(5):
        assert fleet.drop(who)
    fleet.now += timedelta(seconds=2)
    assert not fleet.drop(6)


def test_after_a_reset_those_that_were_approved_go_and_others_count() -> None:
    fleet = Fleet(100)
    for who in range(6):
        fleet.drop(who)
    fleet.now += MINUTE
    fleet.reset(approved=range(10, 50))
    assert all(fleet.drop(who) for who in range(10, 50))
    assert [fleet.drop(who) for who in range(60, 66)] == [True] * 5 + [False]
    assert not fleet.drop(49), "an open breaker stops the approved, too"


def test_a_reset_forgets_nothing_of_the_minute() -> None:
    fleet = Fleet(100)
    allowed = [fleet.drop(who) for who in range(6)]
    fleet.reset()
    assert allowed == [True] * 5 + [False]
    assert not fleet.drop(5)
    fleet.now += MINUTE
    fleet.reset()
    assert fleet.drop(5)


def test_a_clock_that_went_back_forgets_nothing() -> None:
    fleet = Fleet(100)
    for who in range(5):
        fleet.drop(who)
    fleet.now -= timedelta(hours=1)
    assert not fleet.drop(6)


def test_limits_of_no_drops_switch_it_off() -> None:
    fleet = Fleet(100, BreakerLimits(drops=0))
    assert all(fleet.drop(who) for who in range(90))
    assert fleet.state == BreakerState()


moves = st.lists(
    st.one_of(
        st.tuples(st.just("protect"), st.booleans()),
        st.tuples(st.just("definition"), st.booleans()),
        st.tuples(st.just("delete"), st.sampled_from(Leaving)),
        st.tuples(st.just("pass"), st.integers(0, 12)),
    ),
    max_size=20,
)


@given(moves)
def test_a_protected_tenant_is_never_dropped(story: list[tuple[str, object]]) -> None:
    """Protection and the CRD change at any time between passes, which die anywhere."""
    model = TenantModel(make_desired())
    model.play_all(plan_tenant(model.desired, model.observe()).actions)
    protected, leaves, leaving = True, False, None
    for what, value in story:
        protected = bool(value) if what == "protect" else protected
        leaves = bool(value) if what == "definition" else leaves
        leaving = value if what == "delete" else leaving
        if what != "pass":
            continue
        deletion = Deletion(Leaving(str(leaving)), protected=protected, definition_leaves=leaves) if leaving else None
        model.desired = replace(model.desired, deletion=deletion)
        before = (model.catalogue, dict(model.secrets), model.row)
        actions = plan_tenant(model.desired, model.observe()).actions
        if deletion is not None and (protected or leaves):
            assert actions == ()
        for step in in_steps(actions)[: int(str(value))]:
            model.play_all(step)
        if deletion is not None and (protected or leaves):
            assert (model.catalogue, dict(model.secrets), model.row) == before


def test_the_breaker_is_asked_about_each_drop_and_no_release() -> None:
    for leaving in Leaving:
        model = TenantModel(make_desired())
        model.play_all(plan_tenant(model.desired, model.observe()).actions)
        model.desired = replace(model.desired, deletion=Deletion(leaving, protected=False))
        actions = plan_tenant(model.desired, model.observe()).actions
        assert drops_data(actions) == any(isinstance(one, DropData) for one in actions) == (leaving is Leaving.DELETE)
