"""Which of a tenant's Secrets a pass sees: those beside the operator, and those in a namespace that lets it in."""

from collections.abc import Mapping

from tenantry_operator.model.namespace import ObservedNamespace
from tenantry_operator.model.tenant import DesiredTenant, ObservedSecret
from tenantry_operator.plan.tenant_secret_place import housed, may_look


def secret_key(desired: DesiredTenant, name: str, namespace: str) -> str:
    """Return under which key a model has a Secret: beside the operator by its name alone."""
    return name if namespace == desired.system_namespace else f"{namespace}/{name}"


def seen_secrets(
    secrets: Mapping[str, ObservedSecret], desired: DesiredTenant, space: ObservedNamespace | None
) -> tuple[ObservedSecret | None, tuple[ObservedSecret, ...]]:
    """Return the Secret in its place, and the tenant's own elsewhere."""
    desired = housed(desired, space)
    at = secret_key(desired, desired.secret_name, desired.secret_namespace)
    looked = may_look(desired, space)
    places = {desired.system_namespace, *({desired.secret_namespace} if looked else ())}
    others = (one for key, one in sorted(secrets.items()) if key != at and one.ours and one.namespace in places)
    return secrets.get(at) if looked else None, tuple(others)
