"""Carry out the plan of a ServiceDeployment, action by action."""

from collections.abc import Sequence
from dataclasses import dataclass

from tenantry_operator.clients.kube import DEPLOYMENTS, HTTPROUTES, SERVICES, ApiError, Kube, Resource
from tenantry_operator.plan.service import Action, CreateChild, DeleteChild, ReplaceChild, ScaleDeployment

_RESOURCES = {resource.kind: resource for resource in (DEPLOYMENTS, SERVICES, HTTPROUTES)}


@dataclass(frozen=True)
class Outcome:
    """What became of one action; `error` is None when it was done."""

    action: Action
    error: ApiError | None = None


async def apply_service(kube: Kube, actions: Sequence[Action], *, namespace: str) -> tuple[Outcome, ...]:
    """Carry out the actions in order, up to the first that fails: the order is what keeps requests from failing."""
    outcomes: list[Outcome] = []
    for action in actions:
        try:
            await _apply(kube, action, namespace=namespace)
        except ApiError as error:
            outcomes.append(Outcome(action, error))
            break
        outcomes.append(Outcome(action))
    return tuple(outcomes)


async def _apply(kube: Kube, action: Action, *, namespace: str) -> None:
    match action:
        case CreateChild(body=body):
            await kube.create(_resource(body["kind"]), body)
        case ReplaceChild(body=body):
            await kube.replace(_resource(body["kind"]), body)
        case ScaleDeployment(name=name, replicas=replicas):
            await kube.scale(DEPLOYMENTS, name, replicas, namespace=namespace)
        case DeleteChild(body=body):
            metadata = body["metadata"]
            await kube.delete(_resource(body["kind"]), metadata["name"], namespace=namespace, uid=metadata["uid"])


def _resource(kind: str) -> Resource:
    return _RESOURCES[kind]
