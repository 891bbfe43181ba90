"""A run comes to an end whatever fails, whoever is held, and however often its process dies."""

from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from tenantry_operator.model.migration import DesiredRun, Line, Member, ObservedFleet, Wave
from tenantry_operator.plan.migration import (
    BUCKETS,
    FinishRun,
    MoveTenants,
    RefuseRun,
    ReleaseRevision,
    StopRun,
    assign,
    bucket,
    plan_run,
    progress_of,
)

LINE = Line({"t1": "expand", "t2": "expand", "t3": "contract"})
LABELS = st.frozensets(st.sampled_from([("tier", "canary"), ("tier", "gold"), ("region", "eu")]), max_size=2)
WAVE = st.one_of(
    st.builds(Wave, labels=LABELS, max_parallel=st.integers(1, 5)),
    st.builds(Wave, percent=st.integers(1, 25), max_parallel=st.integers(1, 5)),
)
WAVES = st.lists(WAVE, max_size=4).map(lambda waves: (*waves, Wave()))
MEMBER = st.builds(
    Member,
    name=st.integers(0, 10**6).map(lambda number: f"m{number}"),
    id=st.uuids().map(str),
    uid=st.just("uid"),
    server=st.just("primary"),
    database=st.just("app"),
    version=st.sampled_from(["t1", "t1", "t1", "t2"]),
    labels=LABELS,
    wave=st.none() | st.integers(1, 16),
    hold=st.integers(0, 9).map(lambda number: number == 0),
)
MEMBERS = st.lists(MEMBER, max_size=25, unique_by=lambda one: one.name).map(tuple)
STEPS = 200


@dataclass
class World:
    """Schemas and the registry, which last, and what one process remembers, which does not."""

    members: tuple[Member, ...]
    broken: frozenset[str]
    released: str = "t1"
    memory: dict[str, str] = field(default_factory=dict)
    moves: list[tuple[int, str]] = field(default_factory=list)
    releases: Counter[str] = field(default_factory=Counter)

    def observe(self) -> ObservedFleet:
        return ObservedFleet(LINE, self.released, self.members, dict(self.memory))

    def move(self, one: Member, to: str, wave: int) -> None:
        if one.name in self.broken:
            self.memory[one.name] = "it broke"
            return
        assert one.version == "t1", "nobody is moved twice"
        self.moves.append((wave, one.name))
        self.members = tuple(replace(m, version=to) if m.name == one.name else m for m in self.members)


def play(world: World, desired: DesiredRun, deaths: list[int]) -> str:
    """Do what the plan says, one tenant at a time; die after so many of them, again and again."""
    alive = deaths.pop() if deaths else STEPS
    for _ in range(STEPS):
        plan = plan_run(desired, world.observe())
        match plan:
            case MoveTenants(members=members, progress=progress):
                assert not any(one.hold for one in members)
                world.move(members[0], desired.to, progress.wave)
            case ReleaseRevision(to=to):
                world.released = to
                world.releases[to] += 1
            case FinishRun():
                return "finished"
            case StopRun():
                return "stopped"
            case RefuseRun():
                return "refused"
        alive -= 1
        if alive <= 0:
            world.memory.clear()
            alive = deaths.pop() if deaths else STEPS
    raise AssertionError("it comes to no end")


@given(MEMBERS, WAVES, st.data(), st.integers(0, 5), st.lists(st.integers(1, 9), max_size=4))
def test_a_run_ends_and_what_it_says_is_so(
    members: tuple[Member, ...], waves: tuple[Wave, ...], data: st.DataObject, budget: int, deaths: list[int]
) -> None:
    names = [one.name for one in members]
    broken = frozenset(data.draw(st.lists(st.sampled_from(names), max_size=4)) if names else [])
    desired = DesiredRun("t2", "expand", waves, failure_budget=budget)
    world = World(members, broken)
    end = play(world, desired, list(deaths))
    left = {one.name for one in world.members if one.version == "t1"}
    held = {one.name for one in world.members if one.hold and one.version == "t1"}
    failing = {one.name for one in members if one.version == "t1" and not one.hold} & broken
    progress = progress_of(desired, world.observe())
    assert progress.total == len(members)
    if end == "finished":
        assert left == held | failing
        assert len(failing) <= budget
        assert world.released == "t2"
    else:
        assert end == "stopped"
        assert len(failing) > budget
        assert (world.released, world.releases) == ("t1", Counter())
    assert not held & {name for _, name in world.moves}
    assert [wave for wave, _ in world.moves] == sorted(wave for wave, _ in world.moves), "in the order of the waves"


@given(MEMBERS, WAVES)
def test_everybody_has_one_wave_and_it_does_not_depend_on_the_others(
    members: tuple[Member, ...], waves: tuple[Wave, ...]
) -> None:
    found = assign(waves, members)
    assert set(found) == {one.name for one in members}
    assert all(1 <= wave <= len(waves) for wave in found.values())
    assert all(assign(waves, (one,))[one.name] == found[one.name] for one in members)
    moved = tuple(replace(one, version="t2", hold=not one.hold) for one in members)
    assert assign(waves, moved) == found, "progress moves nobody to another wave"


@given(st.lists(st.uuids().map(str), min_size=400, max_size=400, unique=True), st.integers(1, 99))
def test_percents_take_about_so_many(identities: list[str], percent: int) -> None:
    members = [Member(one, one, "", "", "", "t1") for one in identities]
    taken = sum(wave == 1 for wave in assign((Wave(percent=percent), Wave()), members).values())
    expected = len(identities) * percent / 100
    # Five standard deviations of a fair choice.
    assert abs(taken - expected) <= 5 * (len(identities) * percent * (100 - percent)) ** 0.5 / 100 + 1
    assert all(0 <= bucket(one) < BUCKETS for one in identities)


@given(MEMBERS, st.sampled_from(["t1", "t2"]))
def test_a_contract_takes_nothing_away_that_somebody_needs(members: tuple[Member, ...], released: str) -> None:
    desired = DesiredRun("t3", "contract", (Wave(),))
    plan = plan_run(desired, ObservedFleet(LINE, released, members))
    needed = released == "t1" or any(one.version == "t1" or one.hold for one in members)
    assert isinstance(plan, RefuseRun) == needed
