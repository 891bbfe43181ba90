"""One pass over a ServiceDeployment: observe, plan, apply, until nothing is left to do now; then its status."""

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from tenantry_crds import Reason, ServiceDeploymentStatus
from tenantry_operator.apply.service import Outcome, apply_service
from tenantry_operator.clients.kube import (
    HTTPROUTES,
    SERVICEDEPLOYMENTS,
    AlreadyExists,
    ApiError,
    Conflict,
    Invalid,
    Kube,
    NotFound,
)
from tenantry_operator.engine.cache import ObjectCache
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.errors import error_word
from tenantry_operator.engine.queue import Key, Result
from tenantry_operator.model.service import DesiredService, desired_service
from tenantry_operator.model.service_observed import Children, observed_service
from tenantry_operator.observe.service import by_owner, explain_wait, list_children, observe_service
from tenantry_operator.plan.service import Action, CreateChild, ReplaceChild, ServicePlan, plan_service
from tenantry_operator.plan.service_status import Failure, refused_status, service_status, shows, wait_of

logger = logging.getLogger(__name__)

Raw = dict[str, Any]

ROUNDS = 4
"""How often one pass looks again after writing; what is left then is the next pass's."""


class ServiceDeploymentReconciler:
    """Makes ServiceDeployments true. Children carry ownerReferences, so that a deletion is the garbage collector's."""

    kind = SERVICEDEPLOYMENTS.kind

    def __init__(self, *, kube: Kube, cache: ObjectCache, clock: Clock) -> None:
        self._kube = kube
        self._cache = cache
        self._clock = clock

    async def reconcile(self, key: Key) -> Result:
        body = self._cache.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return Result()
        try:
            return await self._pass(body)
        except ApiError as error:
            logger.warning("a pass could not read or write", extra={"object": str(key), "error": str(error)})
            return Result(failed=True, requeue_after=error.retry_after, error=error_word(error))

    async def sweep(self) -> AsyncIterator[Key]:
        """Yield those whose children or status are not as they should be; four LISTs in all."""
        children = by_owner(await list_children(self._kube))
        for key in self._cache.keys(self.kind):
            body = self._cache.get(key)
            if body and self._needs_a_pass(key, body, children.get((key.namespace, key.name), Children())):
                yield key

    def _needs_a_pass(self, key: Key, body: Raw, children: Children) -> bool:
        """Say whether it differs; one that cannot be judged hides no other, and its own pass tells why."""
        try:
            return self._differs(body, children)
        except Exception:
            logger.exception("the sweep could not judge a ServiceDeployment", extra={"object": str(key)})
            return True

    def _differs(self, body: Raw, children: Children) -> bool:
        if body["metadata"].get("deletionTimestamp"):
            return False
        try:
            desired = desired_service(body)
        except ValidationError:
            return bool(_previous(body).observed_generation != body["metadata"].get("generation"))
        plan = plan_service(desired, observed_service(desired, children), now=self._clock.now())
        return bool(plan.actions or plan.blocked) or not shows(plan, _previous(body))

    async def _pass(self, body: Raw) -> Result:
        try:
            desired = desired_service(body)
        except ValidationError as error:
            await self._refuse(body, error)
            return Result(error=Reason.INVALID_SPEC.value)
        plan, failure = await self._converge(desired, body)
        status = service_status(plan, _previous(body), failure=failure)
        await self._write_status(body, status)
        wait = wait_of(plan)
        if failure:
            return Result(failed=True, error=failure.reason.value)
        if plan.actions:
            return Result(requeue_after=0.0)
        return Result(requeue_after=wait.seconds if wait else None)

    async def _refuse(self, body: Raw, error: ValidationError) -> None:
        generation, now = body["metadata"]["generation"], self._clock.now()
        text = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        await self._write_status(body, refused_status(generation, _previous(body), error=text, now=now))

    async def _converge(self, desired: DesiredService, body: Raw) -> tuple[ServicePlan, Failure | None]:
        """Play plans until one has no action. Returns the last plan, with what explains its wait."""
        failure: Failure | None = None
        plan = await self._plan(desired)
        for _ in range(ROUNDS):
            if not plan.actions or failure:
                break
            outcomes = await apply_service(self._kube, plan.actions, namespace=desired.namespace)
            await self._tell(body, outcomes)
            failure = _failure(outcomes)
            plan = await self._plan(desired)
        observed = await explain_wait(self._kube, plan.situation)
        return replace(plan, situation=replace(plan.situation, observed=observed)), failure

    async def _plan(self, desired: DesiredService) -> ServicePlan:
        observed = await observe_service(self._kube, desired)
        return plan_service(desired, observed, now=self._clock.now())

    async def _tell(self, body: Raw, outcomes: tuple[Outcome, ...]) -> None:
        """Log what was done; record Events of repairs and promotions."""
        for outcome in outcomes:
            action = outcome.action
            name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            done = {"object": name, "action": type(action).__name__, "why": action.reason}
            if outcome.error:
                logger.warning("an action failed", extra={**done, "error": str(outcome.error)})
                continue
            logger.info("an action was done", extra=done)
            if isinstance(action, CreateChild | ReplaceChild) and action.event:
                what = f"{action.body['kind']} {action.body['metadata']['name']}"
                await self._kube.event(
                    about=body, type="Normal", reason=action.event, message=f"{what}: {action.reason}",
                    action=type(action).__name__,
                )  # fmt: skip

    async def _write_status(self, body: Raw, status: ServiceDeploymentStatus) -> None:
        written = status.model_dump(by_alias=True, exclude_none=True, mode="json")
        if written == body.get("status"):
            return
        metadata = body["metadata"]
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "add", "path": "/status", "value": written},
        ]
        try:
            answer = await self._kube.json_patch(
                SERVICEDEPLOYMENTS, metadata["name"], patch, namespace=metadata["namespace"], subresource="status"
            )
        except (NotFound, Invalid) as error:
            # Deleted, or made anew under the same name, while this pass ran: the watch brings what there is now.
            logger.info("no status was written", extra={"object": metadata["name"], "error": str(error)})
            return
        self._cache.put(self.kind, answer)


def _previous(body: Mapping[str, Any]) -> ServiceDeploymentStatus:
    """Read the status; one that cannot be read counts as none, for nothing is remembered there."""
    try:
        return ServiceDeploymentStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return ServiceDeploymentStatus()


def _failure(outcomes: tuple[Outcome, ...]) -> Failure | None:
    """Return the write that failed; a lost race is none, for the next look shows who won.

    A name that is taken is one: the look did not show by whom, and would not the next time.
    """
    failed = next((outcome for outcome in outcomes if outcome.error), None)
    if failed is None or failed.error is None:
        return None
    if isinstance(failed.error, Conflict) and not isinstance(failed.error, AlreadyExists):
        return None
    if isinstance(failed.error, NotFound) and _is_new_route(failed.action):
        return Failure(Reason.GATEWAY_NOT_FOUND, "the cluster serves no HTTPRoute: install the Gateway API's CRDs")
    return Failure(Reason.KUBERNETES_ERROR, f"{failed.action.reason}: {failed.error}")


def _is_new_route(action: Action) -> bool:
    return isinstance(action, CreateChild) and bool(action.body["kind"] == HTTPROUTES.kind)
