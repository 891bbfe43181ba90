"""Which extensions a Tenant gets, which it loses, and what is said of one that it cannot get."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tenantry_crds.reasons import Reason
from tenantry_operator.model.extensions import Available, ExtensionSchema, Installed, ObservedExtensions
from tenantry_operator.model.tenant import DesiredTenant
from tenantry_operator.plan.extension_actions import (
    CreateExtension,
    DropExtension,
    DropExtensionsSchema,
    GuardExtensions,
)
from tenantry_operator.plan.tenant import Plan
from tenantry_testing.tenant_damages import make_desired, make_desired_apart
from tenantry_testing.tenant_model import TenantModel
from tenantry_testing.tenant_playing import plan_now, settle

OURS = ExtensionSchema("tenantry_owner", ours=True, open=True)
AT_HAND = {
    "citext": Available(trusted=True),
    "base": Available(trusted=True),
    "above": Available(trusted=True, needs=frozenset({"base"})),
    "dblink": Available(trusted=False),
}


def model_of(
    *wanted: str,
    apart: bool = False,
    schema: ExtensionSchema | None = OURS,
    installed: Mapping[str, Installed] | None = None,
) -> TenantModel:
    """Return a Tenant that is settled, and now asks for these."""
    desired: DesiredTenant = make_desired_apart() if apart else make_desired()
    model = TenantModel(desired)
    settle(model, rounds=4, is_over=lambda plan: plan.is_empty and plan.again is None)
    there = ObservedExtensions(
        schema, installed or {}, {k: v for k, v in AT_HAND.items() if k not in (installed or {})}
    )
    model.catalogue = replace(model.catalogue, extensions=there)
    model.desired = replace(desired, extensions=frozenset(wanted))
    return model


def made(plan: Plan) -> list[str]:
    return [action.extension for action in plan.actions if isinstance(action, CreateExtension)]


def dropped(plan: Plan) -> list[str]:
    return [action.extension for action in plan.actions if isinstance(action, DropExtension)]


def test_one_that_another_is_built_on_is_made_before_it() -> None:
    model = model_of("above", "base", "citext")
    assert made(plan_now(model)) == ["base", "citext", "above"]
    settle(model, rounds=2)
    assert plan_now(model).extension_problem is None


def test_who_asks_for_nothing_has_nothing_made() -> None:
    model = model_of(schema=None)
    assert plan_now(model).is_empty
    assert plan_now(model).extension_problem is None


def test_the_schema_is_made_before_what_is_in_it_and_shut_for_writers() -> None:
    model = model_of("citext", schema=None)
    kinds = [type(action) for action in plan_now(model).actions]
    assert kinds == [GuardExtensions, CreateExtension]
    settle(model, rounds=2)
    widened = replace(OURS, writers=frozenset({"PUBLIC", "t_other_app"}))
    model.catalogue = replace(model.catalogue, extensions=replace(model.catalogue.extensions, schema=widened))
    [guard] = plan_now(model).actions
    assert isinstance(guard, GuardExtensions)
    assert guard.writers == ("PUBLIC", "t_other_app")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("nowhere", "install its package"),
        ("dblink", 'CREATE EXTENSION "dblink" SCHEMA extensions'),
        ("above", "name that in spec.database.extensions as well"),
        ("elsewhere", 'ALTER EXTENSION "elsewhere" SET SCHEMA extensions'),
    ],
)
def test_what_cannot_be_made_is_said_and_keeps_nothing_else(wanted: str, said: str) -> None:
    model = model_of(wanted, "citext", installed={"elsewhere": Installed("public", ours=False)})
    plan = plan_now(model)
    assert made(plan) == ["citext"]
    settle(model, rounds=2)
    problem = plan_now(model).extension_problem
    assert problem is not None
    assert (problem.reason, problem.lasting) == (Reason.EXTENSION_UNAVAILABLE, True)
    assert said in problem.message
    # Nothing is tried over and over.
    assert plan_now(model).is_empty


@pytest.mark.parametrize(
    "schema",
    [
        ExtensionSchema("t_other_owner", ours=False, open=True, writers=frozenset({"t_other_owner"})),
        ExtensionSchema("postgres", ours=False, open=True, writers=frozenset({"PUBLIC"})),
        ExtensionSchema("postgres", ours=False, open=False),
        ExtensionSchema("postgres", ours=False, open=True, planted=("function extensions.planted() of planter",)),
        replace(OURS, planted=("function extensions.planted() of planter",)),
    ],
)
def test_nothing_is_made_where_somebody_else_could_lie_in_wait(schema: ExtensionSchema) -> None:
    model = model_of("citext", schema=schema)
    plan = plan_now(model)
    assert plan.is_empty
    assert plan.extension_problem is not None
    assert "as an administrator" in plan.extension_problem.message


def test_nothing_is_made_in_the_pass_that_shuts_the_schema_for_a_writer() -> None:
    model = model_of("citext", schema=replace(OURS, writers=frozenset({"planter"})))
    assert [type(action) for action in plan_now(model).actions] == [GuardExtensions]
    settle(model, rounds=3)
    assert "citext" in model.catalogue.extensions.installed


def test_an_owner_is_told_to_give_the_schema_away_for_revoking_does_not_help() -> None:
    schema = ExtensionSchema("planter", ours=False, open=True, writers=frozenset({"planter"}))
    problem = plan_now(model_of("citext", schema=schema)).extension_problem
    assert problem is not None
    assert "ALTER SCHEMA extensions OWNER TO tenantry_owner" in problem.message
    assert "REVOKE" not in problem.message


def test_an_administrators_schema_will_do_when_nobody_else_creates_there() -> None:
    model = model_of("citext", schema=ExtensionSchema("postgres", ours=False, open=True))
    assert [type(action) for action in plan_now(model).actions] == [CreateExtension]


def test_a_shared_database_keeps_what_is_asked_for_no_more_and_ones_own_does_not() -> None:
    there = {
        "base": Installed("extensions", ours=True),
        "above": Installed("extensions", ours=True, needs=frozenset({"base"})),
        "dblink": Installed("extensions", ours=False),
        "citext": Installed("public", ours=True),
    }
    assert dropped(plan_now(model_of(installed=there))) == []
    model = model_of(apart=True, installed=there)
    assert dropped(plan_now(model)) == ["above", "base"]
    settle(model, rounds=2)
    assert dropped(plan_now(model_of("above", "base", apart=True, installed=there))) == []
    # What is asked for stands on it still.
    assert dropped(plan_now(model_of("above", apart=True, installed=there))) == []


EMPTY = replace(OURS, empty=True)
FOREIGN = ExtensionSchema("postgres", ours=False, open=True, empty=True)


@pytest.mark.parametrize(
    ("apart", "schema", "wanted", "goes"),
    [
        (True, EMPTY, (), True),
        (True, OURS, (), False),
        (True, FOREIGN, (), False),
        (True, None, (), False),
        # What is asked for may come yet, as when an administrator makes it.
        (True, EMPTY, ("dblink",), False),
        (False, EMPTY, (), False),
    ],
)
def test_the_empty_schema_goes_from_a_database_of_ones_own(
    apart: bool, schema: ExtensionSchema | None, wanted: tuple[str, ...], goes: bool
) -> None:
    plan = plan_now(model_of(*wanted, apart=apart, schema=schema))
    assert [action for action in plan.actions if isinstance(action, DropExtensionsSchema)] == (
        [DropExtensionsSchema(schema="extensions", reason=plan.actions[-1].reason)] if goes else []
    )


def test_it_goes_after_the_last_extension_and_comes_back_with_the_next() -> None:
    model = model_of(apart=True, installed={"citext": Installed("extensions", ours=True)})
    assert [type(action) for action in plan_now(model).actions] == [DropExtension]
    settle(model, rounds=4)
    assert model.catalogue.extensions.schema is None
    at_hand = replace(model.catalogue.extensions, available=AT_HAND)
    model.catalogue = replace(model.catalogue, extensions=at_hand)
    model.desired = replace(model.desired, extensions=frozenset({"citext"}))
    settle(model, rounds=4)
    assert set(model.catalogue.extensions.installed) == {"citext"}
