"""Reaching database servers by other addresses than the cluster's, such as a port-forward's."""

import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from tenantry_operator.cli.failure import CommandFailed
from tenantry_operator.clients.postgres import Connection, ServerAddress, Servers

EVERY = ""
"""The server of a detour that names none."""


def parse_through(text: str) -> tuple[str, str, int]:
    """Read ``[SERVER=]HOST:PORT``; return the server or "", the IP address and the port. Raises CommandFailed."""
    server, sign, place = text.rpartition("=")
    host, colon, port = place.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536 or (sign and not server):
        raise CommandFailed(f"--through takes HOST:PORT or SERVER=HOST:PORT, not {text}")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise CommandFailed(f"--through: {host} has no address: {error.strerror or error}") from error
    return server, str(found[0][4][0]), int(port)


class Detours(Servers):
    """Connections to servers that change nothing, some of them by another address.

    Every session is read-only by the server's own word, whatever is asked of it.
    """

    def __init__(self, application_name: str, through: Iterable[str] = ()) -> None:
        super().__init__(application_name)
        parsed = (parse_through(one) for one in through)
        self._detours: Mapping[str, tuple[str, int]] = {server: (host, port) for server, host, port in parsed}

    @asynccontextmanager
    async def connection(self, address: ServerAddress, *, database: str | None = None) -> AsyncIterator[Connection]:
        """Lend a connection as `Servers.connection` does."""
        async with super().connection(self._by_detour(address), database=database) as connection:
            await connection.execute("SET default_transaction_read_only = on")
            yield connection

    def _by_detour(self, address: ServerAddress) -> ServerAddress:
        server = address.name.partition("/")[0]
        found = self._detours.get(server) or self._detours.get(EVERY)
        if found is None:
            return address
        host, port = found
        return replace(address, host_address=host, port=port)
