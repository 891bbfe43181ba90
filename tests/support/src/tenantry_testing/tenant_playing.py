"""Plans and plays them on the model of a tenant, as the operator does pass by pass."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tenantry_operator.plan.tenant import Plan, plan_tenant
from tenantry_testing.tenant_model import TenantModel


def plan_now(model: TenantModel) -> Plan:
    return plan_tenant(model.desired, model.observe())


def settle(model: TenantModel, *, rounds: int, is_over: Callable[[Plan], bool] = lambda plan: plan.is_empty) -> None:
    """Plan and play until nothing is left to do; fail when that takes more rounds, or a plan is refused."""
    for _ in range(rounds):
        plan = plan_now(model)
        assert plan.refusal is None, plan.refusal
        if is_over(plan):
            return
        model.play_all(plan.actions)
    pytest.fail(f"it does not converge: {plan_now(model).actions}")


def copy_of(model: TenantModel) -> TenantModel:
    """Return one that can be played on without touching the first."""
    return replace(model, secrets=dict(model.secrets), passwords=dict(model.passwords))
