"""A TCP proxy that can play a network going dark: connections stay open, and nothing passes any more."""

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

CHUNK = 65536


@dataclass
class _Link:
    """One connection through the proxy: two sockets, and a gate that both directions pass."""

    near: socket.socket
    far: socket.socket
    gate: threading.Event = field(default_factory=threading.Event)
    pumps: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.gate.set()
        for source, target in ((self.near, self.far), (self.far, self.near)):
            pump = threading.Thread(target=self._pump, args=(source, target), daemon=True)
            self.pumps.append(pump)
            pump.start()

    def end(self) -> None:
        self.gate.set()
        for end in (self.near, self.far):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for pump in self.pumps:
            pump.join(5)
        self.near.close()
        self.far.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self.gate.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


class TcpProxy:
    """Listens on a free loopback port and passes everything to ``host:port``, until told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._links: list[_Link] = []
        self._accepting = threading.Thread(target=self._accept, name="tcp proxy", daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    def freeze(self) -> None:
        """Let nothing pass on the connections that are open now; new ones work."""
        for link in self._links:
            link.gate.clear()

    def thaw(self) -> None:
        for link in self._links:
            link.gate.set()

    def refuse(self) -> None:
        """End every connection and accept no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5)
        self._listener.close()
        for link in self._links:
            link.end()
        self._links.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                link = _Link(near, socket.create_connection(self._target))
            except OSError:
                near.close()
                continue
            self._links.append(link)
            link.start()
