"""One process leads, by a Lease. Who loses it ends."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from tenantry_crds import names
from tenantry_operator.clients.kube import LEASES, AlreadyExists, ApiError, Conflict, Kube
from tenantry_operator.engine.clock import Clock

logger = logging.getLogger(__name__)

LEASE_NAME = names.LEASE_NAME


class NotLeading(Exception):
    """This process may not write: its Lease is lost, or was not renewed in time."""


@dataclass(frozen=True)
class ElectionTimes:
    """Seconds. ``renew_deadline`` is below ``lease_duration``: a leader stops before another one may start."""

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    renew_interval: float = 2.0


class Election:
    """Holds the Lease ``name``, of which each shard has one.

    Each start of leading counts ``transitions`` up by one, also when a restarted process finds its own name in the
    Lease: sessions of the process before must be told from those of this one. Another's Lease is taken when it did
    not change for ``lease_duration`` on our own clock; its times are not believed. Requests of ``kube`` must time out
    well before ``renew_deadline``.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        identity: str,
        clock: Clock,
        times: ElectionTimes | None = None,
        name: str = LEASE_NAME,
    ) -> None:
        self._kube = kube
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._times = times or ElectionTimes()
        self._lease: dict[str, Any] | None = None
        self._renewed: float | None = None
        self._lost = False
        self._seen: tuple[str, float] = ("", 0.0)

    @property
    def transitions(self) -> int:
        """The number of this leadership; 0 before there is one."""
        return int(self._lease["spec"]["leaseTransitions"]) if self._lease else 0

    def leading(self) -> bool:
        """Say whether this process may write now. One that was stopped for too long sees at once that it may not."""
        if self._renewed is None or self._lost:
            return False
        return self._clock.monotonic() - self._renewed < self._times.renew_deadline

    def check(self) -> None:
        """Raise NotLeading unless `leading`. Called before every write."""
        if not self.leading():
            raise NotLeading("this process does not hold the Lease, or could not renew it in time")

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._try():  # noqa: ASYNC110  the Lease is polled, nothing here can wake us
            await asyncio.sleep(self._times.renew_interval)
        logger.info("leading", extra={"identity": self._identity, "transitions": self.transitions})

    async def hold(self) -> None:
        """Renew until the Lease is lost; then return."""
        while not self._lost:
            await asyncio.sleep(self._times.renew_interval)
            await self._renew()
            if not self.leading():
                self._lost = True
        logger.error("the Lease is lost", extra={"identity": self._identity})

    async def release(self) -> None:
        """Give the Lease back, so that another process need not wait. Raises nothing."""
        if self._lease is None or not self.leading():
            return
        body = self._body(self._lease, holder="")
        self._lost = True
        try:
            await self._kube.replace(LEASES, body)
        except ApiError as error:
            logger.warning("the Lease was not released", extra={"error": str(error)})

    async def _try(self) -> bool:
        started = self._clock.monotonic()
        try:
            lease = await self._kube.get(LEASES, self._name, namespace=self._namespace)
            if lease is not None and not self._free(lease):
                return False
            self._lease = await self._take(lease)
        except (AlreadyExists, Conflict):
            return False
        except ApiError as error:
            logger.warning("the Lease cannot be read or written", extra={"error": str(error)})
            return False
        self._renewed = started
        return True

    def _free(self, lease: dict[str, Any]) -> bool:
        holder = lease.get("spec", {}).get("holderIdentity")
        if holder in (None, "", self._identity):
            return True
        version = lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, self._clock.monotonic())
        return self._clock.monotonic() - self._seen[1] >= self._times.lease_duration

    async def _take(self, lease: dict[str, Any] | None) -> dict[str, Any]:
        if lease is None:
            return await self._kube.create(LEASES, self._body(None, holder=self._identity, taking=True))
        return await self._kube.replace(LEASES, self._body(lease, holder=self._identity, taking=True))

    async def _renew(self) -> None:
        assert self._lease is not None  # noqa: S101  acquire came first
        started = self._clock.monotonic()
        try:
            self._lease = await self._kube.replace(LEASES, self._body(self._lease, holder=self._identity))
        except Conflict:
            await self._look_again()
        except ApiError as error:
            logger.warning("the Lease was not renewed", extra={"error": str(error)})
        else:
            self._renewed = started

    async def _look_again(self) -> None:
        """Somebody else wrote the Lease: lost, unless it is still ours (an own write whose answer was lost)."""
        try:
            lease = await self._kube.get(LEASES, self._name, namespace=self._namespace)
        except ApiError as error:
            logger.warning("the Lease cannot be read", extra={"error": str(error)})
            return
        ours = (self._identity, self.transitions)
        spec = (lease or {}).get("spec", {})
        if lease is None or (spec.get("holderIdentity"), spec.get("leaseTransitions")) != ours:
            self._lost = True
        else:
            self._lease = lease

    def _body(self, lease: dict[str, Any] | None, *, holder: str, taking: bool = False) -> dict[str, Any]:
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = (lease or {}).get("spec", {})
        metadata = (lease or {}).get("metadata") or {"name": self._name, "namespace": self._namespace}
        spec = {
            **old,
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._times.lease_duration)),
            "renewTime": now,
            "acquireTime": now if taking else old.get("acquireTime", now),
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (1 if taking else 0),
        }
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
