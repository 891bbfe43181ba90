"""The watch: kopf follows the API server, and what it sees goes to the cache and the queue.

Of kopf we take watching, reconnecting and resuming. It runs in threads of its own, for at its end it cancels every
task that was begun after it in its loop. Nothing here writes: ``on.event`` handlers set no finalizer and no
annotation, and posting is off.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tenantry_operator.clients.kube import ApiError, Gone, Kube, Page, RawObject, Resource
from tenantry_operator.engine.cache import ObjectCache, key_of, resource_version
from tenantry_operator.engine.clock import Clock
from tenantry_operator.engine.queue import Key, Lane
from tenantry_operator.metrics import Metrics

logger = logging.getLogger(__name__)

COMPARED_IN_A_SECOND = 100
"""Objects, on average: to compare 10,000 takes about a second of a core, most of it to read who wrote which field."""

Enqueue = Callable[[Key, Lane], None]
Forget = Callable[[Key], None]
Owners = Callable[[RawObject], Sequence[Key]]


def itself(kind: str) -> Owners:
    """Make an object's own key the one to look at."""
    return lambda obj: (key_of(kind, obj),)


@dataclass(frozen=True)
class Watched:
    """One resource type to follow. ``owners`` says which keys an object's change concerns; none: it is not kept."""

    resource: Resource
    owners: Owners
    labels: str = ""
    """A label selector; empty takes all."""
    namespace: str | None = None
    """None follows the whole cluster."""
    metadata_only: bool = False


@dataclass
class _Seen:
    """What the watch brought, apart from what we wrote or listed ourselves."""

    versions: dict[Key, str] = field(default_factory=dict)
    behind: dict[Key, float] = field(default_factory=dict)
    """Since when the API server is known to hold something newer."""


@dataclass(frozen=True)
class _Primed:
    """What the cache was filled with, until the watch goes on from there."""

    version: str
    """Of the list."""
    versions: dict[Key, str]


class Feed:
    """Keeps the cache equal to the API server, and queues what changed.

    The watch is not trusted: `check` lists everything and compares. What the watch missed is put right, and a watch
    that stays behind makes `behind` grow, which /healthz shows.
    """

    def __init__(
        self,
        kube: Kube,
        cache: ObjectCache,
        enqueue: Enqueue,
        *,
        forget: Forget,
        watched: Sequence[Watched],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._enqueue = enqueue
        self._forget = forget
        self._watched: Mapping[str, Watched] = {one.resource.kind: one for one in watched}
        self._clock = clock
        self._metrics = metrics
        self._seen = {kind: _Seen() for kind in self._watched}
        self._primed: dict[str, _Primed] = {}

    @property
    def watched(self) -> Sequence[Watched]:
        return tuple(self._watched.values())

    def kinds(self) -> tuple[str, ...]:
        return tuple(self._watched)

    async def prime(self) -> None:
        """Fill the cache before the first pass, so that no pass takes what is not loaded yet for absent.

        What somebody waits for goes before the others, of which there may be thousands that are only looked at.
        """
        for one in self.watched:
            await self._prime(one)

    async def _prime(self, one: Watched) -> None:
        version, versions = "", dict[Key, str]()
        async for page in self._pages(one, metadata_only=one.metadata_only):
            version = page.version
            for obj in page.items:
                versions[key_of(one.resource.kind, obj)] = resource_version(obj)
                self._changed(one, obj, Lane.NEWS if _is_awaited(obj) else Lane.ROUTINE)
        if version:
            self._primed[one.resource.kind] = _Primed(version, versions)

    def begins(self) -> Mapping[str, str]:
        """Return for each kind the resourceVersion that a watch may go on from, for all before it is in the cache."""
        return {kind: primed.version for kind, primed in self._primed.items()}

    def begun(self, kind: str) -> None:
        """Note that the watch goes on from there, as if it had brought what there was."""
        primed = self._primed.pop(kind, None)
        if primed is not None:
            self._seen[kind].versions = primed.versions | self._seen[kind].versions

    def listed(self, kind: str, objects: Sequence[RawObject]) -> None:
        """Take what a watch found there when it had to begin anew."""
        resource = self._watched[kind].resource
        typed = {"apiVersion": resource.api_version, "kind": kind}
        for obj in objects:
            self.event(kind, None, obj | typed)

    def event(self, kind: str, event_type: str | None, obj: RawObject) -> None:
        """Take one watch event; ``event_type`` is None for what the watch's own first listing brought."""
        one = self._watched[kind]
        key = key_of(kind, obj)
        self._metrics.watch_events.labels(kind).inc()
        self._seen[kind].versions[key] = resource_version(obj)
        if event_type == "DELETED":
            self._seen[kind].versions.pop(key, None)
            self._deleted(one, key, version=resource_version(obj))
        else:
            self._changed(one, obj, Lane.NEWS)

    def behind(self) -> float:
        """Return for how many seconds the watch is known to have missed something; 0 when it has not."""
        now = self._clock.monotonic()
        return max((now - since for seen in self._seen.values() for since in seen.behind.values()), default=0.0)

    async def check(self) -> int:
        """List everything and compare; return how many objects. Raises ApiError when the server cannot be asked."""
        return sum([await self._check(one) for one in self.watched])

    async def _check(self, one: Watched) -> int:
        kind = one.resource.kind
        keys = [key for key in self._cache.keys(kind) if one.namespace in {None, key.namespace}]
        before = {key: resource_version(self._cache.get(key) or {}) for key in keys}
        listed = set[Key]()
        async for page in self._pages(one, metadata_only=True):
            for item in page.items:
                key = key_of(kind, item)
                listed.add(key)
                await self._compare(one, key, item)
        for key in before.keys() - listed:
            held = self._cache.get(key)
            if held is not None and resource_version(held) == before[key]:
                self._metrics.watch_missed.labels(kind).inc()
                self._deleted(one, key)
        behind = self._seen[kind].behind
        for key in behind.keys() - listed:
            del behind[key]
        return len(listed)

    async def _compare(self, one: Watched, key: Key, item: RawObject) -> None:
        seen = self._seen[one.resource.kind]
        if not one.owners(item) or _reaches(seen.versions.get(key), resource_version(item)):
            seen.behind.pop(key, None)
            return
        if key not in seen.behind:
            # The event may be on its way: the next look decides.
            seen.behind[key] = self._clock.monotonic()
            return
        held = self._cache.get(key)
        if held is not None and _reaches(resource_version(held), resource_version(item)):
            return  # our own write told us
        self._metrics.watch_missed.labels(key.kind).inc()
        logger.warning("the watch missed a change", extra={"object": str(key)})
        fresh = item if one.metadata_only else await self._kube.get(one.resource, key.name, namespace=key.namespace)
        if fresh is not None:
            self._changed(one, fresh, Lane.ROUTINE)

    async def _pages(self, one: Watched, *, metadata_only: bool) -> AsyncIterator[Page]:
        """Yield what there is; once more and at once, if the server gives up its place meanwhile."""
        ask = partial(
            self._kube.pages,
            one.resource,
            namespace=one.namespace,
            labels=one.labels or None,
            metadata_only=metadata_only,
        )
        try:
            async for page in ask():
                yield page
        except Gone:
            async for page in ask(size=0):
                yield page

    def _changed(self, one: Watched, obj: RawObject, lane: Lane) -> None:
        owners = one.owners(obj)
        if owners and self._cache.observed(one.resource.kind, obj):
            for owner in owners:
                self._enqueue(owner, lane)

    def _deleted(self, one: Watched, key: Key, *, version: str = "") -> None:
        held = self._cache.get(key)
        if held is not None and self._cache.remove(key, version=version):
            # What is made again under the name is another object, and has not failed yet.
            self._forget(key)
            for owner in one.owners(held):
                self._enqueue(owner, Lane.NEWS)


def _is_awaited(obj: RawObject) -> bool:
    """Whether its status does not speak of it as it is now; a hint, of objects whose status is read."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    told = status.get("observedGeneration", metadata.get("generation"))
    return told != metadata.get("generation") or bool(metadata.get("deletionTimestamp"))


def _reaches(version: str | None, wanted: str) -> bool:
    if version is None:
        return False
    if version.isdigit() and wanted.isdigit():
        return int(version) >= int(wanted)
    return version == wanted


async def keep_checking(feed: Feed, *, interval: float) -> None:
    """Check again and again; a server that does not answer is the Lease's matter."""
    compared = 0
    while True:
        # Whether what is not there yet is on its way is to be known soon: it makes /healthz fail.
        await asyncio.sleep(interval if feed.behind() else rest(interval, compared))
        try:
            compared = await feed.check()
        except ApiError as error:
            logger.warning("the watch could not be checked", extra={"error": str(error)})


def rest(interval: float, compared: int) -> float:
    """Return the seconds until the next check, which takes longer and longer the more objects there are."""
    return max(interval, compared / COMPARED_IN_A_SECOND)
