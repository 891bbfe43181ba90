"""Requests at a steady pace for as long as a context is open, and what came of each."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

WORKERS = 16
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Answer:
    """`fault` is empty for a 200; `greeting` is who answered."""

    seconds: float
    greeting: str
    fault: str


@dataclass
class SteadyRequests:
    """Sends `rate` GETs a second, also when answers are late, up to 16 at a time; connections are kept."""

    url: str
    rate: float = 40.0
    answers: list[Answer] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._end = threading.Event()
        self._idle: SimpleQueue[http.client.HTTPConnection] = SimpleQueue()
        self._begun = time.monotonic()
        self._workers = ThreadPoolExecutor(WORKERS)
        self._pace = threading.Thread(target=self._send)
        self._pace.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._pace.join()
        self._workers.shutdown()
        while not self._idle.empty():
            self._idle.get().close()

    @property
    def faults(self) -> list[str]:
        """Tell of each request that got no 200, with its second."""
        return [f"{answer.seconds:.2f}s {answer.fault}" for answer in self.answers if answer.fault]

    @property
    def greetings(self) -> list[str]:
        return [answer.greeting for answer in self.answers]

    def _send(self) -> None:
        number = 0
        while not self._end.wait(max(0.0, self._begun + number / self.rate - time.monotonic())):
            self._workers.submit(self._request)
            number += 1

    def _request(self) -> None:
        started = time.monotonic() - self._begun
        connection = self._connection()
        try:
            self.answers.append(Answer(started, _greeting(connection, urlsplit(self.url).path), ""))
            self._idle.put(connection)
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            connection.close()
            self.answers.append(Answer(started, "", f"{type(error).__name__}: {error}"))

    def _connection(self) -> http.client.HTTPConnection:
        try:
            return self._idle.get_nowait()
        except Empty:
            parts = urlsplit(self.url)
            return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)


def _greeting(connection: http.client.HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise ValueError(f"{answer.status} {body[:80]!r}")
    return str(json.loads(body)["greeting"])
