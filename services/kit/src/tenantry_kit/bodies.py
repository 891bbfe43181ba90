"""Limits on request bodies, before anything parses them: bytes, and levels of nesting."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenantry_kit.problems import BODY_TOO_LARGE, MALFORMED_BODY, Problem, problem_response

# It matches at every quote, closed or not, so that no body makes the search quadratic.
_STRING = re.compile(rb'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


class BodyLimits:
    """Reads a body whole, refuses one that is too long (413) or too deep (400), and hands on the rest."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_depth: int) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_depth = max_depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except Problem as problem:
            await problem_response(problem, scope.get("state", {}).get("request_id"))(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, _Replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body, or None when the caller went away before its end."""
        if self._declared(scope) > self.max_bytes:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self.max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                break
        if depth_exceeds(bytes(body), self.max_depth):
            raise Problem(MALFORMED_BODY, f"The body nests deeper than {self.max_depth} levels.")
        return bytes(body)

    @staticmethod
    def _declared(scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                return int(value)
        return 0

    def _too_large(self) -> Problem:
        # The rest of the body is not read, so the connection cannot be used again.
        return Problem(BODY_TOO_LARGE, extra={"limit": self.max_bytes}, headers={"Connection": "close"})


class _Replay:
    """An ASGI `receive` that gives a body that was read already, then what the connection says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def depth_exceeds(body: bytes, limit: int) -> bool:
    """Say whether JSON text opens more than `limit` brackets at once. What is no JSON is for the parser to refuse."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False
