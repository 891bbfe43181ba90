"""A bare client of the API server for the benchmarks: what a load generator needs, and nothing of the operator's."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

from tenantry_cluster import ControlPlane

TENANTS = "/apis/tenantry.dev/v1alpha1/tenants"
DATABASESERVERS = "/apis/tenantry.dev/v1alpha1/databaseservers"
MIGRATIONRUNS = "/apis/tenantry.dev/v1alpha1/migrationruns"
SECRETS = "/api/v1/namespaces/tenantry-system/secrets"
MERGE = {"Content-Type": "application/merge-patch+json"}
CONCURRENCY = 16


class Api:
    """Requests as administrator of a control plane; errors are aiohttp's."""

    def __init__(self, plane: ControlPlane, session: aiohttp.ClientSession) -> None:
        self._url = plane.url
        self._session = session
        self._turn = asyncio.Semaphore(CONCURRENCY)

    @classmethod
    @asynccontextmanager
    async def of(cls, plane: ControlPlane) -> AsyncIterator[Self]:
        context = ssl.create_default_context(cafile=str(plane.trust.authority.pair.certificate))
        context.load_cert_chain(plane.trust.admin.certificate, plane.trust.admin.key)
        connector = aiohttp.TCPConnector(ssl=context, limit=CONCURRENCY + 1)
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
            yield cls(plane, session)

    async def get(self, path: str) -> dict[str, Any]:
        async with self._session.get(self._url + path) as response:
            response.raise_for_status()
            found: dict[str, Any] = await response.json()
            return found

    async def create(self, path: str, body: Mapping[str, Any]) -> None:
        async with self._turn, self._session.post(self._url + path, json=body) as response:
            response.raise_for_status()

    async def patch(self, path: str, body: Mapping[str, Any]) -> None:
        async with self._turn, self._session.patch(self._url + path, data=json.dumps(body), headers=MERGE) as response:
            response.raise_for_status()

    async def delete(self, path: str) -> None:
        async with self._turn, self._session.delete(self._url + path) as response:
            response.raise_for_status()

    async def watch(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Objects as they are, and then as they change; a deleted one carries `deleted`."""
        version = (await self.get(path))["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version}
        endless = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self._url + path, params=query, timeout=endless) as response:
            response.raise_for_status()
            buffer = b""
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["object"] | {"deleted": event["type"] == "DELETED"}


class ReadyWatch:
    """Notes when each Tenant became Ready, and when it was gone; times are of the monotonic clock."""

    def __init__(self) -> None:
        self.ready: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.failed: dict[str, float] = {}
        self.unready: dict[str, float] = {}
        """When each was first seen not to be Ready, since `forget`."""
        self._waiting: list[_Waiting] = []

    @classmethod
    @asynccontextmanager
    async def of(cls, api: Api) -> AsyncIterator[Self]:
        watch = cls()
        task = asyncio.create_task(watch._follow(api))
        # The first answer of the watch need not have come: it starts at the version that was listed before.
        await asyncio.sleep(0.1)
        try:
            yield watch
        finally:
            task.cancel()

    def forget(self) -> None:
        """Note everything anew."""
        for noted in (self.ready, self.gone, self.failed, self.unready):
            noted.clear()

    async def all_ready(self, names: Iterable[str], *, seconds: float = 120.0) -> None:
        """Raises TimeoutError naming those that are not."""
        await self._all(self.ready, set(names), what="not Ready", seconds=seconds)

    async def all_gone(self, names: Iterable[str], *, seconds: float = 120.0) -> None:
        await self._all(self.gone, set(names), what="still there", seconds=seconds)

    async def all_failed(self, names: Iterable[str], *, seconds: float = 120.0) -> None:
        """Wait until each says that it is not Ready, whatever the reason."""
        await self._all(self.failed, set(names), what="not failing", seconds=seconds)

    async def _all(self, noted: dict[str, float], names: set[str], *, what: str, seconds: float) -> None:
        waiting = _Waiting(noted, names - noted.keys())
        if not waiting.names:
            return
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting.over.wait()
        except TimeoutError as error:
            late = sorted(waiting.names)
            raise TimeoutError(f"{len(late)} {what} after {seconds:.0f} s: {', '.join(late[:5])}") from error
        finally:
            self._waiting.remove(waiting)

    async def _follow(self, api: Api) -> None:
        async for tenant in api.watch(TENANTS):
            now, name = time.monotonic(), tenant["metadata"]["name"]
            if tenant["deleted"]:
                self._note(self.gone, name, now)
            elif is_ready(tenant):
                self._note(self.ready, name, now)
            else:
                self.unready.setdefault(name, now)
                if ready_condition(tenant) == "False":
                    self._note(self.failed, name, now)

    def _note(self, noted: dict[str, float], name: str, now: float) -> None:
        noted.setdefault(name, now)
        for waiting in self._waiting:
            if waiting.noted is noted:
                waiting.names.discard(name)
                if not waiting.names:
                    waiting.over.set()


class _Waiting:
    """Names that somebody waits for. Noting one costs the same however many there are."""

    def __init__(self, noted: dict[str, float], names: set[str]) -> None:
        self.noted = noted
        self.names = names
        self.over = asyncio.Event()


def is_ready(tenant: Mapping[str, Any]) -> bool:
    status = tenant.get("status", {})
    current = status.get("observedGeneration") == tenant["metadata"]["generation"]
    return current and ready_condition(tenant) == "True"


def ready_condition(tenant: Mapping[str, Any]) -> str | None:
    """Return the status of its condition Ready, if it has one."""
    conditions = tenant.get("status", {}).get("conditions", [])
    return next((one["status"] for one in conditions if one["type"] == "Ready"), None)


async def create_all(api: Api, names: Iterable[str], **spec: object) -> None:
    """Create Tenants, as many at a time as the client may."""
    await asyncio.gather(*(api.create(TENANTS, tenant_body(name, **spec)) for name in names))


async def delete_all(api: Api, names: Iterable[str]) -> None:
    await asyncio.gather(*(api.delete(f"{TENANTS}/{name}") for name in names))


def tenant_body(name: str, **changes: object) -> dict[str, Any]:
    spec = {
        "displayName": name,
        "isolation": "Schema",
        "deletionPolicy": "Delete",
        "deletionProtection": "Disabled",
        **changes,
    }
    return {"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def server_body(spec: Mapping[str, Any], *, name: str, **changes: object) -> dict[str, Any]:
    return {
        "apiVersion": "tenantry.dev/v1alpha1",
        "kind": "DatabaseServer",
        "metadata": {"name": name},
        "spec": {**spec, "default": False, **changes},
    }
