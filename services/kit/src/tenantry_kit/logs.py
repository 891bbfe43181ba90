"""Structured logs: one line of JSON for machines, or a pretty line for people, with the ids of the request on each.

A line never holds a secret: fields whose name says so are blanked, and API keys, bearer tokens, passwords in
connection strings and rows quoted by Postgres are cut out of every text, tracebacks included.
"""

import logging
import re
from collections.abc import Mapping
from typing import Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tenantry_kit.correlation import current

LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
REDACTED = "[redacted]"

_SECRET_FIELD = re.compile(r"authorization|password|passwd|secret|token|api_?key|cookie|cursor_key", re.IGNORECASE)
_SECRET_TEXT = (
    (re.compile(r"\btk_[a-z]{2,8}_[0-9A-Za-z]{16,}"), f"tk_{REDACTED}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"(?i)\b(password|passwd|secret)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&]+)"), rf"\1\2{REDACTED}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/@]+):[^\s@/]+@"), rf"\1:{REDACTED}@"),
    # Postgres quotes whole rows here: "DETAIL:  Failing row contains (…)".
    (re.compile(r"(?m)^(DETAIL|CONTEXT):.*$"), rf"\1: {REDACTED}"),
)


class Logger(Protocol):
    """What the kit needs of a logger."""

    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...
    def exception(self, event: str, **fields: object) -> None: ...
    def log(self, level: int, event: str, **fields: object) -> None: ...


class Threshold:
    """The level below which lines are dropped. It can be changed while the service runs."""

    def __init__(self, level: str) -> None:
        self.level = level

    def admits(self, level: str) -> bool:
        """Say whether a line of this level is written."""
        return LEVELS[level] >= LEVELS[self.level]


def make_logger(stream: TextIO, format_: str, *, threshold: Threshold, service: str) -> Logger:
    """Return a logger that writes lines in the format `json` or `pretty` to `stream`."""

    def drop_below_threshold(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if not threshold.admits("error" if method == "exception" else method):
            raise structlog.DropEvent
        return event

    processors: list[Processor] = [
        drop_below_threshold,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        add_correlation,
        structlog.processors.format_exc_info,
        redact,
        *_rendering(format_),
    ]
    logger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),
        service=service,
    )
    return cast("Logger", logger)


def _rendering(format_: str) -> list[Processor]:
    if format_ == "pretty":
        return [drop_nulls, structlog.dev.ConsoleRenderer(colors=False)]
    return [structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]


def drop_nulls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave out what is null: people read it as noise."""
    return {name: value for name, value in event.items() if value is not None}


def add_correlation(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the ids of the request on the line; null where there is none."""
    ids = current()
    for name in ("request_id", "trace_id", "span_id", "session_id", "tenant", "principal"):
        event.setdefault(name, getattr(ids, name, None))
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank what is a secret by its name or its form."""
    return {name: REDACTED if _SECRET_FIELD.search(name) else _redacted(value) for name, value in event.items()}


def _redacted(value: object) -> object:
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXT:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {name: REDACTED if _SECRET_FIELD.search(str(name)) else _redacted(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else _redacted(str(value))


class StandardLibraryLines(logging.Handler):
    """Turns the lines of libraries, written by the standard library's logging, into lines of ours."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Levels between ours are rounded down."""
        level = max((number for number in LEVELS.values() if number <= record.levelno), default=10)
        self._logger.log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info)
