"""The hands of an administrator at the API server, past all proxies."""

import json
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from tenantry_cluster import ControlPlane

TENANTS = "/apis/tenantry.dev/v1alpha1/tenants"
DATABASESERVERS = "/apis/tenantry.dev/v1alpha1/databaseservers"
JOBS = "/apis/batch/v1/namespaces/tenantry-system/jobs"
MIGRATIONRUNS = "/apis/tenantry.dev/v1alpha1/migrationruns"
MERGE = {"Content-Type": "application/merge-patch+json"}

Body = dict[str, Any]


class Administrator:
    """Plain requests that wait for their answer; errors are httpx's."""

    def __init__(self, plane: ControlPlane) -> None:
        context = ssl.create_default_context(cafile=str(plane.trust.authority.pair.certificate))
        context.load_cert_chain(plane.trust.admin.certificate, plane.trust.admin.key)
        self._client = httpx.Client(base_url=plane.url, verify=context, timeout=30.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Body | None:
        """Return the object, or None when there is none."""
        answer = self._client.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: Body = answer.raise_for_status().json()
        return found

    def list(self, path: str) -> list[Body]:
        items: list[Body] = (self.get(path) or {}).get("items") or []
        return items

    def create(self, path: str, body: Mapping[str, Any]) -> Body:
        made: Body = self._client.post(path, json=body).raise_for_status().json()
        return made

    def replace(self, path: str, field: str, value: object) -> None:
        """Replace a field, which is a JSON pointer, by another value."""
        operations = [{"op": "replace", "path": field, "value": value}]
        headers = {"Content-Type": "application/json-patch+json"}
        self._client.patch(path, content=json.dumps(operations), headers=headers).raise_for_status()

    def finalize(self, namespace: Body) -> None:
        """Let a namespace go that is being deleted."""
        body = {**namespace, "spec": {**namespace["spec"], "finalizers": []}}
        path = f"/api/v1/namespaces/{namespace['metadata']['name']}"
        answer = self._client.put(f"{path}/finalize", json=body)
        if answer.status_code not in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
            answer.raise_for_status()

    def rehearse(self, path: str, body: Mapping[str, Any]) -> tuple[int, Body]:
        """Return status and answer of a creation that changes nothing, strict as kubectl's are."""
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        answer = self._client.post(path, json=body, params=query)
        return answer.status_code, answer.json()

    def patch(self, path: str, changes: Mapping[str, Any]) -> None:
        """Change by an RFC 7386 patch; nothing when the object is gone."""
        answer = self._client.patch(path, content=json.dumps(changes), headers=MERGE)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def delete(self, path: str) -> None:
        """Delete; nothing when it is gone."""
        answer = self._client.delete(path)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()
