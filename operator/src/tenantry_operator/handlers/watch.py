"""One kopf operator in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import kopf

from tenantry_operator.clients.connections import Connections
from tenantry_operator.clients.kube import PAGE, Configuration, RawObject
from tenantry_operator.clients.watching import watch_session
from tenantry_operator.handlers.feed import Feed, Watched

logger = logging.getLogger(__name__)

RESTART_DELAY = 1.0
STOP_GRACE = 1.0
"""Seconds that kopf gets to end by itself; without an API server it would take longer."""
STOP_LIMIT = 5.0


class Backoffs:
    """Seconds between attempts to reach the API server: quick at first, and without end."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.1, 0.2, 0.5, 1.0, 2.0)
        while True:
            yield 3.0


class NoDifference(kopf.DiffBaseStorage):
    """Keeps kopf from copying each object to find out what of it changed, which we never ask: half of its work."""

    def build(self, **_: object) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: object) -> None: ...


class WatchThread:
    """Follows resource types of one scope (the cluster, or one namespace) until `stop`.

    The feed is told in the loop of the thread that called `start`. When kopf ends by itself, it is started anew.

    kopf makes a task, a queue and a memory for each object that it lists, which is most of what an operator at rest
    would hold. So what it lists goes to the feed by itself, and at the start there is nothing to list: the watch goes
    on from where the feed has filled the cache.
    """

    def __init__(
        self,
        configuration: Configuration,
        watched: Sequence[Watched],
        feed: Feed,
        *,
        namespace: str | None,
        restarted: Callable[[], None],
    ) -> None:
        self._configuration = configuration
        self._watched = tuple(watched)
        self._feed = feed
        self._kinds = {one.resource.plural: one.resource.kind for one in self._watched}
        self._begins: dict[str, str] = {}
        self._namespace = namespace
        self._restarted = restarted
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._main: asyncio.Task[object] | None = None
        self._sessions: list[aiohttp.ClientSession] = []
        self._connections = Connections()
        self._stopping = threading.Event()
        self._running = threading.Event()

    def start(self) -> None:
        home = asyncio.get_running_loop()
        begins = self._feed.begins()
        self._begins = {kind: begins[kind] for kind in self._kinds.values() if kind in begins}
        name = f"watch {self._namespace or 'cluster'}"
        self._thread = threading.Thread(target=self._run, args=(home,), name=name, daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """Say whether kopf is running now."""
        return self._running.is_set() and self._thread is not None and self._thread.is_alive()

    async def stop(self) -> None:
        """End the watch; wait at most a few seconds for it, for it holds nothing."""
        self._stopping.set()
        if self._thread is None:
            return
        self._tell(self._stop.set if self._stop else None)
        await asyncio.to_thread(self._thread.join, STOP_GRACE)
        self._tell(self._main.cancel if self._main else None)
        await asyncio.to_thread(self._thread.join, STOP_LIMIT)

    def _tell(self, what: Callable[[], object] | None) -> None:
        """Call something in the thread's loop, unless that has ended."""
        if what is not None and self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(what)

    def _run(self, home: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._operate(home))
            except asyncio.CancelledError:
                logger.debug("the watch was cut short")
            except Exception:
                logger.exception("the watch ended unexpectedly")
            finally:
                self._running.clear()
            if not self._stopping.wait(RESTART_DELAY):
                home.call_soon_threadsafe(self._restarted)

    async def _operate(self, home: asyncio.AbstractEventLoop) -> None:
        self._loop, self._stop, self._main = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()
        if self._stopping.is_set():
            return
        ready = asyncio.Event()
        waiting = asyncio.create_task(self._note_ready(ready))
        try:
            await kopf.operator(
                registry=self._registry(home),
                settings=self._settings(),
                # Without one, kopf asks for the user's name, which a container's user has not.
                identity="tenantry",  # type: ignore[arg-type]  # a NewType that kopf does not export
                standalone=True,
                clusterwide=self._namespace is None,
                namespaces=[self._namespace] if self._namespace else (),
                stop_flag=self._stop,
                ready_flag=ready,
            )
        finally:
            waiting.cancel()
            for session in self._sessions:
                await session.close()
            self._sessions.clear()
            await self._connections.closed()

    async def _note_ready(self, ready: asyncio.Event) -> None:
        await ready.wait()
        self._running.set()

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.persistence.diffbase_storage = NoDifference()
        settings.process.ultimate_exiting_timeout = None
        settings.networking.error_backoffs = Backoffs()
        settings.networking.connect_timeout = 10
        settings.watching.reconnect_backoff = 0.1
        settings.watching.chunk_size = PAGE
        # In one namespace there is no right to follow the cluster's types; they are read once.
        settings.scanning.disabled = self._namespace is not None
        for one in self._watched:
            if one.labels:
                settings.watching.label_selectors[_selects(one)] = one.labels
        return settings

    def _registry(self, home: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._logs_in(home))
        for one in self._watched:
            resource = one.resource
            subscribe = kopf.on.event(
                group=resource.group,
                version=resource.version,
                plural=resource.plural,
                id=f"event-{resource.plural}",
                registry=registry,
            )
            subscribe(self._handler(resource.kind, home))
        return registry

    def _handler(self, kind: str, home: asyncio.AbstractEventLoop) -> Callable[..., Any]:
        async def handle(event: kopf.RawEvent, **_: Any) -> None:
            home.call_soon_threadsafe(self._feed.event, kind, event["type"], dict(event["object"]))

        return handle

    def _logs_in(self, home: asyncio.AbstractEventLoop) -> Callable[..., Any]:
        async def login(**_: Any) -> kopf.AiohttpSession:
            plurals = {one.resource.plural for one in self._watched if one.metadata_only}
            session = watch_session(
                self._configuration,
                self._connections,
                metadata_only=plurals,
                listed=lambda plural, answer: self._listed(home, plural, answer),
            )
            self._sessions.append(session)
            return kopf.AiohttpSession(aiohttp_session=session, server=self._configuration.host)

        return login

    def _listed(self, home: asyncio.AbstractEventLoop, plural: str, answer: RawObject) -> None:
        """Take the objects out of what kopf lists, and have it go on from what the feed has got already."""
        kind = self._kinds.get(plural)
        if kind is None:
            return
        objects, answer["items"] = answer["items"], []
        begin = self._begins.pop(kind, None)
        if begin is None:
            home.call_soon_threadsafe(self._feed.listed, kind, objects)
            return
        answer["metadata"] = {"resourceVersion": begin}
        home.call_soon_threadsafe(self._feed.begun, kind)


def _selects(one: Watched) -> Callable[[Any], bool]:
    wanted = (one.resource.group, one.resource.plural)
    return lambda resource: (resource.group, resource.plural) == wanted
