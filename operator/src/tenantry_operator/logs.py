"""The operator's log: one line per event, JSON or for people, and never a secret in it."""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

from tenantry_operator.settings import LogFormat, LogLevel

REDACTED = "[redacted]"
SECRET_FIELDS = re.compile(r"password|passwd|secret_?value|token|authorization|api_?key|private_?key", re.IGNORECASE)
SECRET_TEXTS = (
    (re.compile(r"(\w+://[^\s:/@]*:)[^\s@]+@"), rf"\1{REDACTED}@"),
    (re.compile(r"(password\s*=\s*)('[^']*'|\S+)", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(r"\btk_[a-z]{2,8}_[0-9A-Za-z]{20,}"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic) [0-9A-Za-z._~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"SCRAM-SHA-256\$\S+"), REDACTED),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), REDACTED),
)

# Of these, only what an operator's reader can act on.
QUIET = {
    "kopf": logging.WARNING,
    "kubernetes": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
}


def configure_logging(level: LogLevel, log_format: LogFormat, *, stream: Any = None) -> None:
    """Send all logs of the process to ``stream`` (absent: standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter(_as_json if log_format is LogFormat.JSON else _for_people()))
    handler.addFilter(_not_noise)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.value.upper())
    for name, quietest in QUIET.items():
        logging.getLogger(name).setLevel(max(quietest, root.level))
    logging.captureWarnings(capture=True)


Render = Callable[[MutableMapping[str, Any]], str]

OWN_TO_RECORDS: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime"}
"""Whatever else a record has was given by `extra`."""


class _Formatter(logging.Formatter):
    """One line per event: what was said, level, logger, what was given by `extra`, time, and the traceback if any."""

    def __init__(self, render: Render) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            **{name: value for name, value in vars(record).items() if name not in OWN_TO_RECORDS},
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")[:-6] + "Z",
        }
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            event["stack"] = record.stack_info
        return self._render(redact(event))


def _as_json(event: MutableMapping[str, Any]) -> str:
    return json.dumps(event, default=str)


def _for_people() -> Render:
    # It loads what colours a terminal, which no operator in a cluster needs.
    from structlog.dev import ConsoleRenderer  # noqa: PLC0415

    renderer = ConsoleRenderer(colors=False, timestamp_key="time", sort_keys=False)
    return lambda event: renderer(None, "", event)


def redact(event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of a log line, by the name of the field and by the form of the text."""
    for name, value in event.items():
        event[name] = _field(name, value)
    return event


def _field(name: str, value: Any) -> Any:
    # A number under such a name is a count.
    hidden = SECRET_FIELDS.search(name) and isinstance(value, str | bytes) and value
    return REDACTED if hidden else _clean(value)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        for pattern, replacement in SECRET_TEXTS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {name: _field(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


# kopf runs in a thread: it cannot have signals, is cut short at the end, and tries again by itself what failed.
_NOISE = ("OS signals are ignored", "Cleanup activity is", "Startup activity is", "Request attempt #")


def _not_noise(record: logging.LogRecord) -> bool:
    """Drop what kopf says about matters that are not its own here."""
    return not (record.name.startswith("kopf") and record.getMessage().startswith(_NOISE))
