"""Which spec was applied last, and where: the registry remembers it, so that drift is told from what was asked for.

A server that is reached otherwise now, by its endpoints say, is asked for as a change of the spec is.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final

from pydantic import ValidationError

from tenantry_crds import DriftPolicy, Tenant, TenantSpec, absent
from tenantry_operator.model.credentials import DesiredCredentials
from tenantry_operator.model.drift import DriftRule
from tenantry_operator.model.names import TenantNames
from tenantry_operator.model.tenant import DesiredTenant, ObservedTenant, Place
from tenantry_operator.plan.tenant import plan_tenant

MAKES_NOTHING: Final = frozenset(
    {
        "displayName",
        "isolation",
        "databaseServer",
        "migrations",
        "driftPolicy",
        "adoptionPolicy",
        "deletionPolicy",
        "deletionProtection",
        "backup",
    }
)
"""Fields that change nothing that is there, or never change."""


def with_drift_rule(
    desired: DesiredTenant, tenant: Tenant, recorded: str | None, *, build: Callable[[Tenant], DesiredTenant]
) -> DesiredTenant:
    """Add what is to be recorded, and what the recorded spec asked for; without a record it is the present one."""
    rule = DriftRule(absent.drift_policy(tenant.spec) is DriftPolicy.REPORT, _applied(tenant.spec, desired.place))
    if recorded is None or recorded == rule.applied:
        return replace(desired, drift=rule)
    spec = _spec_before(tenant.spec, recorded)
    if spec is None:
        return replace(desired, drift=replace(rule, unknown=True))
    return replace(desired, drift=replace(rule, before=build(tenant.model_copy(update={"spec": spec}))))


def _applied(spec: TenantSpec, place: Place) -> str:
    """Write what of the spec something is made of, and what this version makes of any; the same gives the same text."""
    # A name of the tenant's own would make two that are alike differ.
    reached = replace(place, server="", database="")
    said = {"makes": fingerprint(), "spec": _making(spec), "place": _digest(repr(reached))}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def _making(spec: TenantSpec) -> dict[str, Any]:
    said = spec.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {field: value for field, value in said.items() if field not in MAKES_NOTHING}


def _spec_before(spec: TenantSpec, recorded: str) -> TenantSpec | None:
    """Read the recorded spec; None when it cannot be read, or another version made something else of it."""
    try:
        said = json.loads(recorded)
        if said["makes"] != fingerprint():
            return None
        rest = spec.model_dump(by_alias=True, exclude_none=True, mode="json", include=_fields_that_make_nothing())
        return TenantSpec.model_validate({**rest, **said["spec"]})
    except (ValueError, KeyError, TypeError, ValidationError):
        return None


def _fields_that_make_nothing() -> set[str]:
    return {name for name, field in TenantSpec.model_fields.items() if (field.alias or name) in MAKES_NOTHING}


@cache
def fingerprint() -> str:
    """Identify what this version makes of one and the same spec: the plan of a new Tenant."""
    actions = plan_tenant(_specimen(), ObservedTenant()).actions
    return _digest("\n".join(map(repr, actions)))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _specimen() -> DesiredTenant:
    return DesiredTenant(
        names=TenantNames("a"),
        uid="",
        installation="",
        new_id="",
        place=Place("", "", "", 0, ""),
        secret_name="",
        secret_namespace="",
        released="",
        credentials=DesiredCredentials(datetime.fromtimestamp(0, UTC)),
    )
