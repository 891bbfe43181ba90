"""The role that only reads comes and goes as the spec says, whatever is edited by hand and wherever a process dies."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_crds import Lifecycle
from tenantry_operator.model.isolation import Isolation
from tenantry_operator.model.names import TENANTS
from tenantry_operator.model.reads import Reads
from tenantry_operator.model.tenant import DesiredTenant, Membership
from tenantry_operator.plan.reader_actions import DropReader, GrantReads
from tenantry_operator.plan.tenant_reporting import describe
from tenantry_testing.tenant_damages import DAMAGES, NAMES, Damage, damaged, make_desired, make_desired_apart
from tenantry_testing.tenant_model import TenantModel, in_steps
from tenantry_testing.tenant_playing import copy_of, plan_now, settle

READER = NAMES.readonly
LENT = Membership(READER, "reporting")
STOLEN = Membership(READER, "t_other_login_a")

damages = st.lists(st.sampled_from(DAMAGES), max_size=4)
wishes = st.tuples(st.booleans(), st.sampled_from(Lifecycle))


@cache
def _first(isolation: Isolation, *, reader: bool) -> TenantModel:
    make = make_desired_apart if isolation is Isolation.DATABASE else make_desired
    model = TenantModel(replace(make(), reader=reader))
    settle(model, rounds=4, is_over=lambda plan: plan.is_empty and plan.again is None)
    return model


def made(isolation: Isolation = Isolation.SCHEMA, *, reader: bool = True) -> TenantModel:
    return copy_of(_first(isolation, reader=reader))


def with_tables(model: TenantModel) -> TenantModel:
    """Let the owner have a table that was made before anybody was to read it."""
    held = model.catalogue
    reads = replace(held.reads, lacks=True) if READER in held.roles else Reads()
    model.catalogue = replace(model.catalogue, reads=reads)
    return model


def want(model: TenantModel, *, reader: bool, lifecycle: Lifecycle = Lifecycle.ACTIVE) -> DesiredTenant:
    model.desired = replace(model.desired, reader=reader, lifecycle=lifecycle)
    return model.desired


def assert_as_wanted(model: TenantModel) -> None:
    held, desired = model.catalogue, model.desired
    assert (READER in held.roles) == desired.reader
    reads = {(grant.on, grant.privilege) for grant in held.schema_grants if grant.grantee == READER}
    is_open = desired.reader and desired.lifecycle is Lifecycle.ACTIVE
    assert reads == ({(NAMES.schema, "USAGE")} if is_open else set())
    to_come = {(grant.on, grant.privilege) for grant in held.default_grants if grant.grantee == READER}
    assert to_come == ({("TABLES", "SELECT"), ("SEQUENCES", "SELECT")} if desired.reader else set())
    assert not held.reads.more
    assert held.reads.some <= is_open
    assert not (is_open and held.reads.lacks)
    connects = {m.role for m in held.memberships if m.member == READER}
    assert connects == ({TENANTS} if desired.reader and desired.isolation is Isolation.SCHEMA else set())


@pytest.mark.parametrize("isolation", [Isolation.SCHEMA, Isolation.DATABASE])
def test_a_role_is_made_once_it_is_asked_for_and_reads_what_is_there(isolation: Isolation) -> None:
    model = made(isolation, reader=False)
    assert_as_wanted(model)
    want(model, reader=True)
    settle(model, rounds=4)
    with_tables(model)
    assert [type(action) for action in plan_now(model).actions] == [GrantReads]
    settle(model, rounds=4)
    assert_as_wanted(model)


@given(damages, st.lists(wishes, min_size=1, max_size=4), st.lists(st.integers(0, 14), max_size=4))
def test_any_walk_ends_as_the_last_spec_says(
    done: list[Damage], walk: list[tuple[bool, Lifecycle]], crashes: list[int]
) -> None:
    model = with_tables(damaged(made(), done))
    for number, (reader, lifecycle) in enumerate(walk):
        want(model, reader=reader, lifecycle=lifecycle)
        for step in in_steps(plan_now(model).actions)[: crashes[number] if number < len(crashes) else None]:
            model.play_all(step)
    settle(model, rounds=5)
    assert_as_wanted(model)


@pytest.mark.parametrize("isolation", [Isolation.SCHEMA, Isolation.DATABASE])
def test_whom_an_administrator_lends_it_to_keeps_it_and_no_tenant_does(isolation: Isolation) -> None:
    model = made(isolation)
    model.catalogue = replace(model.catalogue, memberships=model.catalogue.memberships | {LENT, STOLEN})
    settle(model, rounds=4)
    assert LENT in model.catalogue.memberships
    assert STOLEN not in model.catalogue.memberships
    want(model, reader=True, lifecycle=Lifecycle.SUSPENDED)
    settle(model, rounds=4)
    assert LENT in model.catalogue.memberships
    want(model, reader=False)
    [dropped] = [action for action in plan_now(model).actions if isinstance(action, DropReader)]
    assert describe(dropped).endswith("was lent to reporting")
    settle(model, rounds=4)
    assert_as_wanted(model)


def test_what_is_more_than_reading_is_taken_from_it() -> None:
    model = made()
    model.catalogue = replace(model.catalogue, reads=Reads(some=True, more=True))
    settle(model, rounds=3)
    assert model.catalogue.reads == Reads(some=True)
