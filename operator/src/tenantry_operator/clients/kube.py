"""The API server, as JSON objects in and out."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
from uuid_utils import uuid7

from tenantry_operator.clients.connections import Transport
from tenantry_operator.clients.kube_errors import (
    AlreadyExists,
    ApiError,
    ApiUnreachable,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    from_response,
    read_object,
)
from tenantry_operator.clients.official import ConfigException, Configuration, load_incluster_config, load_kube_config
from tenantry_operator.clients.resources import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DATABASESERVERS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    EVENTS,
    GATEWAYS,
    HTTPROUTES,
    JOBS,
    LEASES,
    MIGRATIONRUNS,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICEDEPLOYMENTS,
    SERVICES,
    TENANTS,
    Resource,
)

__all__ = [
    "CONFIGMAPS",
    "CUSTOMRESOURCEDEFINITIONS",
    "DATABASESERVERS",
    "DEPLOYMENTS",
    "ENDPOINTSLICES",
    "EVENTS",
    "GATEWAYS",
    "HTTPROUTES",
    "JOBS",
    "LEASES",
    "MIGRATIONRUNS",
    "NAMESPACES",
    "PERSISTENTVOLUMECLAIMS",
    "PODS",
    "REPLICASETS",
    "SECRETS",
    "SERVICEDEPLOYMENTS",
    "SERVICES",
    "TENANTS",
    "AlreadyExists",
    "ApiError",
    "ApiUnreachable",
    "Configuration",
    "ConfigurationError",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "Kube",
    "NotFound",
    "RawObject",
    "Resource",
    "load_configuration",
]

logger = logging.getLogger(__name__)

FIELD_MANAGER = "tenantry"
USER_AGENT = "tenantry-operator"
RawObject = dict[str, Any]

ATTEMPTS = 4
LONGEST_RETRY_AFTER = 10.0
"""A longer wait that the server asks for is left to the queue, so that no worker sleeps through it."""

NOTE_LIMIT = 1024
CLUSTER_SCOPED_EVENTS_NAMESPACE = "default"
JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA_WATCH = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


PAGE = 500
"""Objects that are asked for at once: a list of ten thousand would need room that is never given back."""


class Page(NamedTuple):
    """A part of a list, and the resourceVersion of the list, which is the same for all its parts."""

    items: list[RawObject]
    version: str


class ConfigurationError(Exception):
    """There is no usable way to an API server; the message says what was looked for."""


async def load_configuration(kubeconfig: Path | None = None, context: str | None = None) -> Configuration:
    """Read the given kubeconfig, else the pod's service account, else ``$KUBECONFIG`` or ``~/.kube/config``.

    Raises ConfigurationError.
    """
    configuration = Configuration()
    # Without it the transport reads ~/.netrc before every request.
    configuration.client_session_kwargs = {"trust_env": False}
    in_pod = kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    path = "" if in_pod else _kubeconfig_path(kubeconfig)
    try:
        if in_pod:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path, context=context, client_configuration=configuration, persist_config=False
            )
    except (ConfigException, OSError, TypeError, AttributeError) as error:
        where = path or "the pod's service account"
        raise ConfigurationError(f"cannot read a Kubernetes configuration from {where}: {error}") from error
    return configuration


def _kubeconfig_path(given: Path | None) -> str:
    """Choose the kubeconfig; like kubectl's, $KUBECONFIG may name several files, of which one must exist."""
    path = str(given or os.environ.get("KUBECONFIG") or Path("~/.kube/config").expanduser())
    if not any(Path(part).exists() for part in path.split(os.pathsep)):
        raise ConfigurationError(f"there is no kubeconfig {path}")
    return path


class Kube:
    """One API server. Every method raises `ApiError` or a subclass of it, and nothing else of the transport.

    A 429 is waited out, up to three times and 10 s each; other failures are the caller's. ``guard`` is called before
    every write, and may raise to prevent it; ``answered`` is told method and status (0: no answer) of each request.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        instance: str = USER_AGENT,
        timeout: float = 30.0,
        guard: Callable[[], None] | None = None,
        answered: Callable[[str, int], None] | None = None,
    ) -> None:
        self._configuration = configuration
        self._transport = Transport(configuration)
        self._instance = instance
        self._guard = guard
        self._answered = answered or (lambda _method, _status: None)
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 10.0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def get(
        self, resource: Resource, name: str, *, namespace: str | None = None, metadata_only: bool = False
    ) -> RawObject | None:
        """Return the object; None when there is none."""
        path, accept = resource.path(name, namespace=namespace), METADATA_WATCH if metadata_only else JSON
        try:
            return await self._call("GET", path, accept=accept)
        except NotFound:
            return None

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | str | None = None,
        metadata_only: bool = False,
    ) -> list[RawObject]:
        """Return all objects, each with its kind and apiVersion; an absent resource type has none."""
        pages = partial(self.pages, resource, namespace=namespace, labels=labels, metadata_only=metadata_only)
        try:
            return [item async for page in pages() for item in page.items]
        except Gone:
            # It took so long that the server has given up the place; all at once, there is none to give up.
            return [item async for page in pages(size=0) for item in page.items]

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | str | None = None,
        metadata_only: bool = False,
        size: int = PAGE,
    ) -> AsyncIterator[Page]:
        """Yield all objects as `list` returns them, so many at a time (0: at once). Raises Gone if that takes long."""
        query = {"labelSelector": _selector(labels)} if labels else {}
        accept = METADATA_LIST if metadata_only else JSON
        typed = {"apiVersion": resource.api_version, "kind": resource.kind}
        following = ""
        while True:
            further = {"continue": following} if following else {}
            limited = {**query, **({"limit": str(size)} if size else {}), **further}
            try:
                answer = await self._call("GET", resource.path(namespace=namespace), query=limited, accept=accept)
            except NotFound:
                return
            about = answer.get("metadata") or {}
            yield Page([item | typed for item in answer.get("items") or []], about.get("resourceVersion", ""))
            if not (following := about.get("continue", "")):
                return

    async def create(self, resource: Resource, body: RawObject) -> RawObject:
        """Raise AlreadyExists when the name is taken."""
        return await self._call(
            "POST", resource.path(namespace=body["metadata"].get("namespace")), body=body, query=_MANAGED
        )

    async def replace(self, resource: Resource, body: RawObject) -> RawObject:
        """Write the whole object; raise Conflict unless the body's resourceVersion is the current one."""
        path = resource.path(body["metadata"]["name"], namespace=body["metadata"].get("namespace"))
        return await self._call("PUT", path, body=body, query=_MANAGED)

    async def apply(
        self, resource: Resource, body: RawObject, *, force: bool = True, dry_run: bool = False
    ) -> RawObject:
        """Server-side apply as ``tenantry``: makes the object or changes the fields in ``body``.

        A field that the type does not have raises Invalid, though the server answers 500 to it.
        """
        query = {**_MANAGED, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        path = resource.path(body["metadata"]["name"], namespace=body["metadata"].get("namespace"))
        return await self._call("PATCH", path, body=body, query=query, content_type=APPLY_PATCH)

    async def json_patch(
        self,
        resource: Resource,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> RawObject:
        """Apply an RFC 6902 patch; a ``test`` that fails raises Invalid."""
        path = resource.path(name, namespace=namespace, subresource=subresource)
        return await self._call("PATCH", path, body=list(operations), query=_MANAGED, content_type=JSON_PATCH)

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        changes: RawObject,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> RawObject:
        """Apply an RFC 7386 patch."""
        path = resource.path(name, namespace=namespace, subresource=subresource)
        return await self._call("PATCH", path, body=changes, query=_MANAGED, content_type=MERGE_PATCH)

    async def delete(
        self, resource: Resource, name: str, *, namespace: str | None = None, uid: str | None = None, version: str = ""
    ) -> bool:
        """Delete; say False when it was gone already. With ``uid`` and ``version``: only that very one, or Conflict."""
        body: RawObject = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid} | ({"resourceVersion": version} if version else {})
        try:
            await self._call("DELETE", resource.path(name, namespace=namespace), body=body)
            return True
        except NotFound:
            return False

    async def scale(self, resource: Resource, name: str, replicas: int, *, namespace: str) -> None:
        changes = {"spec": {"replicas": replicas}}
        await self.merge_patch(resource, name, changes, namespace=namespace, subresource="scale")

    async def event(self, *, about: Mapping[str, Any], type: str, reason: str, message: str, action: str) -> None:
        """Record an Event about an object. ``type`` is Normal or Warning. Never raises: an Event is a courtesy."""
        metadata = about.get("metadata", {})
        namespace = metadata.get("namespace") or CLUSTER_SCOPED_EVENTS_NAMESPACE
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata.get('name', 'unknown')[:200]}.{uuid7().hex}", "namespace": namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": USER_AGENT,
            "reportingInstance": self._instance[:128],
            "regarding": _reference(about),
            "type": type,
            "reason": reason[:128],
            "action": action[:128],
            "note": message[:NOTE_LIMIT],
        }
        try:
            await self.create(EVENTS, body)
        except ApiError as error:
            logger.warning("an Event was not recorded", extra={"reason": reason, "error": str(error)})

    async def version(self) -> str:
        """Return the server's version, as ``v1.36.3``."""
        return str((await self._call("GET", "/version")).get("gitVersion", ""))

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        accept: str = JSON,
        content_type: str = JSON,
    ) -> RawObject:
        url = self._configuration.host + path + (f"?{urlencode(query)}" if query else "")
        for attempt in range(1, ATTEMPTS + 1):
            if self._guard is not None and method != "GET":
                self._guard()
            try:
                return await self._request(method, url, body=body, accept=accept, content_type=content_type)
            except ApiError as error:
                if not _worth_waiting(error, attempt):
                    raise
                logger.debug("the API server asks to wait", extra={"seconds": error.retry_after, "path": path})
                await asyncio.sleep(error.retry_after or 1.0)
        raise AssertionError("the last attempt returns or raises")

    async def _request(self, method: str, url: str, *, body: object, accept: str, content_type: str) -> RawObject:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": USER_AGENT}
        # The hook behind this call reads the service account's token anew when it is old.
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        try:
            answer = await self._transport.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=self._timeout
            )
            content = await answer.read()
        except TimeoutError as error:
            self._answered(method, 0)
            raise ApiUnreachable(0, "Timeout", f"the API server did not answer {method} in time") from error
        except aiohttp.ClientError as error:
            self._answered(method, 0)
            raise ApiUnreachable(0, "Unreachable", f"the API server cannot be reached: {error}") from error
        self._answered(method, answer.status)
        if answer.status >= 400:
            raise from_response(answer.status, content, answer.getheader("Retry-After"))
        return read_object(content, method)


_MANAGED = {"fieldManager": FIELD_MANAGER}


def _worth_waiting(error: ApiError, attempt: int) -> bool:
    """Only a 429 is certain to have changed nothing; anything else the caller looks at anew."""
    return error.status == 429 and attempt < ATTEMPTS and (error.retry_after or 1.0) <= LONGEST_RETRY_AFTER


def _selector(labels: Mapping[str, str] | str) -> str:
    return labels if isinstance(labels, str) else ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _reference(about: Mapping[str, Any]) -> dict[str, str]:
    metadata = about.get("metadata", {})
    reference = {
        "apiVersion": about.get("apiVersion", ""),
        "kind": about.get("kind", ""),
        "name": metadata.get("name", ""),
        "namespace": metadata.get("namespace", ""),
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {key: value for key, value in reference.items() if value}
