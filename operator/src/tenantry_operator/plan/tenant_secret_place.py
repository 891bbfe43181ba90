"""Where a Tenant's Secret is to be, and whether it can be looked at: in its own namespace only once that lets us in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tenantry_crds.reasons import Reason
from tenantry_operator.model.namespace import ObservedNamespace
from tenantry_operator.model.tenant import DesiredTenant, Leaving, ObservedTenant
from tenantry_operator.plan import namespace_manifests as manifests
from tenantry_operator.plan.actions import NamespaceAction
from tenantry_operator.plan.status import Problem
from tenantry_operator.plan.tenant_lifecycle import is_archived
from tenantry_operator.plan.tenant_namespace import child_actions, is_ours, is_terminating, namespace_problem
from tenantry_operator.plan.tenant_secret import secret_refusal


def housed(desired: DesiredTenant, observed: ObservedNamespace | None) -> DesiredTenant:
    """Say where the Secret is to be, now that it is known whose the namespace is: with us while it is another's."""
    problem = namespace_problem(desired, observed)
    if problem is None or problem.reason is not Reason.NOT_OURS:
        return desired
    return replace(desired, secret_namespace=desired.system_namespace)


def may_look(desired: DesiredTenant, observed: ObservedNamespace | None) -> bool:
    """Whether what is at the Secret's place can be known. In a namespace that is not there, there is nothing."""
    if desired.namespace is None or desired.secret_namespace == desired.system_namespace:
        return True
    return observed is not None and _lets_in(desired, observed)


def credentials_barred(desired: DesiredTenant, observed: ObservedTenant) -> Problem | None:
    """Say why nothing is done about the credentials now: what there is, is not known, or there is no place for it.

    A Secret that was beside the operator before goes on to be kept there while the namespace is somebody else's.
    """
    if observed.secret_unread:
        return Problem(Reason.KUBERNETES_ERROR, observed.secret_unread)
    problem = namespace_problem(desired, observed.namespace)
    if problem is not None:
        beside = desired.secret_namespace == desired.system_namespace
        held = any(secret is not None and secret.ours for secret in (observed.secret, *observed.stale_secrets))
        return None if is_archived(desired) or (beside and held) else problem
    if observed.namespace is None:
        return None
    return _foreign(desired, observed) if may_look(desired, observed.namespace) else _way_in_made(desired, observed)


def _foreign(desired: DesiredTenant, observed: ObservedTenant) -> Problem | None:
    """Say that another Secret has the place. In the tenant's own namespace that stops nothing else: people write there.

    Beside the operator it refuses the whole plan.
    """
    if is_archived(desired) or desired.secret_namespace == desired.system_namespace:
        return None
    refusal = secret_refusal(observed)
    return Problem(*refusal, lasting=True) if refusal is not None else None


def _way_in_made(desired: DesiredTenant, observed: ObservedTenant) -> Problem:
    """Say that the Secret can be looked at once our way to it is made, or what keeps it from being made."""
    there = _way_in(observed.namespace) if observed.namespace is not None else None
    if there is not None and _has_to_go_first(desired, there):
        held = ", ".join(there["metadata"].get("finalizers") or ()) or "none"
        said = (
            f"RoleBinding {desired.secret_namespace}/{manifests.SECRETS_BINDING} does not let the operator at the "
            f"Secret, and is being deleted, but not gone yet. Its finalizers: {held}; remove them, if nobody else does"
        )
        return Problem(Reason.KUBERNETES_ERROR, said)
    return Problem(Reason.PROVISIONING, f"the operator's way to the Secret in {desired.secret_namespace} is made first")


def secret_waited_for(desired: DesiredTenant, observed: ObservedTenant, *, leaving: Leaving) -> Problem | None:
    """Say why a Tenant cannot go yet: what it keeps of the namespace must not hold a Secret that we could not see."""
    if observed.secret_unread:
        return Problem(Reason.KUBERNETES_ERROR, observed.secret_unread)
    space = observed.namespace
    if leaving is Leaving.DELETE or space is None or not is_ours(space, uid=desired.uid) or is_terminating(space):
        return None
    return None if may_look(desired, space) else _way_in_made(desired, observed)


def opened_first(barred: Problem | None) -> str | None:
    """Say what the next plan can do about credentials, if it is only a matter of one more."""
    return barred.message if barred is not None and barred.reason is Reason.PROVISIONING else None


def opening_actions(desired: DesiredTenant, observed: ObservedNamespace | None) -> tuple[NamespaceAction, ...]:
    """Make our way to the Secret in a namespace that is the Tenant's, if a hand or a crash has taken it."""
    wanted = desired.namespace
    if wanted is None or observed is None or not is_ours(observed, uid=desired.uid) or is_terminating(observed):
        return ()
    rendered, there = manifests.way_in(wanted, tenant=desired.names.name), _way_in(observed)
    if rendered is None or (there is not None and _has_to_go_first(desired, there)):
        return ()
    return tuple(child_actions(there, rendered))


def _lets_in(desired: DesiredTenant, observed: ObservedNamespace) -> bool:
    """Whether the binding is as it should be. One that is being deleted binds for as long as it is there."""
    rendered = desired.namespace and manifests.way_in(desired.namespace, tenant=desired.names.name)
    there = _way_in(observed)
    if not rendered:
        return True
    return there is not None and not any(True for _ in child_actions(there, rendered))


def _has_to_go_first(desired: DesiredTenant, there: Mapping[str, Any]) -> bool:
    """Whether nothing can be made of what is in the place of our way in: its role cannot change, and it is leaving."""
    if desired.namespace is None or not there["metadata"].get("deletionTimestamp"):
        return False
    rendered = manifests.way_in(desired.namespace, tenant=desired.names.name)
    return rendered is not None and manifests.binds_another_role(there, rendered)


def _way_in(observed: ObservedNamespace) -> Mapping[str, Any] | None:
    named = ("RoleBinding", manifests.SECRETS_BINDING)
    return next((one for one in observed.children if (one["kind"], one["metadata"]["name"]) == named), None)
