"""Connections to the API server that are closed when their owner says so, and not some time later."""

import asyncio
import socket
import ssl
from typing import Final
from weakref import WeakSet

import aiohttp

from tenantry_operator.clients.official import RESTClientObject

CLOSE_LIMIT: Final = 1.0
"""Seconds that the other side gets to say goodbye."""
LOOK_INTERVAL: Final = 0.005


class Connections:
    """Makes connectors, and knows every connection that they opened.

    A request that is cancelled midway gives its connection up, and TLS takes a round trip to end it. The session knows
    nothing of it any more, so that to close the session waits for the others only.
    """

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def connector(self, context: ssl.SSLContext | None, *, limit: int) -> aiohttp.TCPConnector:
        """Make a connector of at most so many connections; 0 is without limit."""
        return aiohttp.TCPConnector(limit=limit, ssl=True if context is None else context, socket_factory=self._open)

    async def closed(self) -> None:
        """Wait until all are closed, at most a second."""
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                while any(one.fileno() >= 0 for one in self._sockets):  # noqa: ASYNC110  sockets tell nobody
                    await asyncio.sleep(LOOK_INTERVAL)
        except TimeoutError:
            return

    def _open(self, address: aiohttp.AddrInfoType) -> socket.socket:
        opened = socket.socket(*address[:3])
        self._sockets.add(opened)
        return opened


class Transport(RESTClientObject):
    """The client's own transport; to close it also ends what was given up midway."""

    _connections: Connections

    def _create_connector(self) -> aiohttp.TCPConnector:
        self._connections = Connections()
        return self._connections.connector(self.ssl_context, limit=self.maxsize)

    async def close(self) -> None:
        await super().close()
        if self.pool_manager is not None:
            await self._connections.closed()
