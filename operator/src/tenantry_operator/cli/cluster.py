"""The way from a user's machine to the cluster, with the user's own rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tenantry_crds import names
from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.clients.kube import (
    TENANTS,
    ApiError,
    ConfigurationError,
    Forbidden,
    Invalid,
    Kube,
    RawObject,
    Resource,
    load_configuration,
)

CLIENT: Final = "tenantry-cli"

ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)


@dataclass(frozen=True)
class ClusterPlace:
    """Which cluster is meant, and where its operator lives."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = names.SYSTEM_NAMESPACE


class CallersKube(Kube):
    """The API server for a person at a keyboard: it can rehearse a write."""

    async def rehearse(self, resource: Resource, body: RawObject, *, exists: bool) -> RawObject:
        """Ask what the server would answer to a write, and let it change nothing. Raises ApiError."""
        name = body["metadata"]["name"]
        namespace = body["metadata"].get("namespace")
        path = resource.path(name if exists else "", namespace=namespace)
        query = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": CLIENT}
        return await self._call("PUT" if exists else "POST", path, query=query, body=body)

    async def may(self, verb: str, resource: str, *, group: str = "", namespace: str | None = None) -> bool:
        """Say whether the caller may do that, by the server's own word."""
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace or ""}
        body = {
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": ACCESS_REVIEWS.kind,
            "metadata": {},
            "spec": {"resourceAttributes": attributes},
        }
        return bool((await self.create(ACCESS_REVIEWS, body)).get("status", {}).get("allowed"))


class ReadingKube(Kube):
    """Reads through another client, and refuses to write. It shows the Tenant that is planned as if it were there."""

    def __init__(self, kube: Kube) -> None:
        self._through = kube
        self.planned: RawObject | None = None

    async def list(self, resource: Resource, **rest: Any) -> list[RawObject]:
        found = await super().list(resource, **rest)
        if resource is not TENANTS or self.planned is None:
            return found
        name = self.planned["metadata"]["name"]
        return [*(one for one in found if one["metadata"]["name"] != name), self.planned]

    async def _call(self, method: str, path: str, **rest: Any) -> RawObject:
        if method != "GET":
            raise AssertionError(f"a plan changes nothing, and asked for {method} {path}")
        return await self._through._call(method, path, **rest)


@asynccontextmanager
async def cluster(place: ClusterPlace) -> AsyncIterator[CallersKube]:
    """Connect to the API server. Raises CommandFailed, for what the body asks as well."""
    try:
        configuration = await load_configuration(place.kubeconfig, place.context)
        async with CallersKube(configuration, instance=CLIENT) as kube:
            yield kube
    except ConfigurationError as error:
        raise CommandFailed(str(error)) from error
    except ApiError as error:
        raise CommandFailed(told_apart(error)) from error


def told_apart(error: ApiError) -> str:
    """Say what failed, and what a user can do about it."""
    if isinstance(error, Forbidden):
        return f"you are not allowed to do this: {error.message}"
    if isinstance(error, Invalid):
        return f"the API server refuses it: {error.message}"
    if error.status == 401:
        return "the API server does not know you: log in again, or name another --context"
    return str(error)


async def get_tenant(kube: Kube, name: str) -> RawObject:
    """Return the Tenant. Raises CommandFailed with the names that are like it."""
    found = await kube.get(TENANTS, name)
    if found is not None:
        return found
    there = sorted(body["metadata"]["name"] for body in await kube.list(TENANTS, metadata_only=True))
    raise CommandFailed(f"there is no Tenant {name}{_near(name, there)}")


def _near(name: str, there: list[str]) -> str:
    import difflib  # noqa: PLC0415  only a mistyped name needs it

    near = difflib.get_close_matches(name, there, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return "; `tenantry tenant list` shows those that there are" if there else "; there are no Tenants here"
