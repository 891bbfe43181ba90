"""Knocks at servers that could not be reached, so that nobody waits out a long delay once they are back."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import psycopg

from tenantry_operator.clients.postgres import DatabaseError, ServerAddress, Servers
from tenantry_operator.engine.election import NotLeading
from tenantry_operator.engine.queue import Key, Lane

logger = logging.getLogger(__name__)

EVERY: Final = 1.0
"""Seconds between two attempts."""
PATIENCE: Final = 5.0
"""Seconds for one attempt, so that a server that swallows packets delays no other."""

Enqueue = Callable[[Key, Lane], None]


class Recovery:
    """Told by `Servers` what cannot be reached; once that answers, all that waits is looked at.

    ``waiting`` names what says of itself that it waits for a server. While nothing does, nobody knocks.
    """

    def __init__(self, servers: Servers, enqueue: Enqueue, *, waiting: Callable[[], Iterable[Key]]) -> None:
        self._servers = servers
        self._enqueue = enqueue
        self._waiting = waiting
        self._lost: dict[str, ServerAddress] = {}
        self._woken = asyncio.Event()

    def lost(self, address: ServerAddress) -> None:
        """Take note that no connection could be had, for a reason that may pass."""
        self._lost[address.name] = address
        self._woken.set()

    async def run(self, *, every: float = EVERY) -> None:
        """Knock until cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(every)
            await self.once()

    async def once(self) -> None:
        """Knock at each server once."""
        keys = [*self._waiting()]
        if not keys:
            self._lost.clear()
        answered = await asyncio.gather(*(self._answers(address) for address in self._lost.copy().values()))
        if any(answered):
            logger.info("a server answers again", extra={"waiting": len(keys)})
            for key in keys:
                self._enqueue(key, Lane.ROUTINE)
        if not self._lost:
            self._woken.clear()

    async def _answers(self, address: ServerAddress) -> bool:
        with suppress(DatabaseError, psycopg.Error, NotLeading, TimeoutError):
            async with asyncio.timeout(PATIENCE), self._servers.connection(address) as connection:
                await connection.execute("SELECT 1")
                self._lost.pop(address.name, None)
                return True
        return False
