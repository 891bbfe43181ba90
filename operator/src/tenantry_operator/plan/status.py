"""Conditions after kstatus, the same for every kind of ours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from tenantry_crds import Condition, ConditionStatus, ConditionType
from tenantry_crds.reasons import Reason

MESSAGE_LIMIT: Final = 2000


@dataclass(frozen=True)
class Problem:
    """What stands in the way. `lasting` says that trying again cannot cure it: somebody has to act."""

    reason: Reason
    message: str
    lasting: bool = False


@dataclass(frozen=True)
class Said:
    """One observation, without its times."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""


def overall(problem: Problem | None, *, ready: Reason, message: str = "") -> tuple[Said, Said, Said]:
    """Say Ready, Reconciling and Stalled: a lasting problem stalls, a passing one is worked on."""
    if problem is None:
        return (
            Said(ConditionType.READY, "True", ready, message),
            Said(ConditionType.RECONCILING, "False", Reason.RECONCILED),
            Said(ConditionType.STALLED, "False", Reason.RECONCILED),
        )
    first = Said(ConditionType.READY, "False", problem.reason, problem.message)
    if problem.lasting:
        return (
            first,
            Said(ConditionType.RECONCILING, "False", Reason.RECONCILED),
            Said(ConditionType.STALLED, "True", problem.reason, problem.message),
        )
    return (
        first,
        Said(ConditionType.RECONCILING, "True", Reason.RETRYING, "the last try failed; the next one follows by itself"),
        Said(ConditionType.STALLED, "False", Reason.RECONCILED),
    )


def conditions(
    said: Iterable[Said], before: Sequence[Condition], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Give each observation its time: of the last change of its status, in whole seconds."""
    known = {condition.type: condition for condition in before}
    return tuple(
        Condition(
            type=one.type.value,
            status=one.status,
            reason=one.reason.value,
            message=one.message[:MESSAGE_LIMIT],
            observed_generation=generation,
            last_transition_time=_since(one, known.get(one.type.value), now),
        )
        for one in said
    )


def _since(said: Said, before: Condition | None, now: datetime) -> datetime:
    same = before is not None and before.status == said.status
    return before.last_transition_time if same and before is not None else now.replace(microsecond=0)


def reason_shown(status: Mapping[str, Any], condition: ConditionType) -> str | None:
    """Return the reason that a raw status shows for a condition."""
    for one in status.get("conditions") or ():
        if one.get("type") == condition.value:
            return str(one.get("reason"))
    return None


def unreadable(error: ValidationError) -> Problem:
    """Say what this version cannot read of an object that a newer API has let in."""
    said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return Problem(Reason.INVALID_SPEC, said[:500], lasting=True)


def status_of_unreadable(body: Mapping[str, Any], problem: Problem, *, now: datetime) -> dict[str, Any]:
    """Return the raw status with Ready, Reconciling and Stalled said anew; the rest of it stays as it is."""
    shown, generation = body.get("status") or {}, body["metadata"].get("generation", 0)
    kept = {one["type"]: one for one in shown.get("conditions") or ()}
    before = [one for one in map(_readable, kept.values()) if one is not None]
    for one in conditions(overall(problem, ready=problem.reason), before, generation=generation, now=now):
        kept[one.type] = one.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {**shown, "observedGeneration": generation, "conditions": list(kept.values())}


def _readable(raw: Mapping[str, Any]) -> Condition | None:
    try:
        return Condition.model_validate(raw)
    except ValidationError:
        return None


def without_unreadable_status(body: Mapping[str, Any], error: ValidationError) -> dict[str, Any] | None:
    """Return the object without its status if that is all that cannot be read; what is lost is found out again."""
    if any(one["loc"][:1] != ("status",) for one in error.errors()):
        return None
    return {key: value for key, value in body.items() if key != "status"}
