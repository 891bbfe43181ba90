"""The escape for a Tenant that can never leave in good order: an annotation that names its very UID."""

from collections.abc import Mapping
from enum import StrEnum

from tenantry_crds import names as api
from tenantry_crds.reasons import Reason
from tenantry_operator.model.isolation import Layout
from tenantry_operator.model.tenant import Leaving, RowState
from tenantry_operator.plan.status import Problem


class Force(StrEnum):
    """What the annotation asks for."""

    NOTHING = "nothing"
    REFUSED = "refused"
    """It names another UID."""
    WAIT = "wait"
    """What stands in the way may pass by itself; it was not there in the pass before."""
    LET_GO = "let go"


def force_asked(annotations: Mapping[str, str], *, uid: str, problem: Problem | None, shown: str | None) -> Force:
    """Say what becomes of a Tenant that leaves and could not in this pass. `shown` is the reason the last one gave.

    Protection is not overridden: whoever may set the annotation may as well set it to Disabled.
    """
    named = annotations.get(api.ANNOTATION_FORCE_FINALIZE)
    if named is None or problem is None:
        return Force.NOTHING
    if named != uid:
        return Force.REFUSED
    if problem.reason is Reason.PROTECTED:
        return Force.NOTHING
    return Force.LET_GO if problem.lasting or shown == problem.reason else Force.WAIT


def refused(annotations: Mapping[str, str], *, uid: str) -> str:
    named = annotations.get(api.ANNOTATION_FORCE_FINALIZE, "")[:64]
    return f"{api.ANNOTATION_FORCE_FINALIZE} names uid {named!r}, and this Tenant's is {uid}: it is not let go"


def row_left(leaving: Leaving, problem: Problem) -> RowState:
    """Choose the state of the row of a Tenant that was let go.

    A released row keeps the name at the server with the data, for the next Tenant. Data that is missing, or that was
    not to be kept, keeps nothing.
    """
    lost = problem.reason is Reason.DATA_MISSING
    return RowState.DELETED if lost or leaving is Leaving.DELETE else RowState.RELEASED


def left_behind(layout: Layout, *, namespace: str | None, registry: str, problem: Problem) -> str:
    """Tell a person what nobody looks after any more."""
    where = f"on server {layout.server}" if layout.server else "on its server"
    where += f", namespace {namespace}" if namespace else ""
    return (
        f"let go by {api.ANNOTATION_FORCE_FINALIZE}, though {problem.reason}. Left behind, if it is there: "
        f"{layout.holds} and roles {', '.join(layout.roles)} {where}; the registry "
        f"{registry}. It said: {problem.message}"
    )
