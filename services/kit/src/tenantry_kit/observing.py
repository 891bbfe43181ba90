"""The outermost layer: ids, one response line at a level by outcome, metrics, and an answer to what nobody foresaw."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenantry_kit.correlation import REQUEST_ID_HEADER, Correlation, correlate, correlating
from tenantry_kit.logs import Logger
from tenantry_kit.metrics import Metrics
from tenantry_kit.problems import INTERNAL, Problem, problem_response

CLIENT_CLOSED_REQUEST = 499
QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked every few seconds by machines: their good answers are logged at debug."""

_SECURITY_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


@dataclass
class _Response:
    """What is known of the response so far."""

    status: int | None = None
    sent_bytes: int = 0


class Observing:
    """Wraps the whole application. Never lets an exception through to the server."""

    def __init__(
        self, app: ASGIApp, *, logger: Logger, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.app = app
        self._logger = logger
        self._metrics = metrics
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        ids = correlate(headers)
        scope.setdefault("state", {})["request_id"] = ids.request_id
        with correlating(ids), self._metrics.in_flight.track_inprogress():
            await self._serve(scope, receive, send, ids=ids)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, ids: Correlation) -> None:
        started = self._monotonic()
        response = _Response()
        sending = _recorded(send, response, ids.request_id)
        try:
            await self.app(scope, receive, sending)
        except Exception:
            self._logger.exception("request_failed", **_place(scope))
            if response.status is None:
                await problem_response(Problem(INTERNAL), ids.request_id)(scope, receive, sending)
            else:
                response.status = 500
                raise
        finally:
            self._report(scope, response, self._monotonic() - started)

    def _report(self, scope: Scope, response: _Response, seconds: float) -> None:
        # Without a status the caller went away, or we were stopped, before there was an answer.
        status = response.status or CLIENT_CLOSED_REQUEST
        place = _place(scope)
        self._metrics.requests.labels(place["method"], place["route"], str(status)).inc()
        self._metrics.duration.labels(place["method"], place["route"]).observe(seconds)
        self._logger.log(
            level_of(status, place["route"]),
            "request",
            **place,
            path=scope["path"],
            status=status,
            duration_ms=round(seconds * 1000, 1),
            response_bytes=response.sent_bytes,
        )


def level_of(status: int, route: str) -> int:
    """Return the log level of an answer: 5xx error, 4xx warning, else info; good answers to probes debug."""
    if status >= 500:
        return 40
    if status >= 400:
        return 30
    return 10 if route in QUIET_ROUTES else 20


KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _place(scope: Scope) -> dict[str, str]:
    """Return method and route template: few values, whatever callers send."""
    method = scope["method"] if scope["method"] in KNOWN_METHODS else "other"
    route = scope.get("route")
    return {"method": method, "route": getattr(route, "path", None) or "unmatched"}


def _recorded(send: Send, response: _Response, request_id: str) -> Send:
    """Return a `send` that keeps note of the response and adds the headers that every response has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            added = [header for header in _SECURITY_HEADERS if header[0] not in present]
            added.append((REQUEST_ID_HEADER.encode(), request_id.encode()))
            message["headers"] = [*message["headers"], *added]
        else:
            response.sent_bytes += len(message.get("body", b""))
        await send(message)

    return sending
