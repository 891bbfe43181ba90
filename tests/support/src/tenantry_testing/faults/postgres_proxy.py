"""A proxy before a Postgres server that knows each statement (protocol version 3)."""

import asyncio
import ssl
import struct
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from tenantry_testing.faults.effects import Effect, Effects, Moment
from tenantry_testing.faults.loop import LoopThread
from tenantry_testing.faults.statements import Judge
from tenantry_testing.postgres import PostgresServer

CANCEL: Final = 80877102
SSL: Final = 80877103
GSS: Final = 80877104
HEAD: Final = 5
"""Bytes of a message before its body: type and length."""


class Dropped(Exception):
    """The connection is to be ended here."""


@dataclass
class _Conversation:
    """One session: what was asked and is not answered, and the statements that were prepared."""

    judge: Judge = field(default_factory=Judge)
    prepared: dict[bytes, str] = field(default_factory=dict)
    portals: dict[bytes, str] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)
    # The start of a session ends with ReadyForQuery, too.
    asked: deque[Effect | None] = field(default_factory=lambda: deque([None]))


class PostgresProxy:
    """Listens on a free loopback port, with the server's own certificate, and passes on by TLS.

    Since both sides show the same certificate, verify-full and the channel binding of SCRAM hold. A batch is a Query,
    or what comes up to a Sync. `delay`, `dark` and `refusing` may be set at any time.
    """

    def __init__(self, server: PostgresServer, effects: Effects, loop: LoopThread) -> None:
        self._server = server
        self._effects = effects
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._inside = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._inside.load_cert_chain(server.folder / "server.crt", server.folder / "server.key")
        self._outside = ssl.create_default_context(cafile=str(server.ca_file))
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.batches = 0
        """Queries and Syncs that were asked for, whatever they do."""
        self.attempts = 0
        """Connections that were tried, also those that were refused."""
        self.delay = 0.0
        """Seconds that each batch waits."""
        self.refusing = False
        """New connections are ended at once."""
        self._light = asyncio.Event()
        self._light.set()

    def __enter__(self) -> Self:
        self._listener = self._loop.run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._end_all(for_good=True))

    def reset(self) -> None:
        """End every connection."""
        self._loop.run(self._end_all())

    def go_dark(self) -> None:
        """Pass nothing on, in no direction, on connections that stay open."""
        self._loop.loop.call_soon_threadsafe(self._light.clear)

    def lighten(self) -> None:
        self._loop.loop.call_soon_threadsafe(self._light.set)

    async def _end_all(self, *, for_good: bool = False) -> None:
        if for_good and self._listener is not None:
            self._listener.close()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.attempts += 1
        try:
            if not self.refusing:
                await self._serve(reader, writer)
        except (OSError, EOFError, Dropped, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await _first_packet(reader)
        while (code := _code(packet)) in (SSL, GSS):
            writer.write(b"S" if code == SSL else b"N")
            await writer.drain()
            if code == SSL:
                await writer.start_tls(self._inside)
            packet = await _first_packet(reader)
        far_reader, far_writer = await self._connect()
        try:
            far_writer.write(packet)
            if code == CANCEL:
                await far_reader.read()
                writer.close()  # with a farewell, which the client waits for
                await writer.wait_closed()
                return
            conversation = _Conversation()
            await _until_one_ends(
                self._ask(reader, far_writer, conversation), self._answer(far_reader, writer, conversation)
            )
        finally:
            far_writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
        writer.write(struct.pack("!II", 8, SSL))
        if await reader.readexactly(1) != b"S":
            raise Dropped
        await writer.start_tls(self._outside, server_hostname=self._server.host)
        return reader, writer

    async def _ask(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, conversation: _Conversation) -> None:
        batch: list[bytes] = []
        while True:
            message = await _message(reader)
            kind = message[:1]
            batch.append(message)
            _note(conversation, kind, message[HEAD:])
            if kind in b"PBDEC":
                continue
            if kind in b"QSF":
                self.batches += 1
                if self.delay:
                    await asyncio.sleep(self.delay)
                conversation.asked.append(self._judge(conversation))
            await self._light.wait()
            far.write(b"".join(batch))
            await far.drain()
            batch.clear()

    def _judge(self, conversation: _Conversation) -> Effect | None:
        queries, conversation.executed = conversation.executed, []
        label = conversation.judge.effect(queries) if queries else None
        if label is None:
            return None
        effect = self._effects.note(label)
        if effect.moment is Moment.BEFORE:
            self._effects.strike(effect)
            raise Dropped
        return effect

    async def _answer(
        self, far: asyncio.StreamReader, writer: asyncio.StreamWriter, conversation: _Conversation
    ) -> None:
        while True:
            message = await _message(far)
            await self._light.wait()
            effect = conversation.asked[0] if conversation.asked else None
            if effect is None or effect.moment is None:
                writer.write(message)
                await writer.drain()
            if message[:1] == b"Z" and conversation.asked:
                conversation.asked.popleft()
                if effect is not None and effect.moment is Moment.AFTER:
                    self._effects.strike(effect)
                    raise Dropped


def _note(conversation: _Conversation, kind: bytes, body: bytes) -> None:
    """Keep what says which statement an Execute runs."""
    if kind == b"Q":
        conversation.executed.append(_text(body))
    elif kind == b"P":
        name, query, _ = body.split(b"\0", 2)
        conversation.prepared[name] = query.decode(errors="replace")
    elif kind == b"B":
        portal, name, _ = body.split(b"\0", 2)
        conversation.portals[portal] = conversation.prepared.get(name, f"unknown statement {name!r}")
    elif kind == b"E":
        portal = body.split(b"\0", 1)[0]
        conversation.executed.append(conversation.portals.get(portal, f"unknown portal {portal!r}"))


def _text(body: bytes) -> str:
    return body.rstrip(b"\0").decode(errors="replace")


def _code(packet: bytes) -> int:
    code: int = struct.unpack("!I", packet[4:8])[0]
    return code


async def _first_packet(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("!I", head)[0] - 4)


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(HEAD)
    return head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(OSError, EOFError, Dropped, asyncio.CancelledError):
                await task
