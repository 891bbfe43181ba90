"""A proxy before an API server that knows each write."""

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from tenantry_cluster import ControlPlane
from tenantry_testing.faults.api_faults import ApiFault, Harm, WatchFault
from tenantry_testing.faults.effects import Effects, Moment
from tenantry_testing.faults.loop import LoopThread

NO_EFFECT: Final = re.compile(r"^/apis/(coordination|authentication|authorization)\.k8s\.io/")
"""The Lease is written all the time and belongs to nobody; reviews write nothing."""

APART: Final = re.compile(r"/databaseservers/")
"""A DatabaseServer tells how many Tenants it has, some time after a Tenant came or went."""

EVENT_NAME: Final = re.compile(r"\.[0-9a-f]{32}$")
HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
GONE: Final = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version: 1 (2)",
        "reason": "Expired",
        "code": 410,
    },
}


class ApiProxy:
    """Listens on a free loopback port without TLS, and is the administrator at the API server.

    Each request but GET counts as an effect, Events too: they are what a user reads. The Lease, reviews and dry runs
    do not count; the status of a DatabaseServer is counted apart.
    """

    def __init__(self, plane: ControlPlane, effects: Effects, loop: LoopThread, *, folder: Path) -> None:
        self._plane = plane
        self._effects = effects
        self._loop = loop
        self._streams: set[asyncio.Queue[bytes | None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None
        self.kubeconfig = folder / "proxied.kubeconfig"
        self.requests: Counter[str] = Counter()
        """Requests by method, without those for the Lease."""
        self.faults: list[ApiFault] = []
        self.watch_faults: list[WatchFault] = []

    def __enter__(self) -> Self:
        port = self._loop.run(self._start())
        self._write_kubeconfig(f"http://127.0.0.1:{port}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._stop())

    def heal(self) -> None:
        """Do no more harm."""
        self.faults.clear()
        self.watch_faults.clear()

    def expire_watches(self) -> int:
        """Answer all open watches with 410; return how many there were."""
        return self._to_streams(json.dumps(GONE).encode() + b"\n")

    def end_watches(self) -> int:
        """End all open watches, as an API server does from time to time."""
        return self._to_streams(None)

    def _to_streams(self, line: bytes | None) -> int:
        async def put() -> int:
            for stream in self._streams:
                stream.put_nowait(line)
                stream.put_nowait(None)
            return len(self._streams)

        return self._loop.run(put())

    async def _start(self) -> int:
        trust = self._plane.trust
        context = ssl.create_default_context(cafile=str(trust.authority.pair.certificate))
        context.load_cert_chain(trust.admin.certificate, trust.admin.key)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            auto_decompress=False,
            trust_env=False,
        )
        self._runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _stop(self) -> None:
        for stream in self._streams:
            stream.put_nowait(None)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def _write_kubeconfig(self, url: str) -> None:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxied", "cluster": {"server": url}}],
            "users": [{"name": "proxied", "user": {}}],
            "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "proxied"}}],
            "current-context": "proxied",
        }
        self.kubeconfig.write_text(yaml.safe_dump(content))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        counts = not NO_EFFECT.search(request.path)
        if counts:
            self.requests[request.method] += 1
        body = await request.read()
        fault = next((one for one in self.faults if one.takes(request.method, request.path)), None)
        if fault is not None and fault.harm is Harm.DELAY:
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.harm is Harm.RESET:
            return _drop(request)
        if fault is not None and fault.harm is Harm.REFUSE:
            return _refusal(fault)
        try:
            if request.query.get("watch") in {"true", "1"}:
                return await self._watch(request)
            return await self._pass_on(request, body, fault.harm if fault else None, counts=counts)
        except aiohttp.ClientError:
            return _drop(request)

    async def _pass_on(self, request: web.BaseRequest, body: bytes, harm: Harm | None, *, counts: bool) -> web.Response:
        effect = None
        if counts and request.method != "GET" and "dryRun" not in request.query:
            effect = self._effects.note(label_of(request.method, request.path), apart=bool(APART.search(request.path)))
        if effect is not None and effect.moment is Moment.BEFORE:
            self._effects.strike(effect)
            return _drop(request)
        async with self._open(request, body) as answer:
            content = await answer.read()
        if effect is not None and effect.moment is Moment.AFTER:
            self._effects.strike(effect)
            return _drop(request)
        if harm is Harm.LOST:
            return _drop(request)
        if harm is Harm.TRUNCATE:
            content = content[: len(content) // 2]
        return web.Response(status=answer.status, body=content, headers=_end_to_end(answer.headers))

    def _open(self, request: web.BaseRequest, body: bytes) -> "aiohttp.client._RequestContextManager":
        assert self._session is not None
        headers = {
            name: value for name, value in _end_to_end(request.headers).items() if name.lower() != "accept-encoding"
        }
        url = self._plane.url + request.raw_path
        return self._session.request(
            request.method,
            URL(url, encoded=True),
            data=body or None,
            headers=headers,
            allow_redirects=False,
        )

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        stream: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams.add(stream)
        try:
            async with self._open(request, b"") as answer:
                response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
                await response.prepare(request)
                reading = asyncio.create_task(self._read(answer, request.path, stream))
                try:
                    while (line := await stream.get()) is not None:
                        await response.write(line)
                finally:
                    reading.cancel()
                await response.write_eof()
                return response
        finally:
            self._streams.discard(stream)

    async def _read(self, answer: aiohttp.ClientResponse, path: str, stream: "asyncio.Queue[bytes | None]") -> None:
        try:
            async for line in _lines(answer):
                lines, goes_on = self._altered(path, line)
                for one in lines:
                    stream.put_nowait(one)
                if not goes_on:
                    return
        except aiohttp.ClientError:
            return
        finally:
            stream.put_nowait(None)

    def _altered(self, path: str, line: bytes) -> tuple[list[bytes], bool]:
        fault = next((one for one in self.watch_faults if re.search(one.path, path)), None)
        if fault is None:
            return [line], True
        event = json.loads(line)
        if event["type"] in {"BOOKMARK", "ERROR"}:
            return [line], True
        return fault.alter(event["object"]["metadata"]["uid"], line)


def label_of(method: str, path: str) -> str:
    """Return what a request does, without the part of an Event's name that is drawn."""
    return f"{method} {EVENT_NAME.sub('', path)}"


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    buffer = b""
    async for chunk in answer.content.iter_any():
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _drop(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _refusal(fault: ApiFault) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "refused by the fault proxy",
        "reason": fault.reason,
        "code": fault.status,
    }
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    return web.json_response(body, status=fault.status, headers=headers)
