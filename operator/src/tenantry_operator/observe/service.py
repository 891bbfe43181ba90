"""Read what the cluster has of a ServiceDeployment: one LIST per kind of child, more only where something is amiss."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from tenantry_crds.names import LABEL_SERVICE_DEPLOYMENT
from tenantry_operator.clients.kube import (
    DEPLOYMENTS,
    ENDPOINTSLICES,
    GATEWAYS,
    HTTPROUTES,
    PODS,
    SERVICES,
    Invalid,
    Kube,
)
from tenantry_operator.model.service import DesiredService
from tenantry_operator.model.service_observed import (
    Children,
    ObservedService,
    Trial,
    observed_service,
    pod_seen,
    stored_fingerprint,
)
from tenantry_operator.model.service_template import Raw
from tenantry_operator.plan import service_manifests as manifests
from tenantry_operator.plan.service import needs_trial
from tenantry_operator.plan.service_situation import Situation

Owner = tuple[str, str]
"""Namespace and name of a ServiceDeployment."""


async def list_children(kube: Kube, *, namespace: str | None = None, name: str | None = None) -> Children:
    """List the children of one ServiceDeployment, or of all: four LISTs. Raises ApiError."""
    labels = f"{LABEL_SERVICE_DEPLOYMENT}={name}" if name else LABEL_SERVICE_DEPLOYMENT
    kinds = (DEPLOYMENTS, SERVICES, HTTPROUTES, ENDPOINTSLICES)
    lists = await asyncio.gather(*(kube.list(kind, namespace=namespace, labels=labels) for kind in kinds))
    return Children(*map(tuple, lists))


async def observe_service(kube: Kube, desired: DesiredService) -> ObservedService:
    """Read the children; before a Deployment is written, ask the API server about it. Raises ApiError."""
    children = await list_children(kube, namespace=desired.namespace, name=desired.name)
    observed = observed_service(desired, await _with_unlabelled(kube, desired, children))
    if needs_trial(desired, observed):
        return replace(observed, trial=await _try_template(kube, desired))
    return observed


async def explain_wait(kube: Kube, situation: Situation) -> ObservedService:
    """Add what tells a person why it is waited: the pods' own words; is there a Gateway. Raises ApiError."""
    desired, observed = situation.desired, situation.observed
    if situation.target and not situation.enough:
        labels = desired.selects(situation.target)
        pods = await kube.list(PODS, namespace=desired.namespace, labels=labels)
        observed = replace(observed, pods=tuple(map(pod_seen, pods)))
    gateway = desired.gateway
    if gateway and not situation.taken and not (observed.route and observed.route.accepted):
        found = await kube.get(GATEWAYS, gateway.name, namespace=gateway.namespace)
        observed = replace(observed, gateway_missing=found is None)
    return observed


def by_owner(children: Children) -> Mapping[Owner, Children]:
    """Sort the children of all ServiceDeployments by the one that their label names."""
    lists: dict[Owner, list[list[Raw]]] = defaultdict(lambda: [[], [], [], []])
    kinds = (children.deployments, children.services, children.routes, children.slices)
    for index, bodies in enumerate(kinds):
        for body in bodies:
            owner = body["metadata"]["namespace"], body["metadata"]["labels"][LABEL_SERVICE_DEPLOYMENT]
            lists[owner][index].append(body)
    return {owner: Children(*map(tuple, found)) for owner, found in lists.items()}


async def _with_unlabelled(kube: Kube, desired: DesiredService, children: Children) -> Children:
    """Look by name for what the label did not find: it may be somebody else's, or ours without its label.

    Also for the revisions that serve: without its Deployment a serving revision would seem to be gone.
    """
    seen = observed_service(desired, children)
    serving = (seen.selected, *(seen.route.weights if seen.route else ()))
    revisions = dict.fromkeys(desired.child(item) for item in (desired.revision, *serving) if item)
    wanted = [(DEPLOYMENTS, children.deployments, name) for name in revisions]
    wanted += [(SERVICES, children.services, name) for name in (*revisions, desired.name)]
    wanted += [(HTTPROUTES, children.routes, desired.name)] if desired.gateway else []
    missing = [(kind, name) for kind, found, name in wanted if all(body["metadata"]["name"] != name for body in found)]
    answers = await asyncio.gather(*(kube.get(kind, name, namespace=desired.namespace) for kind, name in missing))
    found = [{**body, "kind": kind.kind} for (kind, _), body in zip(missing, answers, strict=True) if body]
    return replace(
        children,
        deployments=children.deployments + _of_kind(found, DEPLOYMENTS.kind),
        services=children.services + _of_kind(found, SERVICES.kind),
        routes=children.routes + _of_kind(found, HTTPROUTES.kind),
    )


def _of_kind(bodies: list[Raw], kind: str) -> tuple[Raw, ...]:
    return tuple(body for body in bodies if body["kind"] == kind)


async def _try_template(kube: Kube, desired: DesiredService) -> Trial:
    try:
        body = await kube.apply(DEPLOYMENTS, manifests.trial(desired), dry_run=True)
    except Invalid as error:
        # The name in the message is the trial's own; the user knows the template.
        text = error.message.replace(manifests.trial(desired)["metadata"]["name"], desired.name)
        return Trial(refusal=text)
    return Trial(stored=stored_fingerprint(body))
